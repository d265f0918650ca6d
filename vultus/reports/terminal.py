"""A finished sweep in the terminal: one small table per base, checkpoint down, strength across, m10 in the square."""

from __future__ import annotations

from collections.abc import Sequence

from vultus.reports.html import strength_text
from vultus.reports.records import CellView, RunReport

__all__ = ["sweep_lines"]

WIDTH = 16


def sweep_lines(report: RunReport) -> tuple[str, ...]:
    """The heat maps as text. `*` marks the chosen square, `=` those that tied with it, `.` what was not rendered."""
    lines: list[str] = []
    for base in dict.fromkeys(cell.base for cell in report.cells):
        lines += _map(base, [cell for cell in report.cells if cell.base == base])
    lines.append(
        "* chosen   = tied with it   . not rendered   (n) renders, where there are too few"
    )
    return tuple(lines)


def _map(base: str, cells: Sequence[CellView]) -> list[str]:
    strengths = sorted({cell.strength for cell in cells})
    steps = sorted({cell.checkpoint for cell in cells if cell.strength > 0}) or [0]
    table = {(c.checkpoint if c.strength > 0 else 0, c.strength): c for c in cells}
    names = {c.checkpoint: c.step for c in cells}
    room = max(6, *(len(name) for name in names.values()))
    lines = [
        base,
        "step".rjust(room)
        + "  "
        + "".join(strength_text(s).ljust(WIDTH) for s in strengths).rstrip(),
    ]
    for row, step in enumerate(steps):
        squares = []
        for strength in strengths:
            alone = strength == 0.0
            cell = table.get((0 if alone else step, strength)) if row == 0 or not alone else None
            squares.append("" if alone and row else "." if cell is None else _square(cell))
        lines.append(
            f"{names[step]:>{room}}  " + "".join(one.ljust(WIDTH) for one in squares).rstrip()
        )
    return [*lines, ""]


def _square(cell: CellView) -> str:
    mark = "*" if cell.chosen else "=" if cell.tied else ""
    if not cell.m10.telling:
        return f"{cell.m10.value:.1f}{mark} ({cell.n_renders})"
    return f"{cell.m10.value:.1f}{mark} {cell.m10.low:.1f}..{cell.m10.high:.1f}"
