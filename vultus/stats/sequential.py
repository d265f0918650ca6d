"""Looking again and again without fooling oneself: bounds on a paired gap while data come in.

Notation
    gap      value of a cell minus value of the leader, block by block       float64 (..., n)
    look     how many times the bound has been looked at, from 1             int
    alpha    chance of ever dropping a cell that is as good as the leader    float in (0, 1)
    level    the part of alpha that one look may spend                       alpha 6 / (pi^2 look^2)
The parts of all looks add up to alpha however many there will be (Bonferroni over looks with
weights 1/look^2), so that the number of looks need not be known. One look with the whole alpha at
every block drops good cells far more often than alpha says: that is what Optuna's WilcoxonPruner
warns of in its own documentation. Blocks count as independent here: within a base a prompt moves
two cells alike, and what is left is small beside the noise of single renders.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vultus.stats.jackknife import student_quantile

__all__ = ["gap_bounds", "spent_at"]

Floats = NDArray[np.float64]


def spent_at(look: int, alpha: float) -> float:
    """The part of alpha that this look may spend."""
    if look < 1 or not 0.0 < alpha < 1.0:
        raise ValueError(f"look {look} at alpha {alpha} spends nothing")
    return alpha * 6.0 / (math.pi * look) ** 2


def gap_bounds(gap: Floats, level: float) -> tuple[Floats, Floats]:
    """One-sided lower and upper bounds of mean gaps (...,), each wrong with chance `level` (paired t)."""
    n = gap.shape[-1]
    mean = np.asarray(gap.mean(axis=-1))
    if n < 2:
        return np.full(mean.shape, -math.inf), np.full(mean.shape, math.inf)
    half = student_quantile(1.0 - level, n - 1) / math.sqrt(n) * gap.std(axis=-1, ddof=1)
    return np.asarray(mean - half), np.asarray(mean + half)
