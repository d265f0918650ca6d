"""The best cell is chosen, or the mildest of those that are as good."""

from __future__ import annotations

import pytest

from vultus.core.errors import ScoreError
from vultus.sweeps.cells import Cell
from vultus.sweeps.choose import choose

A, B, C = Cell("one", 100, 0.5), Cell("one", 200, 1.0), Cell("two", 100, 1.0)
ZERO = Cell("one", 0, 0.0)


def test_a_clear_winner_is_chosen() -> None:
    choice = choose({A: 5.0, B: 8.0, C: 7.0}, {A: 12, B: 12, C: 12}, 0.3)
    assert choice.chosen == choice.best == B
    assert choice.tied == (B,)


def test_of_the_tied_the_mildest_is_taken() -> None:
    choice = choose({A: 7.8, B: 8.0, C: 7.9}, {A: 12, B: 12, C: 12}, 0.3)
    assert choice.chosen == A
    assert choice.best == B
    assert choice.tied == (A, C, B), "lowest strength first, then the earliest checkpoint"


def test_no_indifference_means_the_best() -> None:
    assert choose({A: 7.99, B: 8.0}, {A: 12, B: 12}, 0.0).chosen == B


def test_cells_that_dropped_out_cannot_win() -> None:
    assert choose({A: 9.9, B: 8.0}, {A: 4, B: 12}, 0.3).chosen == B


def test_the_base_alone_is_never_chosen() -> None:
    assert choose({ZERO: 9.0, A: 1.0}, {ZERO: 12, A: 12}, 0.3).chosen == A
    with pytest.raises(ScoreError, match="no cell with a LoRA"):
        choose({ZERO: 0.0}, {ZERO: 12}, 0.3)
