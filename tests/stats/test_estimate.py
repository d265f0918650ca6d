"""Estimates say what they know: bounds, words, and shares that behave at 0 and at n."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from vultus.stats.estimate import Estimate, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Wilson's closed form at 95 %, as tabled by Newcombe, Statistics in Medicine 17:857 (1998).
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(
    successes: int, trials: int, low: float, high: float
) -> None:
    share = wilson(successes, trials)
    assert (round(share.low, 4), round(share.high, 4)) == (low, high)


def test_wilson_holds_its_promise_where_the_naive_interval_collapses() -> None:
    n, truth = 24, 0.95
    counts = np.random.default_rng(1).binomial(n, truth, 4000)
    covered = [wilson(int(c), n).low <= truth <= wilson(int(c), n).high for c in counts]
    naive = [abs(c / n - truth) <= 1.96 * math.sqrt(c / n * (1 - c / n) / n) for c in counts]
    assert 0.93 <= np.mean(covered) <= 0.99
    assert np.mean(naive) < 0.80


def test_an_estimate_outside_its_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="outside its own interval"):
        Estimate(5.0, 6.0, 7.0, "m10", 3)
    with pytest.raises(ValueError, match="no estimate"):
        Estimate(math.nan, 0.0, 1.0, "m10", 3)
    with pytest.raises(ValueError, match="fraction"):
        Estimate(0.5, 0.0, 1.0, "m10", 3, confidence=95)
    with pytest.raises(ValueError, match="not a share"):
        wilson(3, 2)


def test_words_and_json_survive_a_missing_interval() -> None:
    open_ended = Estimate(-0.04, -math.inf, math.inf, "m10", 2)
    assert open_ended.words() == "0.0 (too few, n = 2)"
    assert Estimate(7.93, 7.2, 8.51, "m10", 24).words() == "7.9 (7.2 to 8.5)"
    for estimate in (open_ended, wilson(3, 7)):
        text = json.dumps(estimate.to_json(), allow_nan=False)
        assert Estimate.from_json(json.loads(text)) == estimate
