"""Drawing small charts as inline SVG: scales, axes and marks, in the page's own colours.

Notation
    x, y        values in data units                       float
    px          places in the drawing, y downward          float
    VIEW_PX     width and height of every drawing; it is scaled to its place on the page, and the
                letters are sized so that they still read at a phone's width
Colours and fonts come from the page's style sheet by class name, so that a chart follows the dark
theme and prints in black.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vultus.reports.html import Html, join, number, tag

__all__ = ["VIEW_PX", "Frame", "labels_apart", "polyline", "spread_apart", "svg", "ticks"]

VIEW_PX = (520.0, 300.0)


@dataclass(frozen=True)
class Frame:
    """Where data values lie in the drawing."""

    x: tuple[float, float]
    y: tuple[float, float]
    left: float = 44.0
    right: float = 92.0
    top: float = 18.0
    bottom: float = 44.0
    size: tuple[float, float] = VIEW_PX

    def px(self, x: float) -> float:
        """Horizontal place of a value."""
        low, high = self.x
        return self.left + (x - low) / (high - low) * (self.size[0] - self.left - self.right)

    def py(self, y: float) -> float:
        """Vertical place of a value, kept inside the frame."""
        low, high = self.y
        share = min(1.0, max(0.0, (y - low) / (high - low)))
        return self.size[1] - self.bottom - share * (self.size[1] - self.top - self.bottom)

    def axes(
        self,
        x_ticks: Sequence[tuple[float, str]],
        y_ticks: Sequence[tuple[float, str]],
        x_title: str,
        y_title: str,
    ) -> Html:
        """Light horizontal rules, tick labels, and the two titles."""
        parts: list[Html] = []
        edge, floor = self.size[0] - self.right, self.size[1] - self.bottom
        for value, words in y_ticks:
            at = self.py(value)
            parts.append(tag("line", class_="rule", x1=self.left, x2=edge, y1=at, y2=at))
            parts.append(tag("text", words, class_="tick", x=self.left - 8, y=at + 4.5, dx=0))
        for value, words in x_ticks:
            at = self.px(value)
            parts.append(tag("line", class_="nick", x1=at, x2=at, y1=floor, y2=floor + 4))
            parts.append(tag("text", words, class_="tick mid", x=at, y=floor + 19))
        middle = (self.left + edge) / 2
        parts.append(tag("text", x_title, class_="axis mid", x=middle, y=self.size[1] - 5))
        if y_title:
            parts.append(tag("text", y_title, class_="axis", x=2, y=11))
        return join(parts)


def svg(label: str, *parts: str, size: tuple[float, float] = VIEW_PX) -> Html:
    """A whole drawing with a description for those who cannot see it."""
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 {size[0]:g} {size[1]:g}",
        role="img",
        aria_label=label,
        xmlns="http://www.w3.org/2000/svg",
    )


def polyline(points: Sequence[tuple[float, float]], class_: str) -> Html:
    """A line through places in the drawing."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return tag("polyline", points=path, class_=class_)


def ticks(low: float, high: float, about: int = 5) -> list[tuple[float, str]]:
    """Round values inside a range with their labels: steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [(low, number(low, 2))]
    rough = (high - low) / max(1, about)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1.0, 2.0, 5.0, 10.0) if power * m >= rough * 0.7)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [(k * step, number(k * step, digits)) for k in range(first, last + 1)]


def spread_apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The same places moved as little as needed to lie `gap` apart, within bounds where possible."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = [float(places[i]) for i in order]
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    if moved and moved[-1] > high:
        moved[-1] = high
        for i in range(len(moved) - 2, -1, -1):
            moved[i] = min(moved[i], moved[i + 1] - gap)
    if moved and moved[0] < low:
        shift = low - moved[0]
        moved = [m + shift for m in moved]
    back = [0.0] * len(moved)
    for position, i in enumerate(order):
        back[i] = moved[position]
    return back


def labels_apart(
    labels: Sequence[tuple[float, str, str]], x: float, low: float, high: float, gap: float = 17.0
) -> Html:
    """Names beside line ends, (y px, words, class), moved apart so that none covers another."""
    places = spread_apart([y for y, _, _ in labels], gap, low, high)
    return join(
        tag("text", words, class_=f"name {class_}", x=x, y=y + 4.5)
        for y, (_, words, class_) in zip(places, labels, strict=True)
    )
