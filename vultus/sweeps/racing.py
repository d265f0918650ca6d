"""A race on shared blocks: a cell drops out when it is proven worse than the leader, and not before.

The variant for "spend what it takes": where halving fixes the renders and takes the risk that comes with them, the
race fixes the risk and takes the renders it needs. Survivors all have every block (elitist racing: Lopez-Ibanez et
al. 2016, doi 10.1016/j.orp.2016.09.002); the bound may be looked at after each portion without raising the risk,
because the looks share one alpha (`stats.sequential`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vultus.stats.sequential import gap_bounds, spent_at
from vultus.sweeps.allocate import (
    Batch,
    Budget,
    CellSeen,
    Rules,
    Stop,
    finalists_of,
    missing_blocks,
    ranked,
    stop_with,
)

FIRST_BLOCKS = 6
NEXT_BLOCKS = 2
ALPHA = 0.05
"""Chance that a given cell, as good as the leader, is ever dropped."""


class Racing:
    """Drops a cell when the upper bound of its paired gap to the leader falls below zero.

    Ends with the finalists, when every bound is inside the indifference zone, or when the panel or the budget is spent.
    """

    def __init__(self, rules: Rules | None = None) -> None:
        self._rules = rules or Rules()

    def ask(self, seen: Sequence[CellSeen], budget: Budget) -> Sequence[Batch] | Stop:
        """Ask for the next portion for the cells that are still in the race."""
        alive, blocks, look = list(seen), 0, 0
        left = budget.blocks * len(seen) if budget.renders is None else budget.renders

        def stop(why: str, tied: bool = False) -> Stop:
            best = finalists_of(alive, blocks, self._rules.finalists)
            return stop_with(seen, alive, blocks, why, best, tied=tied)

        while True:
            new = min(NEXT_BLOCKS if look else FIRST_BLOCKS, budget.blocks - blocks)
            new = min(new, left // len(alive)) if look else max(1, min(new, left // len(alive)))
            if new <= 0:
                return stop("the panel or the budget is spent")
            blocks, left, look = blocks + new, left - new * len(alive), look + 1
            if batches := missing_blocks(alive, blocks):
                return batches
            alive, near = self._race(alive, blocks, look)
            if len(alive) <= self._rules.finalists:
                return stop("the others are proven worse")
            if near:
                return stop("they cannot differ enough to matter", True)

    def _race(
        self, alive: Sequence[CellSeen], blocks: int, look: int
    ) -> tuple[list[CellSeen], bool]:
        """The cells that stay, and whether all of them are near enough to the leader."""
        order = ranked(alive, blocks)
        level = spent_at(look, ALPHA)
        points = np.array([[one.points[i] for i in range(blocks)] for one in order])
        behind = -gap_bounds(points[0] - points, level)[0]  # how much better each may still be
        behind[0] = 0.0
        stays = behind >= 0.0
        stays[: self._rules.finalists] = True
        near = bool((behind[stays] <= self._rules.indifference_m10).all())
        cells = {one.cell for one, kept in zip(order, stays, strict=True) if kept}
        return [one for one in alive if one.cell in cells], near


__all__ = ["ALPHA", "FIRST_BLOCKS", "NEXT_BLOCKS", "Racing"]
