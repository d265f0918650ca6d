"""Allocators pass the public exam, and the exam catches those that cheat."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import pytest

from vultus.core.errors import MissingExtraError, ScoreError, UnknownNameError
from vultus.core.seeds import stream
from vultus.sweeps.allocate import ALLOCATORS, Batch, Budget, CellSeen, Grid, Rules, Stop
from vultus.sweeps.cells import Cell
from vultus.sweeps.halving import Halving
from vultus.sweeps.racing import Racing
from vultus.testing.allocators import BLOCKS, check_allocator, planted_table, play, replay


def test_every_registered_allocator_passes_the_exam() -> None:
    names = ALLOCATORS.names()
    assert names == ("grid", "halving", "optuna-tpe", "racing")
    for name in names:
        if name != "optuna-tpe":  # an extra: `make bench-allocation` sits it through the exam
            check_allocator(ALLOCATORS.get(name))


def test_the_optuna_baseline_passes_where_it_is_installed_and_says_what_it_needs() -> None:
    if importlib.util.find_spec("optuna") is None:
        with pytest.raises(MissingExtraError, match="optuna") as told:
            ALLOCATORS.get("optuna-tpe")()
        assert "VULTUS_EXTRAS=optuna" in told.value.next_command
    else:
        check_allocator(ALLOCATORS.get("optuna-tpe"), worlds=2)


def test_an_unknown_allocator_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="halving"):
        ALLOCATORS.get("halfing")


def test_grid_renders_everything_in_one_round() -> None:
    table, _ = planted_table(0)
    seen = replay(Grid, table)
    assert all(len(points) == BLOCKS for points in seen.values())


def test_halving_spends_less_than_half_of_the_grid() -> None:
    for number in range(5):
        table, _ = planted_table(number)
        spent = sum(len(points) for points in replay(Halving, table).values())
        assert spent < 0.5 * BLOCKS * len(table)


def test_halving_gives_survivors_common_blocks() -> None:
    table, _ = planted_table(3)
    lengths = sorted({len(points) for points in replay(Halving, table).values()})
    assert len(lengths) >= 3
    for points in replay(Halving, table).values():
        assert sorted(points) == list(range(len(points))), (
            "blocks are dealt in the order of the panel"
        )


def test_no_base_falls_before_it_had_six_blocks() -> None:
    """Far behind from the first block on, a base keeps two checkpoints until its cells have six blocks."""
    table, best = planted_table(1)
    worse = {
        cell: [p - (5.0 if cell.base != best.base else 0.0) for p in points]
        for cell, points in table.items()
    }
    seen = replay(Halving, worse)
    other = {cell: len(points) for cell, points in seen.items() if cell.base != best.base}
    assert len({cell.checkpoint for cell, blocks in other.items() if blocks >= 6}) == 2

    def bold() -> Halving:
        return Halving(Rules(protect_blocks=0))

    dropped = {c: len(p) for c, p in replay(bold, worse).items() if c.base != best.base}
    assert max(dropped.values()) < 6, "without the protection it falls at once"


def test_equal_cells_are_called_tied_and_the_mildest_go_on() -> None:
    """All cells equal to a hair: no budget is spent on what cannot matter."""
    rng = stream("equal cells")
    cells = list(planted_table(0)[0])
    table = {c: [float(x) for x in 5.0 + rng.normal(0.0, 0.02, BLOCKS)] for c in cells}
    spent = {}
    for name, make in (("halving", Halving), ("racing", Racing)):
        seen, stop = play(make, table, Budget(BLOCKS, 180))
        assert stop.tied and "cannot differ enough" in stop.reason
        spent[name] = sum(len(points) for points in seen.values())
        if name == "halving":
            alive = [c for c, points in seen.items() if len(points) == max(map(len, seen.values()))]
            assert (
                stop.finalists
                == tuple(sorted(alive, key=lambda c: (c.strength, c.checkpoint, c)))[:3]
            )
    assert spent["racing"] == 6 * len(cells)
    assert spent["halving"] < 180


def test_a_race_keeps_what_is_as_good_as_the_leader_and_drops_the_rest() -> None:
    table, best = planted_table(2)
    rng = stream("twin")
    twin = next(cell for cell in table if cell != best)
    table[twin] = [
        p + float(x) for p, x in zip(table[best], rng.normal(0.0, 0.3, BLOCKS), strict=True)
    ]

    def two() -> Racing:
        return Racing(Rules(finalists=2))

    seen, stop = play(two, table, Budget(BLOCKS))
    assert set(stop.finalists) == {best, twin}
    blocks = sorted(len(points) for points in seen.values())
    assert blocks[0] == 6 and "proven worse" in stop.reason


def test_a_budget_is_kept_and_one_that_shows_nothing_is_refused() -> None:
    table, _ = planted_table(0)
    for renders in (12, 20, 40, 100):
        seen, stop = play(Halving, table, Budget(BLOCKS, renders))
        assert sum(len(points) for points in seen.values()) <= renders
        assert 1 <= len(stop.finalists) <= 3
    with pytest.raises(ScoreError, match="cannot show each of 12 cells"):
        play(Halving, table, Budget(BLOCKS, 11))
    grid, stop = play(Grid, table, Budget(BLOCKS, 50))
    assert {len(points) for points in grid.values()} == {4}
    assert stop.reason == "every cell has rendered 4 blocks"


def test_a_single_cell_needs_no_rounds() -> None:
    only = {Cell("one", 100, 1.0): [5.0] * BLOCKS}
    for make in (Grid, Halving, Racing):
        seen, stop = play(make, only, Budget(BLOCKS))
        assert stop.finalists == tuple(only)
        assert 1 <= len(seen[stop.finalists[0]]) <= BLOCKS


class _Stateful:
    def __init__(self) -> None:
        self._asked = 0

    def ask(self, seen: Sequence[CellSeen], budget: Budget) -> Sequence[Batch] | Stop:
        self._asked += 1
        return Grid().ask(seen, budget) if self._asked < 2 else Stop(f"asked {self._asked} times")


class _Greedy:
    def ask(self, seen: Sequence[CellSeen], budget: Budget) -> Sequence[Batch] | Stop:
        return [Batch(one.cell, (0,)) for one in seen]


class _Lazy:
    def ask(self, seen: Sequence[CellSeen], budget: Budget) -> Sequence[Batch] | Stop:
        return Stop("nothing to do")


class _Blind:
    """Renders half of the cells, whichever they are."""

    def ask(self, seen: Sequence[CellSeen], budget: Budget) -> Sequence[Batch] | Stop:
        return Grid().ask(seen[: len(seen) // 2], budget)


@pytest.mark.parametrize("cheat", [_Stateful, _Greedy, _Lazy, _Blind])
def test_the_exam_catches_cheats(cheat: type[Grid]) -> None:
    with pytest.raises(AssertionError):
        check_allocator(cheat)
