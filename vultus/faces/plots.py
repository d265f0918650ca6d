"""Two charts of a verification as SVG files that stand alone: histogram and error curve.

**Notation**
    g, i    genuine and impostor cosines          float64 (n,)
    px      places in the drawing, y downward     float
    DET     false rejects against false accepts   both axes on a log scale from 0.1 % to 50 %
"""

from __future__ import annotations

import math
from typing import Final
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

__all__ = ["error_curve_svg", "histogram_svg"]

Cosines = npt.NDArray[np.float64]
WIDTH: Final = 560
HEIGHT: Final = 320
LEFT: Final = 56
RIGHT: Final = 16
TOP: Final = 34
BOTTOM: Final = 46
GENUINE: Final = "#1b7a4b"
IMPOSTOR: Final = "#b3541e"
BINS: Final = 60
LOWEST: Final = 1e-3
HIGHEST: Final = 0.5


def histogram_svg(g: Cosines, i: Cosines, cut: float, title: str) -> str:
    """Shares of genuine and impostor pairs by cosine, the equal-error cut marked."""
    low = min(-0.2, float(i.min()), float(g.min()))
    edges = np.linspace(low, 1.0, BINS + 1)
    shares = [np.histogram(v, edges)[0] / len(v) for v in (i, g)]
    most = float(max(s.max() for s in shares)) * 1.05
    parts = []
    for share, colour in zip(shares, (IMPOSTOR, GENUINE), strict=True):
        points = [f"{_x(low, low, 1.0):.1f},{_y(0, most):.1f}"]
        for k, value in enumerate(share):
            points += [
                f"{_x(float(edges[k + side]), low, 1.0):.1f},{_y(float(value), most):.1f}"
                for side in (0, 1)
            ]
        points.append(f"{_x(1.0, low, 1.0):.1f},{_y(0, most):.1f}")
        parts.append(
            f'<polygon points="{" ".join(points)}" fill="{colour}" fill-opacity=".35" '
            f'stroke="{colour}" stroke-width="1.2"/>'
        )
    at = _x(cut, low, 1.0)
    bottom = HEIGHT - BOTTOM
    parts.append(
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}" stroke="#444" '
        'stroke-dasharray="4 3"/>'
    )
    parts.append(_text(at + 5, TOP + 12, f"equal errors at {cut:.2f}"))
    first = math.ceil(low * 5) / 5
    for k in range(round((1.0 - first) * 5) + 1):
        value = first + k / 5
        parts.append(_text(_x(value, low, 1.0), bottom + 18, f"{value:.1f}", "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "cosine", "middle"))
    parts.append(_text(LEFT, HEIGHT - 8, f"different people, {len(i)} pairs", fill=IMPOSTOR))
    words = f"same person, {len(g)} pairs"
    parts.append(_text(WIDTH - RIGHT, HEIGHT - 8, words, "end", GENUINE))
    return _page(title, parts)


def error_curve_svg(g: Cosines, i: Cosines, title: str) -> str:
    """False rejects against false accepts over all cuts (DET), with the line of equal errors."""
    cuts = np.unique(np.concatenate([g, i]))
    refused = np.searchsorted(np.sort(g), cuts, side="left") / len(g)
    accepted = 1.0 - np.searchsorted(np.sort(i), cuts, side="left") / len(i)
    # Points left of the axis say nothing that can be drawn; the first one at it is kept.
    x, y = np.clip(accepted, LOWEST, HIGHEST), np.clip(refused, LOWEST, HIGHEST)
    kept = np.concatenate([[True], (np.diff(x) != 0) | (np.diff(y) != 0)])
    line = " ".join(
        f"{_log_x(float(a)):.1f},{_log_y(float(r)):.1f}"
        for a, r in zip(x[kept], y[kept], strict=True)
    )
    parts = []
    for value in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3):
        words = f"{100 * value:g} %"
        at_x, at_y = _log_x(value), _log_y(value)
        rule = 'stroke="#ddd" stroke-width="1"/>'
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at_y:.1f}" y2="{at_y:.1f}" {rule}'
        )
        parts.append(
            f'<line x1="{at_x:.1f}" x2="{at_x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" {rule}'
        )
        parts.append(_text(at_x, HEIGHT - BOTTOM + 18, words, "middle"))
        parts.append(_text(LEFT - 6, at_y + 4, words, "end"))
    ends = (_log_x(LOWEST), _log_y(LOWEST), _log_x(HIGHEST), _log_y(HIGHEST))
    parts.append(
        f'<line x1="{ends[0]:.1f}" y1="{ends[1]:.1f}" x2="{ends[2]:.1f}" y2="{ends[3]:.1f}" '
        'stroke="#888" stroke-dasharray="4 3"/>'
    )
    parts.append(f'<polyline points="{line}" fill="none" stroke="{GENUINE}" stroke-width="2"/>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    words = "strangers accepted (across) · own pictures refused (up)"
    parts.append(_text(middle, HEIGHT - 8, words, "middle"))
    return _page(title, parts)


def _x(value: float, low: float, high: float) -> float:
    return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def _y(value: float, most: float) -> float:
    return HEIGHT - BOTTOM - value / most * (HEIGHT - TOP - BOTTOM)


def _share(value: float) -> float:
    return math.log(value / LOWEST) / math.log(HIGHEST / LOWEST)


def _log_x(value: float) -> float:
    return LEFT + _share(value) * (WIDTH - LEFT - RIGHT)


def _log_y(value: float) -> float:
    return HEIGHT - BOTTOM - _share(value) * (HEIGHT - TOP - BOTTOM)


def _text(x: float, y: float, words: str, anchor: str = "start", fill: str = "#333") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}">{escape(words)}</text>'
    )


def _page(title: str, parts: list[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" aria-label="{escape(title, {chr(34): "&quot;"})}" '
        'font-family="system-ui, sans-serif" font-size="12">'
    )
    back = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    name = f'<text x="{LEFT}" y="20" font-size="14" fill="#111">{escape(title)}</text>'
    return "\n".join([head, back, name, *parts, "</svg>", ""])
