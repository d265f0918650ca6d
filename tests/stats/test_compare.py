"""Paired differences are sharper than unpaired ones, and ties are called ties."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.stats.compare import paired_difference, standing
from vultus.stats.jackknife import cluster_mean

PROMPTS = [f"p{i}" for i in range(12) for _ in range(2)]


def world(rng: np.random.Generator, means: list[float]) -> np.ndarray:
    """One row per block; prompts and blocks are shared by the cells, a little noise is their own."""
    prompt = np.repeat(rng.normal(size=12), 2)[:, None]
    block = rng.normal(size=(24, 1)) * 0.5
    return np.array(means) + prompt + block + rng.normal(size=(24, len(means))) * 0.2


def test_pairing_removes_what_both_arms_share() -> None:
    table = world(np.random.default_rng(1), [7.0, 7.3])
    paired = paired_difference(table[:, 1], table[:, 0], PROMPTS, "m10")
    assert paired.low > 0.0
    alone = cluster_mean(table[:, 0], PROMPTS, "m10")
    assert paired.half_width < 0.35 * alone.half_width


def test_a_paired_interval_covers_the_planted_gap() -> None:
    rng = np.random.default_rng(2)
    tables = [world(rng, [7.3, 7.0]) for _ in range(400)]
    found = [paired_difference(table[:, 0], table[:, 1], PROMPTS, "m10") for table in tables]
    covered = np.mean([f.low <= 0.3 <= f.high for f in found])
    assert 0.92 <= covered <= 0.98


def test_arms_of_different_blocks_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_difference(np.zeros(3), np.zeros(4), PROMPTS, "m10")


def test_the_planted_best_leads_and_far_cells_are_not_tied() -> None:
    table = world(np.random.default_rng(3), [5.0, 7.0, 8.0, 7.95, 3.0])
    found = standing(table, PROMPTS, np.random.default_rng(0))
    assert found.leader in (2, 3)
    assert found.tied == (False, False, True, True, False)
    assert sum(found.p_best) == pytest.approx(1.0)
    assert found.p_best[2] + found.p_best[3] > 0.99


def test_equal_cells_are_rarely_told_apart() -> None:
    """Simultaneous: among eight equal cells the tie set holds all of them in about 95 % of worlds."""
    rng = np.random.default_rng(4)
    whole = [all(standing(world(rng, [6.0] * 8), PROMPTS, rng).tied) for _ in range(120)]
    assert np.mean(whole) >= 0.88


def test_a_single_prompt_ties_everything() -> None:
    table = np.array([[1.0, 9.0], [2.0, 8.0]])
    assert standing(table, ["p", "p"], np.random.default_rng(0)).tied == (True, True)
