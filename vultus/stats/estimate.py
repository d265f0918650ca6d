"""A number with its uncertainty: value, interval, unit and how much evidence stands behind it.

Notation
    value, low, high   one quantity and its interval                    float, in `unit`
    confidence         probability that the interval covers the truth   float in (0, 1)
    n_renders          pictures behind the number                       int
    n_runs             independent trainings behind the number          int
An interval that cannot be computed (one prompt only) is (-inf, inf): wide, never missing. One that is longer than the
whole scale (four renders of two prompts give m10 -14 to 17) is kept in the record and told as "too few".
Renders of one run are not independent evidence about a training choice, hence `n_runs`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Estimate", "wilson"]

SCALE_LENGTHS = {"m10": 10.0}
"""How long the scale of a unit is, where it has an end."""


@dataclass(frozen=True)
class Estimate:
    """One measured quantity: where it most likely lies, between which bounds, from how much."""

    value: float
    low: float
    high: float
    unit: str
    n_renders: int
    n_runs: int = 1
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not math.isfinite(self.value) or math.isnan(self.low) or math.isnan(self.high):
            raise ValueError(f"no estimate from {self.value}, {self.low}, {self.high}")
        if not self.low <= self.value <= self.high:
            raise ValueError(f"{self.value} is outside its own interval {self.low}..{self.high}")
        if not 0.0 < self.confidence < 1.0:
            raise ValueError(f"confidence is a fraction between 0 and 1, got {self.confidence}")

    @property
    def half_width(self) -> float:
        """Half the length of the interval; infinite when there is none."""
        return (self.high - self.low) / 2.0

    @property
    def bounded(self) -> bool:
        """False when the evidence was too thin for an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def telling(self) -> bool:
        """False when the interval is missing or longer than the scale it lies on: it tells nothing."""
        return self.bounded and self.high - self.low <= SCALE_LENGTHS.get(self.unit, math.inf)

    def words(self, digits: int = 1) -> str:
        """`7.9 (7.2 to 8.5)`, or `7.9 (too few, n = 4)` when the interval tells nothing."""
        shown = f"{_signless(self.value, digits)}"
        if not self.telling:
            return f"{shown} (too few, n = {self.n_renders})"
        return f"{shown} ({_signless(self.low, digits)} to {_signless(self.high, digits)})"

    def to_json(self) -> dict[str, float | int | str | None]:
        """A JSON-safe dictionary; an absent bound becomes null, because JSON has no infinity."""
        return {
            "value": self.value,
            "low": self.low if math.isfinite(self.low) else None,
            "high": self.high if math.isfinite(self.high) else None,
            "unit": self.unit,
            "n_renders": self.n_renders,
            "n_runs": self.n_runs,
            "confidence": self.confidence,
        }

    @classmethod
    def from_json(cls, table: Mapping[str, float | int | str | None]) -> Estimate:
        """The inverse of `to_json`."""
        low, high = table["low"], table["high"]
        return cls(
            value=_number(table["value"]),
            low=-math.inf if low is None else _number(low),
            high=math.inf if high is None else _number(high),
            unit=str(table["unit"]),
            n_renders=int(_number(table["n_renders"])),
            n_runs=int(_number(table["n_runs"])),
            confidence=_number(table["confidence"]),
        )


def wilson(
    successes: int, trials: int, *, confidence: float = 0.95, unit: str = "share"
) -> Estimate:
    """Wilson's score interval for a share: honest at 0 of n and at n of n, unlike p +- 2 sd.

    Wilson, JASA 22:209 (1927). Trials count as independent; renders of one prompt are not
    quite, so treat the interval as the narrow end.
    """
    from statistics import NormalDist

    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a share")
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = (
        z
        / (1 + z * z / trials)
        * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    )
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return Estimate(share, min(low, share), max(high, share), unit, trials, 1, confidence)


def _signless(number: float, digits: int) -> str:
    """Fixed digits without the sign of a rounded zero: `-0.0` helps nobody."""
    text = f"{number:.{digits}f}"
    return text[1:] if text.startswith("-") and float(text) == 0.0 else text


def _number(value: float | int | str | None) -> float:
    if isinstance(value, (int, float)):
        return float(value)
    raise ValueError(f"expected a number, got {value!r}")
