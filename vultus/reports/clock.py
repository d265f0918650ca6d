"""The clock drawn: what each checkpoint was worth while the training went on, with its interval.

Notation
    step      optimizer steps done            int
    m10       of a few blocks of the panel    Estimate; they also take part in choosing, fresh blocks decide
"""

from __future__ import annotations

from collections.abc import Sequence

from vultus.reports.html import Html
from vultus.reports.html import tag as element
from vultus.reports.plot import Frame, polyline, svg
from vultus.studies.outcome import Tick

__all__ = ["clock_chart"]


def clock_chart(ticks: Sequence[Tick]) -> Html:
    """m10 against steps; a vertical line is the interval."""
    steps = [tick.step for tick in ticks]
    room = max(1.0, 0.06 * (steps[-1] - steps[0]))
    bounds = [
        bound for tick in ticks if tick.m10.bounded for bound in (tick.m10.low, tick.m10.high)
    ]
    values = [*bounds, *(tick.m10.value for tick in ticks), 0.0]
    low, high = min(0.0, min(values)), max(10.0, max(values))
    frame = Frame((steps[0] - room, steps[-1] + room), (low, high))
    levels = [(float(level), str(level)) for level in (0, 2, 4, 6, 8, 10)]
    parts = [frame.axes([(s, str(s)) for s in steps], levels, "training steps", "m10")]
    parts.extend(
        element(
            "line",
            class_="line other",
            x1=frame.px(tick.step),
            x2=frame.px(tick.step),
            y1=frame.py(tick.m10.low),
            y2=frame.py(tick.m10.high),
        )
        for tick in ticks
        if tick.m10.bounded
    )
    places = [(frame.px(tick.step), frame.py(tick.m10.value)) for tick in ticks]
    parts.append(polyline(places, "line"))
    parts.extend(element("circle", class_="dot", cx=x, cy=y, r=4) for x, y in places)
    return svg("m10 of each checkpoint while the training went on", *parts)
