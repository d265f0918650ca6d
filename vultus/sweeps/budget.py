"""What a sweep may spend, as a user says it, and what that is in renders.

Notation
    amount      "600 renders", "40 minutes", "25 gpu-minutes"
    render_s    seconds of the device per render          read_s    seconds to read its face
    lanes       workers side by side
    minutes     of the clock on the wall: renders (render_s + read_s) / lanes / 60
    gpu-minutes of the device that renders, whatever its kind: renders render_s / 60
A price is what was measured in this workspace, never a promise of a data sheet. It is taken from finished attempts in
the ledger, so that a killed and resumed sweep reckons with the same price and makes the same renders.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Unit = Literal["renders", "minutes", "gpu-minutes"]

_AMOUNT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(renders?|minutes?|gpu-minutes?)\s*")


@dataclass(frozen=True)
class Amount:
    """What may be spent."""

    value: float
    unit: Unit

    @property
    def words(self) -> str:
        """The amount as a user writes it."""
        return f"{self.value:g} {self.unit}"


@dataclass(frozen=True)
class Price:
    """What one render costs here, and from how many renders that is known."""

    render_s: float
    read_s: float
    lanes: int
    renders: int

    def seconds(self, renders: float) -> float:
        """Seconds on the wall for so many renders."""
        return renders * (self.render_s + self.read_s) / max(1, self.lanes)

    def device_seconds(self, renders: float) -> float:
        """Seconds of the device for so many renders."""
        return renders * self.render_s


def parse_amount(text: str) -> Amount | None:
    """Read a budget; None when nothing was said. Raises ValueError that says what can be said."""
    if not text.strip():
        return None
    found = _AMOUNT.fullmatch(text.lower())
    if found is None or float(found[1]) <= 0:
        raise ValueError(
            f'{text!r} is no budget: say "600 renders", "40 minutes" or "25 gpu-minutes"'
        )
    word = found[2] if found[2].endswith("s") else f"{found[2]}s"
    units: dict[str, Unit] = {
        "renders": "renders",
        "minutes": "minutes",
        "gpu-minutes": "gpu-minutes",
    }
    return Amount(float(found[1]), units[word])


def renders_for(amount: Amount, price: Price | None) -> int | None:
    """How many renders an amount buys; None when it is told in time and nothing was timed yet."""
    if amount.unit == "renders":
        return int(amount.value)
    if price is None or price.render_s <= 0:
        return None
    seconds = amount.value * 60.0
    each = price.seconds(1.0) if amount.unit == "minutes" else price.device_seconds(1.0)
    return int(seconds / each)


__all__ = ["Amount", "Price", "Unit", "parse_amount", "renders_for"]
