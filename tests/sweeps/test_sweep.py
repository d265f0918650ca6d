"""A sweep plays an allocator against what was made, and keeps every part."""

from __future__ import annotations

from collections.abc import Sequence

from vultus.steps.orders import Done
from vultus.sweeps.allocate import Batch, Budget, Grid
from vultus.sweeps.cells import Cell
from vultus.sweeps.halving import Halving
from vultus.sweeps.sweep import Make, Part, run_sweep
from vultus.testing.allocators import BLOCKS, planted_table


def _maker(table: dict[Cell, list[float]], asked: list[Batch]) -> Make:
    def make(batches: Sequence[Batch]) -> list[Part]:
        asked.extend(batches)
        nothing = Done("", {}, {}, remembered=True)
        return [
            Part(b.cell, b.blocks, nothing, nothing, {i: table[b.cell][i] for i in b.blocks})
            for b in batches
        ]

    return make


def test_a_grid_is_one_round() -> None:
    table, _ = planted_table(0)
    asked: list[Batch] = []
    swept = run_sweep(list(table), Budget(BLOCKS), Grid(), _maker(table, asked))
    assert swept.rounds == 1 and swept.stopped
    assert len(asked) == len(table) == len(swept.parts)


def test_halving_ends_with_the_best_cell_among_the_finalists() -> None:
    table, best = planted_table(2)
    asked: list[Batch] = []
    swept = run_sweep(list(table), Budget(BLOCKS), Halving(), _maker(table, asked))
    assert swept.rounds >= 3
    seen = {one.cell: one for one in swept.seen(list(table))}
    assert best in swept.finalists and len(swept.finalists) == 3
    assert len(seen[best].points) == max(len(one.points) for one in seen.values())
    assert sum(len(part.blocks) for parts in swept.parts.values() for part in parts) == sum(
        len(batch.blocks) for batch in asked
    )
