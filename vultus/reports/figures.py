"""The charts of a report: strength, checkpoints, loss, and the scale itself.

Notation
    m10        score and its interval                      Estimate, unit "m10"
    strength   LoRA strength                               float
    step       optimizer step of a checkpoint              int
    cosine     similarity to the references' centroid      float in [-1, 1]
Every line that is measured shows its interval where it is the line the reader decides by; the
others are drawn thin, for comparison only. A square with too few renders for an interval is an open dot
beside the line, never a corner of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from vultus.reports.html import Html, join, strength_text, tag
from vultus.reports.plot import Frame, labels_apart, polyline, svg, ticks
from vultus.reports.records import CellView, ChosenView, Curve, YardstickView
from vultus.stats.estimate import Estimate

__all__ = ["checkpoint_chart", "interval_bar", "loss_chart", "scale_chart", "strength_chart"]

ROW_PX = 84.0
"""Greatest height of one row of the scale: seven dots of the largest size."""

SCORE_TICKS = [(float(v), str(v)) for v in (0, 2, 4, 6, 8, 10)]


def strength_chart(cells: Sequence[CellView], chosen: ChosenView) -> Html:
    """m10 against strength: the chosen base and checkpoint with its interval, the others thin."""
    lines = {
        base: sorted(
            (cell for cell in cells if cell.base == base and _shown(cells, cell, chosen)),
            key=lambda cell: cell.strength,
        )
        for base in dict.fromkeys(cell.base for cell in cells)
    }
    strengths = sorted({cell.strength for cell in cells})
    return _score_chart(
        lines,
        chosen,
        lambda cell: cell.strength,
        [(s, strength_text(s)) for s in strengths],
        "LoRA strength",
        chosen.strength,
        "m10 against LoRA strength",
    )


def checkpoint_chart(cells: Sequence[CellView], chosen: ChosenView) -> Html:
    """m10 against training step at the chosen strength: where learning ends and cooking begins."""
    lines = {
        base: sorted(
            (
                cell
                for cell in cells
                if cell.base == base and cell.strength == chosen.strength > 0 and not cell.label
            ),
            key=lambda cell: cell.checkpoint,
        )
        for base in dict.fromkeys(cell.base for cell in cells)
    }
    steps = sorted({cell.checkpoint for line in lines.values() for cell in line})
    return _score_chart(
        lines,
        chosen,
        lambda cell: float(cell.checkpoint),
        [(float(s), str(s)) for s in _thinned(steps, 8)],
        f"training step, at strength {strength_text(chosen.strength)}",
        float(chosen.checkpoint),
        "m10 against training step",
    )


def _shown(cells: Sequence[CellView], cell: CellView, chosen: ChosenView) -> bool:
    """Strength lines: the chosen checkpoint of the chosen base, the best one of the others."""
    if cell.strength == 0:
        return True
    if cell.base == chosen.base:
        return cell.checkpoint == chosen.checkpoint
    rivals = [c for c in cells if c.base == cell.base and c.strength > 0]
    best = max(rivals, key=lambda c: (c.m10.telling, c.m10.value))
    return cell.checkpoint == best.checkpoint


def _score_chart(
    lines: dict[str, list[CellView]],
    chosen: ChosenView,
    place: Callable[[CellView], float],
    x_ticks: list[tuple[float, str]],
    x_title: str,
    chosen_x: float,
    label: str,
) -> Html:
    spots = [value for value, _ in x_ticks]
    margin = (max(spots) - min(spots)) * 0.04 or 0.5
    tops = [_reach(c.m10)[1] for line in lines.values() for c in line]
    lows = [c.m10.value for line in lines.values() for c in line]
    frame = Frame(
        (min(spots) - margin, max(spots) + margin),
        (min(0.0, *lows) - 0.3, max(10.0, min(12.0, max(tops))) + 0.3),
    )
    right = frame.size[0] - frame.right
    parts = [frame.axes(x_ticks, SCORE_TICKS, x_title, "m10")]
    parts.append(_gate_line(frame, chosen.gate_bar))
    names: list[tuple[float, str, str]] = []
    for base, line in lines.items():
        if not line:
            continue
        mine = base == chosen.base
        told = [c for c in line if c.m10.telling]
        if mine and told:
            parts.append(_band(frame, told, place))
        points = [(frame.px(place(c)), frame.py(c.m10.value)) for c in told]
        parts.append(polyline(points, "line" if mine else "line other"))
        parts.extend(_dot(frame, c, place, mine=mine) for c in line)
        last = told[-1] if told else line[-1]
        names.append((frame.py(last.m10.value), _short(base), "mine" if mine else ""))
        picked = [c for c in line if mine and math.isclose(place(c), chosen_x)]
        parts.extend(
            tag("circle", class_="ring", cx=frame.px(place(c)), cy=frame.py(c.m10.value), r=8)
            for c in picked
        )
    parts.append(labels_apart(names, right + 8, frame.top, frame.size[1] - frame.bottom))
    return svg(label, *parts)


def _dot(frame: Frame, cell: CellView, place: Callable[[CellView], float], *, mine: bool) -> Html:
    class_ = "dot" if mine else "dot other"
    at = {"cx": frame.px(place(cell)), "cy": frame.py(cell.m10.value), "r": 4.0 if mine else 2.5}
    return tag("circle", class_=class_ if cell.m10.telling else f"{class_} open", **at)


def _gate_line(frame: Frame, bar: float | None) -> Html:
    if bar is None:
        return join(())
    at, right = frame.py(bar), frame.size[0] - frame.right
    rule = tag("line", class_="gate", x1=frame.left, x2=right, y1=at, y2=at)
    return join((rule, tag("text", "the bar", class_="gate-name", x=frame.left + 4, y=at - 5)))


def _band(frame: Frame, line: Sequence[CellView], place: Callable[[CellView], float]) -> Html:
    """The intervals of points that have one, as one shape."""
    upper = [(frame.px(place(c)), frame.py(c.m10.high)) for c in line]
    lower = [(frame.px(place(c)), frame.py(c.m10.low)) for c in line]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *reversed(lower)])
    return tag("polygon", class_="band", points=path)


def loss_chart(curves: Sequence[Curve], checkpoints: Sequence[int]) -> Html:
    """Training loss, each line a running mean over a tenth of the run, the raw values behind it."""
    told = [curve for curve in curves if len(curve.points) > 1]
    xs = [x for curve in told for x, _ in curve.points]
    smooth = {curve.label: _running_mean(curve.points) for curve in told}
    values = sorted(y for curve in told for _, y in curve.points)
    cut = values[min(len(values) - 1, int(len(values) * 0.98))]
    alone = len(told) == 1
    frame = Frame((min(xs), max(xs)), (0.0, cut * 1.08), 52.0, 16.0 if alone else 92.0, 26.0)
    parts = [
        frame.axes(ticks(*frame.x, 6), ticks(0.0, frame.y[1], 5), "training step", "loss"),
    ]
    floor = frame.size[1] - frame.bottom
    for step in checkpoints:
        at = frame.px(min(max(step, frame.x[0]), frame.x[1]))
        parts.append(tag("line", class_="mark", x1=at, x2=at, y1=frame.top, y2=floor))
    names = []
    for position, curve in enumerate(told):
        rough = [(frame.px(x), frame.py(y)) for x, y in curve.points]
        even = [(frame.px(x), frame.py(y)) for x, y in smooth[curve.label]]
        parts.append(polyline(_few(rough, 400), "line raw"))
        parts.append(polyline(_few(even, 200), "line" if position == 0 else "line other"))
        names.append((even[-1][1], _short(curve.label), "mine" if position == 0 else ""))
    if not alone:
        parts.append(labels_apart(names, frame.size[0] - frame.right + 8, frame.top, floor))
    return svg("training loss against step", *parts)


def scale_chart(view: YardstickView) -> Html:
    """Strangers, renders and references on one axis of cosine, with 0 and 10 of m10 above it."""
    rows = [
        ("strangers", "stranger", view.impostors),
        (view.renders_are, "render", view.renders),
        ("references", "reference", view.references),
    ]
    rows = [row for row in rows if row[2]]
    every = [value for _, _, values in rows for value in values]
    pad = (max(every) - min(every)) * 0.06 + 1e-3
    flat = Frame((min(every) - pad, max(every) + pad), (0.0, 1.0), left=4.0, right=8.0)
    flat = replace(flat, size=(560.0, 0.0))
    highest = max(_highest(flat, values, 4.0) for _, _, values in rows)
    row_px = min(ROW_PX, max(52.0, highest + 24.0))
    size = (560.0, 88.0 + row_px * len(rows))
    frame = replace(flat, top=40.0, bottom=48.0, size=size)
    parts = [frame.axes(ticks(*frame.x, 7), [], "cosine to the references' centroid", "")]
    anchors = []
    if view.impostors and view.references and not view.refused:
        anchors = [("0", _mean(view.impostors)), ("10", _mean(view.references))]
    for words, value in anchors:
        at = frame.px(value)
        parts.append(tag("line", class_="anchor", x1=at, x2=at, y1=24, y2=size[1] - 48))
        parts.append(tag("text", f"m10 = {words}", class_="anchor-name", x=at, y=17))
    for position, (name, class_, values) in enumerate(rows):
        floor = frame.top + row_px * (position + 1) - 10.0
        parts.append(_row_name(frame, name, values, floor))
        parts.append(_swarm(frame, values, floor, class_))
    return svg("cosines of strangers, renders and references", *parts, size=size)


def _row_name(frame: Frame, name: str, values: Sequence[float], floor: float) -> Html:
    """Name and count where the row has the fewest dots: left, middle or right."""
    low, high = frame.x
    third = (high - low) / 3
    spots = ((low, "row-name"), (low + third, "row-name mid"), (high - third, "row-name end"))
    start, class_ = min(spots, key=lambda spot: sum(0 <= v - spot[0] <= third for v in values))
    edge = frame.size[0] - frame.right
    at = {"row-name": frame.left, "row-name end": edge}.get(class_, frame.px(start + third / 2))
    return tag("text", name, tag("tspan", f"{len(values)}", dx=5), class_=class_, x=at, y=floor - 8)


def _swarm(frame: Frame, values: Sequence[float], floor: float, class_: str) -> Html:
    """Dots piled up where values crowd, and a tick at their mean."""
    radius = next(
        (r for r in (4.0, 3.2, 2.6, 2.0) if _highest(frame, values, r) <= ROW_PX - 24), 1.6
    )
    heights: dict[int, int] = {}
    dots = []
    for value in sorted(values):
        column = round(frame.px(value) / (2 * radius))
        level = heights.get(column, 0)
        heights[column] = level + 1
        # What does not fit at the smallest size piles up at the top: the row keeps its height.
        y = max(floor - ROW_PX + 14, floor - radius * (1 + 2 * level))
        dots.append(tag("circle", class_=f"bead {class_}", cx=column * 2 * radius, cy=y, r=radius))
    at = frame.px(_mean(values))
    right = frame.size[0] - frame.right
    mean = tag("line", class_=f"mean {class_}", x1=at, x2=at, y1=floor + 1, y2=floor + 8)
    return join(
        (tag("line", class_="rule", x1=frame.left, x2=right, y1=floor, y2=floor), *dots, mean)
    )


def _highest(frame: Frame, values: Sequence[float], radius: float) -> float:
    """Height in px of the highest pile at this size of dot."""
    columns = [round(frame.px(value) / (2 * radius)) for value in values]
    return max(columns.count(column) for column in set(columns)) * 2 * radius


def interval_bar(estimate: Estimate, bar: float | None) -> Html:
    """The whole 0 to 10 scale in one line: the point, its interval, and the bar to clear."""
    size = (360.0, 62.0)
    frame = Frame((0.0, 10.0), (0.0, 1.0), left=10.0, right=10.0, top=8.0, bottom=26.0, size=size)
    low = min(10.0, max(0.0, _finite(estimate.low, 0.0)))
    high = min(10.0, max(0.0, _finite(estimate.high, 10.0)))
    point = frame.px(min(10.0, max(0.0, estimate.value)))
    parts = [
        tag(
            "rect",
            class_="track",
            x=frame.px(0),
            y=20,
            width=frame.px(10) - frame.px(0),
            height=8,
            rx=4,
        ),
        tag(
            "rect",
            class_="reach",
            x=frame.px(low),
            y=20,
            width=max(3.0, frame.px(high) - frame.px(low)),
            height=8,
            rx=4,
        ),
        tag("circle", class_="point", cx=point, cy=24, r=8),
    ]
    parts.extend(
        tag("text", str(value), class_="tick mid", x=frame.px(value), y=52)
        for value in range(0, 11, 2)
    )
    if bar is not None:
        at = frame.px(bar)
        parts.append(tag("line", class_="gate", x1=at, x2=at, y1=10, y2=36))
    words = f"m10 {estimate.words()} on a scale from 0 to 10"
    return svg(words, *parts, size=size)


def _running_mean(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Mean over a window of a tenth of the points, cut off at both ends of the run."""
    reach = max(1, len(points) // 20)
    sums = [0.0]
    for _, y in points:
        sums.append(sums[-1] + y)
    even = []
    for i, (x, _) in enumerate(points):
        first, last = max(0, i - reach), min(len(points), i + reach + 1)
        even.append((x, (sums[last] - sums[first]) / (last - first)))
    return even


def _few(points: Sequence[tuple[float, float]], most: int) -> Sequence[tuple[float, float]]:
    """At most this many points, evenly picked, the last one kept."""
    if len(points) <= most:
        return points
    step = (len(points) - 1) / (most - 1)
    return [points[round(i * step)] for i in range(most)]


def _thinned(steps: Sequence[int], most: int) -> list[int]:
    every = max(1, math.ceil(len(steps) / most))
    return list(steps)[::-1][::every][::-1]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _finite(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) else otherwise


def _reach(estimate: Estimate) -> tuple[float, float]:
    """The interval as far as it tells something, else the point itself."""
    if not estimate.telling:
        return estimate.value, estimate.value
    return estimate.low, estimate.high


def _short(name: str, most: int = 12) -> str:
    """The last part of a base's name, short enough to stand beside a line."""
    last = name.rstrip("/").rsplit("/", 1)[-1].removesuffix(".safetensors")
    return last if len(last) <= most else last[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
