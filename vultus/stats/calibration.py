"""Turns similarities into evidence: how many times likelier "same person" is than "stranger".

Notation
    x        one similarity                                        float (cosine)
    G, I     similarities of the same person, of strangers         float64 (n,), (m,)
    llr      ln( p(x | same) / p(x | stranger) ) = slope x + offset float64
    cllr     mean cost of the log-likelihood ratio, in bits        0 perfect, 1 = coin toss
    cllr_min the same after the best monotone recalibration        <= cllr; the gap: miscalibration
Sources: Bruemmer & du Preez, Computer Speech & Language 20 (2006) for Cllr; Platt (1999) for the
smoothed targets that keep the fit finite when G and I do not overlap; Zadrozny & Elkan (2002) for
pool-adjacent-violators; Vergeer et al., Science & Justice 56 (2016) for the bounds (ELUB).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Calibration", "calibrate", "cllr_of", "fit_logistic", "llr_bounds", "monotone_llr"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """A fitted likelihood ratio with the bounds it may not exceed and its health."""

    slope: float
    offset: float
    llr_low: float
    llr_high: float
    cllr: float
    cllr_min: float

    def llr(self, x: Floats) -> Floats:
        """Natural log-likelihood ratio, cut to what so few comparisons can support."""
        return np.clip(self.slope * np.asarray(x) + self.offset, self.llr_low, self.llr_high)

    def llr10(self, x: Floats) -> Floats:
        """The same in powers of ten: 2 means a hundred times likelier."""
        return np.asarray(self.llr(x) / math.log(10.0))


def calibrate(genuine: Floats, impostors: Floats) -> Calibration:
    """Fit, bound and check a likelihood ratio on two samples of similarities."""
    slope, offset = fit_logistic(genuine, impostors)
    g, i = slope * genuine + offset, slope * impostors + offset
    low, high = llr_bounds(g, i)
    cllr = cllr_of(np.clip(g, low, high), np.clip(i, low, high))
    cllr_min = min(cllr, cllr_of(*monotone_llr(genuine, impostors)))
    return Calibration(slope, offset, low, high, cllr, cllr_min)


def fit_logistic(genuine: Floats, impostors: Floats) -> tuple[float, float]:
    """Slope and offset of the log-likelihood ratio at equal priors.

    Both samples weigh the same whatever their sizes, so the logit *is* the log-likelihood ratio.
    Newton on the standardised similarity; the problem is convex and has two unknowns.
    """
    n, m = len(genuine), len(impostors)
    if n < 2 or m < 2:
        raise ValueError(f"calibration needs 2 similarities of each kind, got {n} and {m}")
    x = np.concatenate([genuine, impostors]).astype(np.float64)
    centre, scale = float(x.mean()), float(x.std()) or 1.0
    design = np.stack([(x - centre) / scale, np.ones_like(x)], axis=1)
    weight = np.concatenate([np.full(n, 0.5 / n), np.full(m, 0.5 / m)])
    target = np.concatenate([np.full(n, (n + 1) / (n + 2)), np.full(m, 1 / (m + 2))])
    theta = np.zeros(2)
    for _ in range(100):
        chance = 1.0 / (1.0 + np.exp(-np.clip(design @ theta, -60.0, 60.0)))
        gradient = design.T @ (weight * (chance - target))
        curvature = (design * (weight * chance * (1 - chance))[:, None]).T @ design
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), gradient)
        # A full Newton step can overshoot from the flat start; two standard deviations cannot.
        theta = theta - step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if float(np.abs(step).max()) < 1e-10:
            break
    slope = float(theta[0]) / scale
    return slope, float(theta[1]) - slope * centre


def cllr_of(genuine_llr: Floats, impostor_llr: Floats) -> float:
    """Cost of log-likelihood ratios in bits: same-person ones should be high, others low."""
    same = np.logaddexp(0.0, -np.asarray(genuine_llr)).mean()
    other = np.logaddexp(0.0, np.asarray(impostor_llr)).mean()
    return float((same + other) / (2.0 * math.log(2.0)))


def monotone_llr(genuine: Floats, impostors: Floats) -> tuple[Floats, Floats]:
    """Log-likelihood ratios after pool-adjacent-violators: the best any monotone map can do.

    Ties go to one pool, so equal similarities never get different evidence.
    """
    n, m = len(genuine), len(impostors)
    x = np.concatenate([genuine, impostors])
    same = np.concatenate([np.full(n, 0.5 / n), np.zeros(m)])
    other = np.concatenate([np.zeros(n), np.full(m, 0.5 / m)])
    values, where = np.unique(x, return_inverse=True)
    pools: list[tuple[float, float, int]] = []
    for s, o in zip(np.bincount(where, same), np.bincount(where, other), strict=True):
        pools.append((float(s), float(o), 1))
        while len(pools) > 1 and pools[-2][0] * _mass(pools[-1]) >= pools[-1][0] * _mass(pools[-2]):
            s2, o2, k2 = pools.pop()
            s1, o1, k1 = pools.pop()
            pools.append((s1 + s2, o1 + o2, k1 + k2))
    with np.errstate(divide="ignore"):
        steps = np.concatenate(
            [np.full(k, np.log(np.float64(s)) - np.log(np.float64(o))) for s, o, k in pools]
        )
    if len(steps) != len(values):
        raise AssertionError("pools must cover every distinct similarity once")
    llr = steps[where]
    return np.asarray(llr[:n]), np.asarray(llr[n:])


def llr_bounds(genuine_llr: Floats, impostor_llr: Floats) -> tuple[float, float]:
    """The range in which these ratios beat knowing nothing, one imagined mistake on each side.

    Outside it a decision at that ratio would, with a single unlucky comparison more, cost more
    than ignoring the evidence; so a ratio never claims more than about the sample sizes.
    """
    n, m = len(genuine_llr), len(impostor_llr)
    grid = np.arange(0.0, math.log(1e6), 0.01)
    g, i = np.sort(genuine_llr), np.sort(impostor_llr)

    def useful(t: Floats) -> NDArray[np.bool_]:
        miss = (np.searchsorted(g, t, side="right") + 1) / (n + 1)
        alarm = (m - np.searchsorted(i, t, side="right") + 1) / (m + 1)
        odds = np.exp(t)
        return np.asarray(miss + odds * alarm <= np.minimum(1.0, odds))

    high = _last_true(useful(grid), grid)
    low = _last_true(useful(-grid), grid)
    return -low, high


def _last_true(flags: NDArray[np.bool_], grid: Floats) -> float:
    """The end of the unbroken run of true values from the start, 0 when there is none."""
    broken = np.flatnonzero(~flags)
    if len(broken) == 0:
        return float(grid[-1])
    return float(grid[broken[0] - 1]) if broken[0] > 0 else 0.0


def _mass(pool: tuple[float, float, int]) -> float:
    return pool[0] + pool[1]
