"""Intervals cover a planted truth as often as they promise, and know what belongs together."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vultus.stats.jackknife import cluster_mean, interval, source_of, student_quantile

TRUTH = 6.0


def test_student_quantiles_agree_with_the_library() -> None:
    stats = pytest.importorskip("scipy.stats")
    checked = 0
    for freedom in (1, 2, 3, 4, 5, 7, 11, 23.4, 60, 500):
        for chance in (0.8, 0.9, 0.95, 0.975, 0.995):
            exact = float(stats.t.ppf(chance, freedom))
            tolerance = 0.015 if freedom < 4 and chance > 0.99 else 0.003
            assert student_quantile(chance, freedom) == pytest.approx(exact, rel=tolerance)
            checked += 1
    assert checked == 50
    assert student_quantile(0.975, 2.9) > float(stats.t.ppf(0.975, 2.9))
    with pytest.raises(ValueError, match="no t quantile"):
        student_quantile(0.5, 0)


def test_the_jackknife_of_a_mean_is_the_textbook_variance() -> None:
    x = np.random.default_rng(2).normal(size=17)
    left_out = (x.sum() - x) / 16
    assert source_of(left_out).variance == pytest.approx(x.var(ddof=1) / 17)


def planted(rng: np.random.Generator, prompts: int, seeds: int) -> tuple[np.ndarray, list[str]]:
    """Scores around TRUTH whose prompts differ more than their seeds."""
    values = TRUTH + rng.normal(size=(prompts, 1)) * 1.0 + rng.normal(size=(prompts, seeds)) * 0.5
    return values.ravel(), [f"p{i}" for i in range(prompts) for _ in range(seeds)]


@pytest.mark.parametrize(("prompts", "seeds"), [(6, 2), (12, 1), (12, 4), (24, 2)])
def test_clustered_intervals_cover_the_truth(prompts: int, seeds: int) -> None:
    rng = np.random.default_rng(prompts * 10 + seeds)
    covered, worlds = 0, 500
    for _ in range(worlds):
        values, clusters = planted(rng, prompts, seeds)
        found = cluster_mean(values, clusters, "m10")
        covered += found.low <= TRUTH <= found.high
    assert 0.925 <= covered / worlds <= 0.975


def test_ignoring_prompts_would_promise_too_much() -> None:
    """The control: the same data with every render its own cluster covers far too rarely."""
    rng = np.random.default_rng(5)
    covered, worlds = 0, 300
    for _ in range(worlds):
        values, _ = planted(rng, 12, 4)
        found = cluster_mean(values, [str(i) for i in range(len(values))], "m10")
        covered += found.low <= TRUTH <= found.high
    assert covered / worlds < 0.85


def test_more_seeds_of_the_same_prompts_do_not_shrink_the_interval_to_nothing() -> None:
    rng = np.random.default_rng(7)
    few = np.mean([cluster_mean(*planted(rng, 12, 2), "m10").half_width for _ in range(100)])
    many = np.mean([cluster_mean(*planted(rng, 12, 32), "m10").half_width for _ in range(100)])
    assert many > 0.85 * few


def test_one_prompt_gives_no_interval_and_no_spread_gives_a_point() -> None:
    alone = cluster_mean(np.array([1.0, 2.0]), ["p", "p"], "m10")
    assert not alone.bounded and alone.value == 1.5
    assert interval(3.0, [source_of(np.full(4, 3.0))]) == (3.0, 3.0)
    assert interval(3.0, []) == (-math.inf, math.inf)
    with pytest.raises(ValueError, match="no mean"):
        cluster_mean(np.array([]), [], "m10")
