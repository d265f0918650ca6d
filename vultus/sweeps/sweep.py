"""A sweep: ask the allocator, render and read what it wants, tell it what was seen, until it stops.

Nothing is remembered here: every part comes from the ledger, so a killed sweep replays its rounds as look-ups and
goes on with the first that is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vultus.steps.orders import Done
from vultus.sweeps.allocate import Allocator, Batch, Budget, CellSeen, Stop
from vultus.sweeps.cells import Cell


@dataclass(frozen=True)
class Part:
    """Some blocks of one cell, rendered and read. `points` are m10 per block, by position in the panel."""

    cell: Cell
    blocks: tuple[int, ...]
    renders: Done
    faces: Done
    points: Mapping[int, float]


@dataclass
class Swept:
    """Everything a sweep made: the parts of each cell in the order in which they were asked for."""

    parts: dict[Cell, list[Part]] = field(default_factory=dict)
    rounds: int = 0
    stopped: str = ""
    finalists: tuple[Cell, ...] = ()
    tied: bool = False

    def seen(self, cells: Sequence[Cell]) -> list[CellSeen]:
        """What an allocator gets to see."""
        return [
            CellSeen(
                cell, {i: p for part in self.parts.get(cell, ()) for i, p in part.points.items()}
            )
            for cell in cells
        ]


Make = Callable[[Sequence[Batch]], Sequence[Part]]


def run_sweep(cells: Sequence[Cell], budget: Budget, allocator: Allocator, make: Make) -> Swept:
    """Sweep the cells with an allocator; `make` renders, reads and scores what it asks for."""
    swept = Swept()
    while True:
        answer = allocator.ask(swept.seen(cells), budget)
        if isinstance(answer, Stop):
            swept.stopped, swept.tied = answer.reason, answer.tied
            swept.finalists = answer.finalists
            return swept
        swept.rounds += 1
        for part in make(answer):
            swept.parts.setdefault(part.cell, []).append(part)


__all__ = ["Make", "Part", "Swept", "run_sweep"]
