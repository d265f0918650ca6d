"""Which renders to make next: pure functions of what has been seen.

    ask(seen, budget) -> batches | Stop

No allocator keeps a state: the same seen cells give the same next batches, so a killed sweep goes on by asking again.

Notation
    points    m10 of single renders of a cell, by position of the block in the panel
    budget    blocks of the panel that may be spent on each cell
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from vultus.core.registry import Registry
from vultus.sweeps.cells import Cell


@dataclass(frozen=True)
class CellSeen:
    """What is known about one cell so far: points by block position."""

    cell: Cell
    points: Mapping[int, float]

    @property
    def mean(self) -> float:
        """Mean points over the blocks seen; minus infinity before the first."""
        return sum(self.points.values()) / len(self.points) if self.points else -math.inf


@dataclass(frozen=True)
class Batch:
    """Blocks of the panel, by position, to render for one cell."""

    cell: Cell
    blocks: tuple[int, ...]


@dataclass(frozen=True)
class Stop:
    """Nothing more to render, and why."""

    reason: str


@dataclass(frozen=True)
class Budget:
    """How much may be rendered: the number of blocks in the panel."""

    blocks: int


class Allocator(Protocol):
    """Decides the next batches. The exam for implementations is `vultus.testing.allocators`.

    Pure: no state, no clock, no randomness. Never asks for a block twice for one cell, never beyond the budget,
    and stops after finitely many rounds. Survivors of a round all get the same new blocks.
    """

    def ask(self, seen: Sequence[CellSeen], budget: Budget) -> Sequence[Batch] | Stop: ...


class Grid:
    """Every cell renders every block. The honest choice when a heat map without holes is wanted."""

    def ask(self, seen: Sequence[CellSeen], budget: Budget) -> Sequence[Batch] | Stop:
        """Ask for whatever is missing from the full grid."""
        batches = [
            Batch(one.cell, missing)
            for one in seen
            if (missing := tuple(i for i in range(budget.blocks) if i not in one.points))
        ]
        return batches or Stop("every cell has rendered the whole panel")


class Halving:
    """Sequential halving: all cells render a few blocks, the better half renders the next ones, and so on.

    Rounds R = ceil(log2 cells). The panel's blocks are dealt in growing portions, so that the last survivors have
    rendered all of it. Karnin, Koren, Somekh (ICML 2013); reference "measuring", section 7. No base falls out
    before its cells have rendered `protect` blocks: one unlucky prompt must not decide about a base.
    """

    def __init__(self, protect: int = 6) -> None:
        self._protect = protect

    def ask(self, seen: Sequence[CellSeen], budget: Budget) -> Sequence[Batch] | Stop:
        """Ask for the next portion for the survivors of the rounds so far."""
        rounds = max(1, math.ceil(math.log2(max(2, len(seen)))))
        edges = [max(1, round(budget.blocks * 2.0 ** -(rounds - 1 - r))) for r in range(rounds)]
        alive = list(seen)
        for edge in edges:
            upto = min(max(edge, 1), budget.blocks)
            batches = [
                Batch(one.cell, missing)
                for one in alive
                if (missing := tuple(i for i in range(upto) if i not in one.points))
            ]
            if batches:
                return batches
            alive = self._survivors(alive, upto)
        return Stop(f"{len(alive)} of {len(seen)} cells have rendered the whole panel")

    def _survivors(self, alive: Sequence[CellSeen], upto: int) -> list[CellSeen]:
        """The better half on the common blocks, and the best of each base while it is protected."""

        def common(one: CellSeen) -> float:
            return sum(one.points[i] for i in range(upto)) / upto

        ranked = sorted(alive, key=lambda one: (-common(one), one.cell))
        keep = {one.cell for one in ranked[: max(1, math.ceil(len(ranked) / 2))]}
        if upto < self._protect:
            for base in {one.cell.base for one in ranked}:
                keep.add(next(one.cell for one in ranked if one.cell.base == base))
        return [one for one in alive if one.cell in keep]


ALLOCATORS: Registry[type[Allocator]] = Registry("allocator")
ALLOCATORS.add("grid", "vultus.sweeps.allocate:Grid", help="every cell renders every block")
ALLOCATORS.add(
    "halving",
    "vultus.sweeps.allocate:Halving",
    help="the weaker half of the cells drops out each round",
)

__all__ = ["ALLOCATORS", "Allocator", "Batch", "Budget", "CellSeen", "Grid", "Halving", "Stop"]
