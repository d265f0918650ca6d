"""Which renders to make next: pure functions of what has been seen.

    ask(seen, budget) -> batches | Stop

No allocator keeps a state: the same seen cells give the same next batches, so a killed sweep goes on by asking again.

Notation
    points    m10 of single renders of a cell, by position of the block in the panel
    budget    blocks of the panel, and renders that may be spent on all cells together
    finalists cells that are still in the running at the end; they are measured again on fresh blocks
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from vultus.core.registry import Registry
from vultus.sweeps.cells import Cell

SCREENING_RENDERS_PER_CELL = 5
"""Renders a cell may cost on average when no budget is given: reference "measuring", section 7."""


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
    """Nothing more to render, why, and who is left, best first.

    `tied` says that the finalists could be told to lie within the indifference zone of each other.
    """

    reason: str
    finalists: tuple[Cell, ...] = ()
    tied: bool = False


@dataclass(frozen=True)
class Budget:
    """How much may be rendered: the blocks of the panel, and renders in all (None = the usual: 5 per cell)."""

    blocks: int
    renders: int | None = None

    def screening(self, cells: int) -> int:
        """Renders that an adaptive allocator may spend on so many cells."""
        usual = SCREENING_RENDERS_PER_CELL * cells if self.renders is None else self.renders
        return min(usual, self.blocks * cells)


@dataclass(frozen=True)
class Rules:
    """What every allocator is told beside the budget.

    `indifference_m10`: gaps below it matter to nobody. `protect_blocks`: no base falls out before its cells have
    rendered so many. `seed` names the stream of allocators that draw.
    """

    finalists: int = 3
    indifference_m10: float = 0.1
    protect_blocks: int = 6
    seed: int = 1


class Allocator(Protocol):
    """Decides the next batches. The exam for implementations is `vultus.testing.allocators`.

    Made as `make(rules)`. Pure: no state, no clock, every draw from a named stream. Never asks for a block twice for
    one cell, never beyond the budget, and stops after finitely many rounds with the finalists named.
    """

    def ask(self, seen: Sequence[CellSeen], budget: Budget) -> Sequence[Batch] | Stop: ...


class Grid:
    """Every cell renders every block. The honest choice when a heat map without holes is wanted."""

    def __init__(self, rules: Rules | None = None) -> None:
        self._rules = rules or Rules()

    def ask(self, seen: Sequence[CellSeen], budget: Budget) -> Sequence[Batch] | Stop:
        """Ask for whatever is missing from the full grid, or from as many whole blocks as the budget pays."""
        blocks = budget.blocks
        if budget.renders is not None and seen:
            blocks = max(1, min(blocks, budget.renders // len(seen)))
        batches = missing_blocks(seen, blocks)
        if batches:
            return batches
        whole = "the whole panel" if blocks == budget.blocks else f"{blocks} blocks"
        return Stop(
            f"every cell has rendered {whole}", finalists_of(seen, blocks, self._rules.finalists)
        )


def missing_blocks(alive: Sequence[CellSeen], upto: int) -> list[Batch]:
    """What these cells have not rendered of the first blocks of the panel."""
    return [
        Batch(one.cell, missing)
        for one in alive
        if (missing := tuple(i for i in range(upto) if i not in one.points))
    ]


def ranked(alive: Sequence[CellSeen], upto: int) -> list[CellSeen]:
    """Cells by their mean over the same first blocks, best first; equals in the order of their names."""

    def common(one: CellSeen) -> float:
        return sum(one.points[i] for i in range(upto)) / max(1, upto)

    return sorted(alive, key=lambda one: (-common(one), one.cell))


def finalists_of(alive: Sequence[CellSeen], upto: int, count: int) -> tuple[Cell, ...]:
    """The best cells over the same first blocks, best first."""
    return tuple(one.cell for one in ranked(alive, upto)[: max(1, count)])


def stop_with(
    seen: Sequence[CellSeen],
    alive: Sequence[CellSeen],
    blocks: int,
    why: str,
    finalists: tuple[Cell, ...],
    *,
    tied: bool = False,
) -> Stop:
    """A stop that says how many cells are left of how many, after how many blocks, and why."""
    said = f"{len(alive)} of {len(seen)} cells are left after {blocks} blocks: {why}"
    return Stop(said, finalists, tied)


MakeAllocator = Callable[..., Allocator]
ALLOCATORS: Registry[MakeAllocator] = Registry("allocator")
ALLOCATORS.add("grid", "vultus.sweeps.allocate:Grid", help="every cell renders every block")
ALLOCATORS.add(
    "halving",
    "vultus.sweeps.halving:Halving",
    help="the weaker half of the cells drops out each round",
)
ALLOCATORS.add(
    "racing",
    "vultus.sweeps.racing:Racing",
    help="a cell drops out when it is proven worse than the leader; spends what that takes",
)
ALLOCATORS.add(
    "optuna-tpe",
    "vultus.sweeps.optuna_peer:open_optuna",
    help="a baseline: Optuna's TPE sampler picks cells, each renders the whole panel",
    extra="optuna",
)

__all__ = [
    "ALLOCATORS",
    "SCREENING_RENDERS_PER_CELL",
    "Allocator",
    "Batch",
    "Budget",
    "CellSeen",
    "Grid",
    "Rules",
    "Stop",
    "finalists_of",
    "missing_blocks",
    "ranked",
    "stop_with",
]
