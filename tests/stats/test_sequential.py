"""Looking often does not raise the risk: the parts of alpha add up, and a good cell survives the whole race."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.stats.sequential import gap_bounds, spent_at


def test_the_looks_share_one_alpha() -> None:
    parts = [spent_at(look, 0.05) for look in range(1, 2000)]
    assert parts == sorted(parts, reverse=True)
    assert 0.0499 < sum(parts) <= 0.05
    for look, alpha in ((0, 0.05), (1, 0.0), (1, 1.0)):
        with pytest.raises(ValueError, match="spends nothing"):
            spent_at(look, alpha)


def test_bounds_are_the_paired_t_of_each_row() -> None:
    from scipy import stats

    gaps = np.random.default_rng(1).normal(0.3, 1.0, (4, 15))
    low, high = gap_bounds(gaps, 0.05)
    for row, lower, upper in zip(gaps, low, high, strict=True):
        half = stats.t.ppf(0.95, 14) * row.std(ddof=1) / np.sqrt(15)
        assert lower == pytest.approx(row.mean() - half, rel=1e-3)
        assert upper == pytest.approx(row.mean() + half, rel=1e-3)
    assert np.isinf(gap_bounds(gaps[:, :1], 0.05)[0]).all(), "one block proves nothing"


def test_an_equal_cell_is_rarely_dropped_however_often_one_looks() -> None:
    """22 looks at equal cells: one alpha for all drops 5 % of them, the whole alpha each time far more."""
    rng = np.random.default_rng(2)
    gaps = rng.normal(0.0, 1.0, (600, 48))
    shared = whole = np.zeros(600, dtype=bool)
    for look, n in enumerate(range(6, 49, 2), start=1):
        shared = shared | (gap_bounds(gaps[:, :n], spent_at(look, 0.05))[0] > 0)
        whole = whole | (gap_bounds(gaps[:, :n], 0.05)[0] > 0)
    assert shared.mean() < 0.06 < 0.12 < whole.mean()
