"""The heat map: one square per cell, base by base, checkpoint down and strength across.

Notation
    m10      score of a cell                  Estimate; colour runs from 0 to 10 and stops there
    warmth   m10 / 10, cut to 0..1            float, handed to the style sheet as --v
Every square carries its number and its interval as text: colour alone tells nothing to a printer,
a colour-blind reader or a screen reader.
"""

from __future__ import annotations

from collections.abc import Sequence

from vultus.reports.html import Html, join, number, raw, strength_text, tag
from vultus.reports.records import CellView

__all__ = ["heat_maps", "ranking", "warm"]


def heat_maps(cells: Sequence[CellView]) -> Html:
    """One table per base, and the key to all of them."""
    bases = list(dict.fromkeys(cell.base for cell in cells))
    maps = [_map(base, [cell for cell in cells if cell.base == base]) for base in bases]
    return join((tag("div", *maps, class_=f"maps of-{min(3, len(bases))}"), _key(cells)))


def ranking(cells: Sequence[CellView], most: int = 7) -> Html:
    """The best squares in order, as a table; the chosen one is always among them.

    A square that dropped out after a render or two is not ranked: the best of many such is the luckiest. Where no
    square has an interval all are ranked.
    """
    lora = [cell for cell in cells if cell.strength > 0]
    told = [cell for cell in lora if cell.m10.telling or cell.chosen]
    order = sorted(told if any(c.m10.telling for c in told) else lora, key=lambda c: -c.m10.value)
    kept = order[:most]
    kept += [cell for cell in order[most:] if cell.chosen]
    head = ("", "base", "step", "strength", "m10", "95 % interval")
    rows = [tag("tr", *(tag("th", words, scope="col") for words in head))]
    for cell in kept:
        inside = (
            tag("td", f"{order.index(cell) + 1}", class_="hushed"),
            tag("td", cell.base),
            tag("td", cell.step),
            tag("td", strength_text(cell.strength)),
            tag("td", tag("b", number(cell.m10.value))),
            tag("td", _range(cell)),
        )
        rows.append(tag("tr", *inside, class_="chosen" if cell.chosen else None))
    left = len(lora) - len(order)
    words = f"{left} squares with too few renders for an interval are not ranked."
    table = tag("table", tag("tbody", *rows), class_="ranking")
    return join((table, tag("p", words, class_="key"))) if left else table


def _range(cell: CellView) -> str:
    if cell.m10.telling:
        return f"{number(cell.m10.low)} – {number(cell.m10.high)}"
    return f"n = {cell.n_renders}"


def warm(m10: float) -> tuple[str, str]:
    """Class and inline style of something coloured by m10."""
    warmth = min(1.0, max(0.0, m10 / 10.0))
    class_ = "warm" if warmth < 0.5 else "warm hot" if warmth < 0.62 else "warm hot lit"
    return class_, f"--v:{warmth * 100:.0f}%"


def _map(base: str, cells: Sequence[CellView]) -> Html:
    strengths = sorted({cell.strength for cell in cells})
    checkpoints = sorted({cell.checkpoint for cell in cells if cell.strength > 0})
    table = {(cell.checkpoint if cell.strength > 0 else 0, cell.strength): cell for cell in cells}
    names = {cell.checkpoint: cell.step for cell in cells}
    head = tag(
        "tr",
        tag("th", "step", scope="col", class_="corner"),
        *(tag("th", strength_text(s), scope="col") for s in strengths),
    )
    rows = []
    for position, checkpoint in enumerate(checkpoints or [0]):
        squares: list[Html] = []
        for strength in strengths:
            if strength > 0:
                squares.append(_square(table.get((checkpoint, strength))))
            elif position == 0:
                squares.append(_square(table.get((0, 0.0)), rows=max(1, len(checkpoints))))
        rows.append(tag("tr", tag("th", names[checkpoint], scope="row"), *squares))
    return tag(
        "figure",
        tag("figcaption", tag("b", base)),
        tag("table", tag("thead", head), tag("tbody", *rows), class_="heat"),
        class_="map",
    )


def _square(cell: CellView | None, rows: int = 1) -> Html:
    if cell is None:
        return tag("td", tag("span", "not rendered", class_="hush"), class_="empty")
    class_, style = warm(cell.m10.value)
    inside = [tag("b", number(cell.m10.value)), tag("small", _range(cell))]
    if cell.misses:
        inside.append(tag("small", f"{cell.misses} no face", class_="misses"))
    if cell.chosen:
        inside.append(tag("span", "chosen", class_="flag"))
    elif cell.tied:
        inside.append(tag("span", "tied", class_="flag quiet"))
    marks = " chosen" if cell.chosen else ""
    return tag(
        "td", *inside, class_=class_ + marks, style=style, rowspan=rows if rows > 1 else None
    )


def _key(cells: Sequence[CellView]) -> Html:
    renders = sorted({cell.n_renders for cell in cells})
    each = f"{renders[0]}" if len(renders) == 1 else f"{renders[0]} to {renders[-1]}"
    words = [
        raw("<span>0 <i class='ramp'></i> 10</span>"),
        tag("span", "small figures: 95 % interval"),
        tag("span", f"{each} renders per square"),
    ]
    if any(not cell.m10.telling for cell in cells):
        words.append(tag("span", "n = 1: too few renders for an interval"))
    if len(renders) > 1:
        words.append(tag("span", "squares with fewer renders dropped out of the sweep early"))
    if any(cell.tied and not cell.chosen for cell in cells):
        words.append(tag("span", "tied: too close to the best to tell apart"))
    return tag("p", *words, class_="key")
