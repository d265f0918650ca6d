"""Evidence is what it claims: right on planted distributions, bounded by the sample, honest when blind."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vultus.stats.calibration import calibrate, cllr_of, fit_logistic, llr_bounds, monotone_llr


def gaussians(n: int, m: int, gap: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(gap, 1.0, n), rng.normal(0.0, 1.0, m)


def test_the_fit_recovers_a_known_likelihood_ratio() -> None:
    """Two unit Gaussians `gap` apart have llr = gap x - gap^2 / 2, whatever the sample sizes."""
    gap = 2.0
    slope, offset = fit_logistic(*gaussians(4000, 1000, gap, 1))
    assert slope == pytest.approx(gap, rel=0.06)
    assert offset == pytest.approx(-(gap**2) / 2, rel=0.08)


def test_cllr_is_one_for_the_blind_and_small_for_the_sharp() -> None:
    assert cllr_of(np.zeros(5), np.zeros(9)) == pytest.approx(1.0)
    blind = calibrate(*gaussians(300, 300, 0.0, 2))
    sharp = calibrate(*gaussians(300, 300, 4.0, 3))
    assert 0.95 <= blind.cllr <= 1.05
    assert sharp.cllr < 0.25
    assert 0.0 <= sharp.cllr_min <= sharp.cllr


def test_claiming_the_opposite_costs_more_than_claiming_nothing() -> None:
    assert cllr_of(np.full(4, -3.0), np.full(4, 3.0)) > 1.0


def test_separated_samples_stay_finite_and_within_what_they_support() -> None:
    g, i = np.linspace(0.6, 0.8, 14), np.linspace(-0.1, 0.2, 48)
    found = calibrate(g, i)
    claims = found.llr(np.array([-1.0, 0.0, 0.5, 0.9, 5.0]))
    assert np.isfinite(claims).all() and (np.diff(claims) >= 0).all()
    assert claims[-1] <= math.log(48 + 1) and claims[0] >= -math.log(14 + 1)
    assert found.llr10(np.array([5.0]))[0] == pytest.approx(claims[-1] / math.log(10))
    assert found.cllr < 0.2 and found.cllr_min < 0.01


def test_useless_evidence_is_bounded_to_nothing() -> None:
    low, high = llr_bounds(np.array([1.0, -1.0, 2.0]), np.array([3.0, 1.0, -0.5]))
    assert -0.6 <= low <= 0.0 <= high <= 0.6


def test_pool_adjacent_violators_is_monotone_and_gives_ties_one_value() -> None:
    g, i = gaussians(60, 90, 1.0, 4)
    g, i = np.round(g, 1), np.round(i, 1)
    same, other = monotone_llr(g, i)
    x, llr = np.concatenate([g, i]), np.concatenate([same, other])
    order = np.argsort(x, kind="stable")
    finite = llr[order][np.isfinite(llr[order])]
    assert (np.diff(finite) >= -1e-12).all()
    checked = 0
    for value in np.unique(x):
        assert len(set(llr[x == value])) == 1
        checked += 1
    assert checked >= 20
    assert cllr_of(same, other) <= calibrate(g, i).cllr


def test_too_little_to_calibrate_is_said() -> None:
    with pytest.raises(ValueError, match="2 similarities"):
        fit_logistic(np.array([0.5]), np.array([0.1, 0.2]))
