"""The best finalist is chosen, or the mildest of those that are as good; rivals are told by fresh blocks."""

from __future__ import annotations

import pytest

from vultus.core.errors import ScoreError
from vultus.core.seeds import stream
from vultus.sweeps.cells import Cell
from vultus.sweeps.choose import Choice, Shown, choose

A, B, C = Cell("one", 100, 0.5), Cell("one", 200, 1.0), Cell("two", 100, 1.0)
ZERO = Cell("one", 0, 0.0)
PROMPTS = [f"p{i // 2}" for i in range(16)]


def shown(cell: Cell, screening: float, fresh: float | None = None, sd: float = 0.3) -> Shown:
    """Twelve screening and sixteen fresh blocks around these means; equal cells have equal luck."""
    noise = [float(x) for x in stream("luck", cell.base, cell.checkpoint).normal(0.0, sd, 16)]
    centre = sum(noise) / len(noise)
    level = screening if fresh is None else fresh
    return Shown(cell, (screening,) * 12, tuple(level + x - centre for x in noise))


def pick(*finalists: Shown, zone: float = 0.3) -> Choice:
    return choose(finalists, PROMPTS, zone)


def test_a_clear_winner_is_chosen_and_told_apart() -> None:
    choice = pick(shown(A, 5.0), shown(B, 8.0), shown(C, 7.0))
    assert choice.chosen == choice.best == B and choice.tied == (B,)
    assert choice.settled and choice.p_best > 0.99
    assert [rival.cell for rival in choice.rivals] == [A, C]
    behind = choice.rivals[0].behind
    assert behind.value == pytest.approx(3.0) and behind.low > 0 and behind.n_renders == 16


def test_of_the_tied_the_mildest_is_taken() -> None:
    choice = pick(shown(A, 7.8), shown(B, 8.0), shown(C, 7.9))
    assert choice.chosen == A
    assert choice.best == B
    assert choice.tied == (A, C, B), "lowest strength first, then the earliest checkpoint"


def test_no_indifference_means_the_best() -> None:
    assert pick(shown(A, 7.99), shown(B, 8.0), zone=0.0).chosen == B


def test_screening_and_fresh_blocks_choose_together_fresh_blocks_alone_compare() -> None:
    """B won the screening by luck: the fresh blocks bring it back, and only they enter the difference."""
    choice = pick(shown(A, 7.0, 7.2), shown(B, 8.5, 5.0))
    assert choice.chosen == A
    assert choice.rivals[0].behind.value == pytest.approx(2.2)


def test_equal_cells_are_not_told_apart() -> None:
    choice = pick(shown(A, 8.0, sd=1.0), shown(B, 8.0, sd=1.0), shown(C, 8.0, sd=1.0))
    assert not choice.settled
    assert choice.p_best + sum(rival.p_best for rival in choice.rivals) == pytest.approx(1.0)


def test_the_base_alone_is_never_chosen() -> None:
    assert pick(shown(ZERO, 9.0), shown(A, 1.0)).chosen == A
    with pytest.raises(ScoreError, match="no cell with a LoRA"):
        pick(shown(ZERO, 0.0))
