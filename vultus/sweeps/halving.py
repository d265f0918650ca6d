"""Sequential halving on shared blocks: all cells render a few, the better half renders the next ones, and so on.

Notation
    K    cells                                     B    renders for all of them (the budget)
    R    ceil(log2 K) rounds at most               S    cells still in the running
    n    blocks that all of them have rendered
Each round gives every survivor max(1, B / (S R)) new blocks, the same for all, and keeps the better half by the mean
over all blocks so far; it ends with the finalists. Karnin, Koren, Somekh (ICML 2013); figures: reference "measuring",
section 7, and `make bench-allocation`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from vultus.core.errors import ScoreError
from vultus.stats.sequential import gap_bounds
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

CHECKPOINTS_KEPT = 2
"""Checkpoints of every base that stay while the base is protected."""

TIE_BLOCKS = 6
"""Fewer blocks prove no tie: an interval from five differences is luck."""

TIE_LEVEL = 0.025
"""Each side of the interval that has to lie inside the indifference zone (95 % two-sided)."""


class Halving:
    """Half of the cells drop out each round.

    Two protections: no base falls below two checkpoints before its cells have rendered `protect_blocks` blocks, because
    one unlucky prompt must not decide about a base; and when every survivor is proven to lie within the indifference
    zone of the leader, the tie is declared and nothing more is spent.
    """

    def __init__(self, rules: Rules | None = None) -> None:
        self._rules = rules or Rules()

    def ask(self, seen: Sequence[CellSeen], budget: Budget) -> Sequence[Batch] | Stop:
        """Ask for the next portion for the survivors of the rounds so far."""
        alive, blocks = list(seen), 0
        total = left = budget.screening(len(seen))
        if left < len(seen):
            raise ScoreError(
                f"a budget of {left} renders cannot show each of {len(seen)} cells once",
                expected=f"at least {len(seen)} renders for the sweep",
                next_command="raise [sweep] budget, or name fewer strengths, bases or checkpoints",
            )
        rounds = max(1, math.ceil(math.log2(max(2, len(seen)))))
        while True:
            share = max(1, total // (len(alive) * rounds))
            new = min(share, budget.blocks - blocks, left // len(alive))
            if new == 0:
                return self._stop(seen, alive, blocks, "the budget is spent")
            blocks, left = blocks + new, left - new * len(alive)
            if batches := missing_blocks(alive, blocks):
                return batches
            if self._tied(alive, blocks):
                return self._stop(seen, alive, blocks, "they cannot differ enough to matter", True)
            alive = self._survivors(alive, blocks)
            if len(alive) <= self._rules.finalists:
                return self._stop(seen, alive, blocks, "the others dropped out")

    def _survivors(self, alive: Sequence[CellSeen], blocks: int) -> list[CellSeen]:
        """The better half, never fewer than the finalists, and what protects each base."""
        order = ranked(alive, blocks)
        half = max(self._rules.finalists, math.ceil(len(order) / 2))
        keep = {one.cell for one in order[:half]}
        if blocks < self._rules.protect_blocks:
            for base in dict.fromkeys(one.cell.base for one in order):
                keep.update(one.cell for one in _best_checkpoints(order, base))
        return [one for one in alive if one.cell in keep]

    def _tied(self, alive: Sequence[CellSeen], blocks: int) -> bool:
        """True when the paired interval of every survivor against the leader lies inside the indifference zone."""
        zone = self._rules.indifference_m10
        if blocks < TIE_BLOCKS or len(alive) < 2 or zone <= 0.0:
            return False
        order = ranked(alive, blocks)
        points = np.array([[one.points[i] for i in range(blocks)] for one in order])
        low, high = gap_bounds(points[0] - points[1:], TIE_LEVEL)
        return bool((low >= -zone).all() and (high <= zone).all())

    def _stop(
        self,
        seen: Sequence[CellSeen],
        alive: Sequence[CellSeen],
        blocks: int,
        why: str,
        tied: bool = False,
    ) -> Stop:
        if not tied:
            best = finalists_of(alive, blocks, self._rules.finalists)
            return stop_with(seen, alive, blocks, why, best)
        # Of cells that are as good as each other the mildest go on: the confirmation then chooses among those.
        mild = sorted(alive, key=lambda one: (one.cell.strength, one.cell.checkpoint, one.cell))
        kept = tuple(one.cell for one in mild[: self._rules.finalists])
        return stop_with(seen, alive, blocks, why, kept, tied=True)


def _best_checkpoints(order: Sequence[CellSeen], base: str) -> Iterator[CellSeen]:
    """The best cell of each of the base's best checkpoints."""
    seen: set[int] = set()
    for one in order:
        if one.cell.base == base and one.cell.checkpoint not in seen:
            seen.add(one.cell.checkpoint)
            yield one
            if len(seen) == CHECKPOINTS_KEPT:
                return


__all__ = ["CHECKPOINTS_KEPT", "TIE_BLOCKS", "Halving"]
