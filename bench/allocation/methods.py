"""Every way of spending renders, played on one table: the shipped allocators as they are, and plain baselines.

Notation
    scale     points per unit of cosine: 25, as if strangers had cosine 0.2 and references 0.6
    regret    truth of the best cell - truth of the chosen one           cosine
    bias      the number given for the chosen cell - its truth           cosine
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bench.allocation.worlds import World
from vultus.core.seeds import stream
from vultus.sweeps.allocate import Allocator, Budget, CellSeen, Rules, Stop
from vultus.sweeps.cells import Cell
from vultus.sweeps.choose import Shown, choose
from vultus.sweeps.halving import Halving
from vultus.sweeps.racing import Racing

__all__ = ["METHODS", "SCALE", "Game", "replay"]

SCALE = 25.0


@dataclass(frozen=True)
class Game:
    """What one method did in one world."""

    regret: float
    renders: int
    bias: float


def grid(blocks: int) -> Callable[[World], Game]:
    """Every cell on so many blocks; the highest mean is taken and told."""

    def play(world: World) -> Game:
        means = world.screen[:blocks].mean(axis=0)
        return _told(world, int(means.argmax()), float(means.max()), blocks * len(world.cells))

    return play


def random(cells: int, blocks: int) -> Callable[[World], Game]:
    """Some cells, whichever they are, on so many blocks."""

    def play(world: World) -> Game:
        rng = stream("random cells", round(float(world.truth.sum() * 1e9)))
        drawn = rng.choice(len(world.cells), size=min(cells, len(world.cells)), replace=False)
        means = world.screen[:blocks, drawn].mean(axis=0)
        chosen = int(drawn[means.argmax()])
        return _told(world, chosen, float(means.max()), blocks * len(drawn))

    return play


def ours(
    make: Callable[[Rules], Allocator],
    renders: int | None = None,
    *,
    confirm: int = 48,
    rules: Rules | None = None,
) -> Callable[[World], Game]:
    """A shipped allocator, then the shipped confirmation of its finalists on fresh blocks."""
    told = rules or Rules()

    def play(world: World) -> Game:
        seen, stop = replay(make(told), world, Budget(len(world.screen), renders))
        column = {cell: i for i, cell in enumerate(world.cells)}
        spent = sum(len(points) for points in seen.values())
        if not confirm:
            chosen = stop.finalists[0]
            mean = float(np.mean(list(seen[chosen].values()))) / SCALE
            return _told(world, column[chosen], mean, spent)
        finalists = [
            Shown(
                cell,
                tuple(seen[cell].values()),
                tuple((world.fresh[:confirm, column[cell]] * SCALE).tolist()),
            )
            for cell in stop.finalists
        ]
        prompts = [f"p{p}" for p in world.fresh_prompts[:confirm]]
        chosen = choose(finalists, prompts, told.indifference_m10).chosen
        mean = float(world.fresh[:confirm, column[chosen]].mean())
        return _told(world, column[chosen], mean, spent + confirm * len(finalists))

    return play


def replay(
    allocator: Allocator, world: World, budget: Budget
) -> tuple[Mapping[Cell, Mapping[int, float]], Stop]:
    """Play an allocator on the screening table until it stops."""
    points: dict[Cell, dict[int, float]] = {cell: {} for cell in world.cells}
    column = {cell: i for i, cell in enumerate(world.cells)}
    table = world.screen * SCALE
    while True:
        answer = allocator.ask([CellSeen(c, p) for c, p in points.items()], budget)
        if isinstance(answer, Stop):
            return points, answer
        for batch in answer:
            for block in batch.blocks:
                points[batch.cell][block] = float(table[block, column[batch.cell]])


def _told(world: World, chosen: int, number: float, renders: int) -> Game:
    truth = float(world.truth[chosen])
    return Game(world.best - truth, renders, number - truth)


OURS = "Vultus: halving, confirmed"
METHODS: dict[str, Callable[[World], Game]] = {
    OURS: ours(Halving),
    "Vultus: halving, indifference 0.25": ours(Halving, rules=Rules(indifference_m10=0.25)),
    "Vultus: halving, no confirmation": ours(Halving, confirm=0, rules=Rules(finalists=1)),
    "Vultus: racing, confirmed": ours(Racing),
    "full grid, n = 24": grid(24),
    "full grid, n = 8": grid(8),
    "random 30 cells, n = 24": random(30, 24),
}
