"""The ceiling drawn: how much likeness the base's picture format leaves, against the width of the face.

Notation
    width_px   width of the face in the picture      int, px; the axis doubles from tick to tick
    share      of the references' own likeness       Estimate, 0..1 and a little above
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from vultus.reports.html import Html, join, tag
from vultus.reports.plot import Frame, labels_apart, polyline, svg
from vultus.scoring.ceiling import CeilingRow

__all__ = ["ceiling_chart", "ceiling_words"]


def ceiling_chart(rows: Sequence[CeilingRow]) -> Html:
    """Share of likeness left against face width: by the size alone, and through the VAE."""
    places = [math.log2(row.width_px) for row in rows]
    frame = Frame((min(places) - 0.2, max(places) + 0.2), (0.0, 1.1))
    shares = [(value / 4, f"{value * 25} %") for value in range(5)]
    widths = [(place, str(row.width_px)) for place, row in zip(places, rows, strict=True)]
    parts = [frame.axes(widths, shares, "width of the face in px", "likeness left")]
    coded = [
        (frame.px(x), frame.py(min(1.1, max(0.0, row.share.value))))
        for x, row in zip(places, rows, strict=True)
    ]
    small = [
        (frame.px(x), frame.py(min(1.1, max(0.0, row.small))))
        for x, row in zip(places, rows, strict=True)
    ]
    parts.extend(
        tag(
            "line",
            class_="line other",
            x1=frame.px(x),
            x2=frame.px(x),
            y1=frame.py(min(1.1, max(0.0, row.share.low))),
            y2=frame.py(min(1.1, max(0.0, row.share.high))),
        )
        for x, row in zip(places, rows, strict=True)
        if row.share.bounded
    )
    parts.append(polyline(small, "line other"))
    parts.append(polyline(coded, "line"))
    parts.extend(tag("circle", class_="dot", cx=x, cy=y, r=4) for x, y in coded)
    names = [(small[-1][1], "size alone", ""), (coded[-1][1], "through VAE", "mine")]
    parts.append(
        labels_apart(
            names, frame.size[0] - frame.right + 8, frame.top, frame.size[1] - frame.bottom
        )
    )
    return svg("likeness left by the picture format against face width", *parts)


def ceiling_words(rows: Sequence[CeilingRow]) -> Html:
    """The ceiling in one sentence for those who skip drawings."""
    half = next((row for row in rows if row.share.value >= 0.9), None)
    words = (
        "At every width that was tried more than a tenth of the likeness is lost to the picture format alone."
        if half is None
        else f"From a face of {half.width_px} px on, the picture format keeps nine tenths of the likeness;"
        " below that no LoRA can be expected to score well."
    )
    return join((tag("p", words),))
