"""The exam of allocators: whoever writes one calls `check_allocator` in a test.

    def test_mine() -> None:
        check_allocator(MyAllocator)

The world is a score table with a known best cell; an allocator sees points and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vultus.core.seeds import stream
from vultus.sweeps.allocate import Allocator, Batch, Budget, CellSeen, Stop
from vultus.sweeps.cells import Cell, list_cells

BLOCKS = 16
MOST_ROUNDS = 200


def check_allocator(make: Callable[[], Allocator], worlds: int = 5) -> None:
    """Assert every promise of `sweeps.allocate.Allocator` on small worlds whose best cell is planted."""
    found = 0
    for number in range(worlds):
        table, best = planted_table(number)
        seen, stop = play(make, table, Budget(BLOCKS))
        assert stop.finalists, "a stop names the finalists"
        assert len(set(stop.finalists)) == len(stop.finalists), "a finalist is named twice"
        lengths = {len(seen[cell]) for cell in stop.finalists}
        assert len(lengths) == 1, (
            f"the finalists have rendered {sorted(lengths)} blocks, not the same"
        )
        assert lengths != {0}, "a finalist has rendered nothing"
        found += best in stop.finalists
        # A tight budget: one block and a half per cell. It may be refused, never exceeded.
        tight = Budget(BLOCKS, len(table) * 3 // 2)
        points, _ = play(make, table, tight)
        spent = sum(len(known) for known in points.values())
        assert spent <= max(len(table) * 3 // 2, BLOCKS), f"{spent} renders of {tight.renders}"
    assert found == worlds, f"the planted best cell survived in {found} of {worlds} worlds"


def planted_table(number: int) -> tuple[dict[Cell, list[float]], Cell]:
    """Points of 12 cells on every block, and the cell that is best by a margin no noise can hide."""
    cells = list_cells(("one", "two"), (100, 200), (0.5, 1.0, 1.5))
    rng = stream("planted table", number)
    best = cells[int(rng.integers(len(cells)))]
    noise = rng.normal(0.0, 0.3, (len(cells), BLOCKS))
    shared = rng.normal(0.0, 1.5, BLOCKS)  # a block is easy or hard for all cells alike
    table = {
        cell: [float(4.0 + 2.0 * (cell == best) + shared[b] + noise[i, b]) for b in range(BLOCKS)]
        for i, cell in enumerate(cells)
    }
    return table, best


def replay(
    make: Callable[[], Allocator], table: Mapping[Cell, list[float]]
) -> dict[Cell, dict[int, float]]:
    """The points that an allocator asked for until it stopped; see `play`."""
    return play(make, table, Budget(BLOCKS))[0]


def play(
    make: Callable[[], Allocator], table: Mapping[Cell, list[float]], budget: Budget
) -> tuple[dict[Cell, dict[int, float]], Stop]:
    """Play an allocator to its stop, asserting on the way that it is pure and never asks twice.

    A fresh allocator answers every round: one that keeps state between rounds gives other answers than the one
    that was asked all along.
    """
    points: dict[Cell, dict[int, float]] = {cell: {} for cell in table}
    lasting = make()
    for _ in range(MOST_ROUNDS):
        seen = [CellSeen(cell, dict(known)) for cell, known in points.items()]
        answer = lasting.ask(seen, budget)
        assert make().ask(seen, budget) == answer, (
            "a fresh allocator answers otherwise: it keeps a state"
        )
        if isinstance(answer, Stop):
            assert answer.reason, "a stop says why"
            return points, answer
        assert answer, "an empty list of batches is neither work nor a stop"
        _play(answer, table, points)
    raise AssertionError(f"still asking after {MOST_ROUNDS} rounds")


def _play(
    batches: object, table: Mapping[Cell, list[float]], points: dict[Cell, dict[int, float]]
) -> None:
    assert isinstance(batches, list | tuple)
    for batch in batches:
        assert isinstance(batch, Batch)
        assert batch.cell in table, f"{batch.cell} is not one of the cells"
        assert batch.blocks, "a batch without blocks"
        for block in batch.blocks:
            assert 0 <= block < BLOCKS, f"block {block} is beyond the budget"
            assert block not in points[batch.cell], f"block {block} was asked for twice"
            points[batch.cell][block] = table[batch.cell][block]


__all__ = ["BLOCKS", "check_allocator", "planted_table", "play", "replay"]
