"""Which cell is taken: the best, or the mildest of those that are as good.

Cells whose m10 lies within the indifference zone below the best are tied: their difference is too small to matter to
anybody. Of the tied the lowest strength wins, then the earliest checkpoint: what changes the base least keeps most of
what the base can do. The chosen cell's own number is biased upward (it won), so it is only ever shown next to the one
from fresh blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vultus.core.errors import ScoreError
from vultus.sweeps.cells import Cell


@dataclass(frozen=True)
class Choice:
    """The chosen cell, the best by its own number, and all that tied with it."""

    chosen: Cell
    best: Cell
    tied: tuple[Cell, ...]


def choose(
    m10: Mapping[Cell, float], renders: Mapping[Cell, int], indifference_m10: float
) -> Choice:
    """Choose among the cells that have rendered the most blocks; cells that dropped out earlier cannot win."""
    full = max(renders.values(), default=0)
    finalists = {
        cell: value for cell, value in m10.items() if cell.strength > 0 and renders[cell] == full
    }
    if not finalists:
        raise ScoreError(
            "no cell with a LoRA was scored",
            expected="at least one strength above 0",
            next_command="check [sweep] strengths in vultus.toml",
        )
    best = min(finalists, key=lambda cell: (-finalists[cell], cell))
    tied = [cell for cell in finalists if finalists[cell] >= finalists[best] - indifference_m10]
    tied.sort(key=lambda cell: (cell.strength, cell.checkpoint, -finalists[cell], cell.base))
    return Choice(tied[0], best, tuple(tied))


__all__ = ["Choice", "choose"]
