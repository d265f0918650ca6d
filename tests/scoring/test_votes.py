"""Votes with a planted voter: her bar is found, luck gives none, and files of another deck are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vultus.core.errors import ScoreError
from vultus.scoring.votes import Mark, Pair, agreement, read_marks

M10 = {f"r{i:02d}": 0.25 * i for i in range(40)}
PAIRS = [*(Pair(f"r{i:02d}", f"r{39 - i:02d}") for i in range(20)), Pair("r37", "r02", 2)]


def votes(slope: float, level: float, noise: float, seed: int = 1) -> list[Mark]:
    """A voter who gives level + slope * m10, noisily, in whole marks."""
    rng = np.random.default_rng(seed)

    def mark(name: str) -> float:
        return float(np.clip(round(level + slope * M10[name] + rng.normal() * noise), 0, 10))

    return [Mark(i, mark(pair.left), mark(pair.right)) for i, pair in enumerate(PAIRS)]


def test_the_voters_own_eight_is_found() -> None:
    found = agreement(PAIRS, votes(0.8, 1.6, 0.4), M10)
    assert found.sure and found.spearman is not None and found.spearman.value > 0.9
    assert found.bar is not None and found.bar.low <= 8.0 <= found.bar.high
    assert found.bar.high - found.bar.low < 2.0
    assert found.same_order is not None and found.same_order.value > 0.9
    assert found.herself is not None and found.herself <= 1.0
    assert "your 8 of 10 lies at m10" in found.lines()[-1]
    strict = agreement(PAIRS, votes(0.6, 1.0, 0.3), M10)
    assert strict.bar is not None and strict.bar.value > 10.0, "her 8 lies beyond m10 = 10"


def test_marks_by_luck_give_no_bar() -> None:
    bars = [agreement(PAIRS, votes(0.0, 5.0, 2.0, seed), M10).bar for seed in range(20)]
    assert sum(bar is not None for bar in bars) <= 2


def test_a_voter_who_likes_strangers_gets_no_bar() -> None:
    found = agreement(PAIRS, votes(-0.8, 9.0, 0.3), M10)
    assert found.bar is None and found.spearman is not None and found.spearman.high < 0.0


def test_few_marks_say_only_that_they_are_few() -> None:
    found = agreement(PAIRS, votes(0.8, 1.6, 0.4)[:4], M10)
    assert found.marks == 8 and found.spearman is None and "too few" in found.lines()[0]


def test_votes_of_another_deck_and_no_votes_are_refused() -> None:
    good: dict[str, Any] = {"deck": "d", "marks": [{"pair": 0, "left": 7, "right": 4}]}
    assert read_marks(good, "d", 1) == (Mark(0, 7.0, 4.0),)
    bad: list[tuple[dict[str, Any], str]] = [
        ({**good, "deck": "e"}, "another deck"),
        ({"deck": "d", "marks": []}, "no vote"),
        ({"deck": "d", "marks": [{"pair": 0, "left": 11, "right": 4}]}, "between 0 and 10"),
        ({"deck": "d", "marks": [{"pair": 3, "left": 1, "right": 4}]}, "between 1 and 1"),
        ({"deck": "d", "marks": [{"left": 1}]}, "is no vote"),
    ]
    for table, words in bad:
        with pytest.raises(ScoreError, match=words):
            read_marks(table, "d", 1)
