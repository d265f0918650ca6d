"""Allocators pass the public exam, and the exam catches those that cheat."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from vultus.core.errors import UnknownNameError
from vultus.sweeps.allocate import ALLOCATORS, Batch, Budget, CellSeen, Grid, Halving, Stop
from vultus.testing.allocators import BLOCKS, check_allocator, planted_table, replay


def test_every_registered_allocator_passes_the_exam() -> None:
    names = ALLOCATORS.names()
    assert names == ("grid", "halving")
    for name in names:
        check_allocator(ALLOCATORS.get(name))


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
    table, best = planted_table(1)
    worse = {
        cell: [p - (5.0 if cell.base != best.base else 0.0) for p in points]
        for cell, points in table.items()
    }
    seen = replay(Halving, worse)
    other = [len(points) for cell, points in seen.items() if cell.base != best.base]
    assert max(other) >= 6


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
