"""Blind votes: what a person's own marks say about m10, and where her own 8 of 10 lies on it.

Notation
    mark      0..10, given by a person who sees references and a render and nothing else     float
    m10       points of the same render                                                      float
    a + b x   straight line from m10 to mark, by least squares                               fitted over the renders
    bar       m10 at which that line gives 8                                                 (8 - a) / b
    spearman  rank correlation of mark and m10; interval by leaving out each pair            an `Estimate`
Two renders are shown side by side, each pair once; a few pairs come twice, sides changed, to see whether the person
agrees with herself. About 40 marks place the bar to a point or so; fewer say so. A rank correlation that is not
clearly above zero means that m10 does not see what this person sees, and then no bar is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vultus.core.errors import ScoreError
from vultus.stats.estimate import Estimate, wilson
from vultus.stats.jackknife import interval, source_of

__all__ = ["Agreement", "Mark", "Pair", "agreement", "read_marks"]

MARKS_MIN = 12
"""Below this nothing is said but the count."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """Two renders side by side, by content id; `again` is the position of the pair that this one repeats."""

    left: str
    right: str
    again: int | None = None


@dataclass(frozen=True)
class Mark:
    """What a person gave to both sides of a pair."""

    pair: int
    left: float
    right: float


@dataclass(frozen=True)
class Agreement:
    """How m10 and the person agree. `bar` is the m10 of her own 8; None where no line could be trusted."""

    marks: int
    spearman: Estimate | None
    same_order: Estimate | None
    """share of the pairs that she told apart in which m10 puts the same side first"""
    bar: Estimate | None
    same_side: Estimate | None
    """share of renders that she and m10 put on the same side of 8"""
    herself: float | None
    """mean difference between her marks of the same render, first and second time"""

    @property
    def sure(self) -> bool:
        """True when m10 follows her marks beyond luck."""
        return self.spearman is not None and self.spearman.low > 0.0

    def lines(self) -> tuple[str, ...]:
        """The agreement for people."""
        if self.spearman is None or self.same_order is None or self.same_side is None:
            return (
                f"{self.marks} marks are too few: {MARKS_MIN} or more say something, 40 better",
            )
        told = [
            f"{self.marks} marks; rank correlation with m10 {self.spearman.words(2)}",
            f"of pairs told apart m10 puts the same side first in {self.same_order.value:.0%}"
            f" ({self.same_order.low:.0%} to {self.same_order.high:.0%})",
            f"same side of 8 in {self.same_side.value:.0%} of the renders",
        ]
        if self.herself is not None:
            told.append(f"pairs seen twice got marks {self.herself:.1f} apart")
        if self.bar is not None:
            told.append(f"your 8 of 10 lies at m10 {self.bar.words()}")
        else:
            told.append("m10 does not follow these marks clearly enough to say where your 8 lies")
        return tuple(told)

    def to_json(self) -> dict[str, Any]:
        """A JSON-safe dictionary."""
        estimates = {
            name: None if (one := getattr(self, name)) is None else one.to_json()
            for name in ("spearman", "same_order", "bar", "same_side")
        }
        return {"marks": self.marks, "herself": self.herself, "sure": self.sure, **estimates}


def read_marks(table: Mapping[str, Any], deck: str, pairs: int) -> tuple[Mark, ...]:
    """The marks of a file. Raises ScoreError when they belong to another deck or are no marks."""
    if table.get("deck") != deck:
        raise ScoreError(
            "these votes belong to another deck of pictures",
            expected=f"deck {deck}, found {table.get('deck')!r}",
            next_command="vote on the page that this run writes now",
        )
    found, faults = [], []
    rows = table.get("marks")
    for row in rows if isinstance(rows, list) else []:
        try:
            mark = Mark(int(row["pair"]), float(row["left"]), float(row["right"]))
        except (TypeError, ValueError, KeyError):
            faults.append(f"{row!r} is no vote")
            continue
        fit = 0 <= mark.pair < pairs and all(0 <= v <= 10 for v in (mark.left, mark.right))
        if fit:
            found.append(mark)
        else:
            faults.append(
                f"pair {mark.pair + 1}: marks lie between 0 and 10, pairs between 1 and {pairs}"
            )
    if faults or not found:
        raise ScoreError(
            "; ".join(faults[:5]) or "there is no vote in the file",
            expected='{"deck": ..., "marks": [{"pair": 0, "left": 7, "right": 4}, ...]}',
        )
    return tuple({mark.pair: mark for mark in found}.values())


def agreement(
    pairs: Sequence[Pair], marks: Sequence[Mark], m10: Mapping[str, float], bar: float = 8.0
) -> Agreement:
    """Compare a person's marks with the renders' points."""
    given: dict[str, list[float]] = {}
    group: dict[str, int] = {}
    order: list[bool] = []
    for mark in marks:
        pair = pairs[mark.pair]
        for side, value in ((pair.left, mark.left), (pair.right, mark.right)):
            given.setdefault(side, []).append(value)
            group.setdefault(side, mark.pair)
        if pair.again is None and mark.left != mark.right:
            order.append((mark.left > mark.right) == (m10[pair.left] > m10[pair.right]))
    shown = sorted(given)
    twice = [abs(given[one][0] - given[one][1]) for one in shown if len(given[one]) > 1]
    herself = float(np.mean(twice)) if twice else None
    x = np.array([m10[one] for one in shown])
    y = np.array([np.mean(given[one]) for one in shown])
    groups = np.array([group[one] for one in shown])
    if len(shown) < MARKS_MIN or not order or np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return Agreement(len(shown), None, None, None, None, herself)
    rank = _jackknifed(_spearman, x, y, groups, "rank correlation")
    line = _jackknifed(lambda a, b: _crossing(a, b, bar), x, y, groups, "m10")
    beyond = rank.low > 0.0 and math.isfinite(line.value)
    return Agreement(
        marks=len(shown),
        spearman=rank,
        same_order=wilson(sum(order), len(order)),
        bar=line if beyond else None,
        same_side=wilson(int(((x >= bar) == (y >= bar)).sum()), len(x)),
        herself=herself,
    )


def _jackknifed(
    statistic: Any, x: Floats, y: Floats, groups: NDArray[np.intp], unit: str
) -> Estimate:
    """A statistic with its interval by leaving out each pair."""
    value = float(statistic(x, y))
    without = np.array([statistic(x[groups != g], y[groups != g]) for g in np.unique(groups)])
    low, high = interval(value, [source_of(without)])
    return Estimate(value, low, high, unit, len(x))


def _spearman(x: Floats, y: Floats) -> float:
    a, b = _ranks(x), _ranks(y)
    if np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(values: Floats) -> Floats:
    """Ranks; equals share their mean rank, because marks are whole numbers."""
    order = np.sort(values)
    low, high = np.searchsorted(order, values, "left"), np.searchsorted(order, values, "right")
    return np.asarray((low + high - 1) / 2.0)


def _crossing(x: Floats, y: Floats, bar: float) -> float:
    """m10 at which the straight line gives the bar; far outside what was shown it is cut to 10 beyond it."""
    slope, level = np.polyfit(x, y, 1)
    at = (bar - level) / slope if slope > 1e-6 else math.copysign(1e6, bar - level)
    return float(np.clip(at, x.min() - 10.0, x.max() + 10.0))
