"""Which finalist is taken: the best of all it has shown, or the mildest of those that are as good.

Notation
    screening  m10 per block on the panel, where the cell became a finalist    (n_s,), biased upward: it won there
    fresh      m10 per block on prompts and seeds that chose nothing           (n_f,), shared by all finalists
    pooled     mean over all n_s + n_f blocks: what chooses
    p_best     chance of leading when the fresh prompts are drawn again        sums to 1 over the finalists
Choosing by the pooled mean is right more often than by the fresh one alone, and reporting the fresh mean alone keeps
the winner's bias out (`make bench-allocation`: +0.001 cosine instead of +0.007). Cells within the indifference zone
below the best are tied: of those the lowest strength wins, then the earliest checkpoint, because what changes the base
least keeps most of what the base can do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vultus.core.errors import ScoreError
from vultus.core.seeds import stream
from vultus.stats.compare import paired_difference, standing
from vultus.stats.estimate import Estimate
from vultus.sweeps.cells import Cell


@dataclass(frozen=True)
class Shown:
    """What one finalist has shown: m10 by block, on the panel and on fresh blocks."""

    cell: Cell
    screening: tuple[float, ...]
    fresh: tuple[float, ...]

    @property
    def pooled(self) -> float:
        """Mean over all blocks; every render counts the same."""
        return float(np.mean((*self.screening, *self.fresh)))


@dataclass(frozen=True)
class Rival:
    """A finalist beside the chosen one, by fresh blocks only: its chance to be best, and how far it lies behind.

    `behind` is chosen minus rival in m10, paired by block and clustered by prompt; `told_apart` is False when the
    evidence cannot tell it from the leader.
    """

    cell: Cell
    p_best: float
    behind: Estimate
    told_apart: bool


@dataclass(frozen=True)
class Choice:
    """The chosen cell, the best by its own number, all that tied with it, and the finalists beside it."""

    chosen: Cell
    best: Cell
    tied: tuple[Cell, ...]
    rivals: tuple[Rival, ...] = ()
    p_best: float = 1.0

    @property
    def settled(self) -> bool:
        """True when fresh blocks tell the chosen cell from every other finalist."""
        return all(rival.told_apart for rival in self.rivals)


def _mildest(one: Shown) -> tuple[float, int, float, float, str]:
    """The order among ties: lowest strength, earliest checkpoint, no second pass."""
    cell = one.cell
    return cell.strength, cell.checkpoint, cell.detail, -one.pooled, cell.base


def choose(
    finalists: Sequence[Shown], prompts: Sequence[str], indifference_m10: float, seed: int = 1
) -> Choice:
    """Choose among the finalists; `prompts` names the prompt of each fresh block."""
    with_lora = [one for one in finalists if one.cell.strength > 0]
    if not with_lora:
        raise ScoreError(
            "no cell with a LoRA was scored",
            expected="at least one strength above 0",
            next_command="check [sweep] strengths in vultus.toml",
        )
    best = min(with_lora, key=lambda one: (-one.pooled, one.cell))
    tied = [one for one in with_lora if one.pooled >= best.pooled - indifference_m10]
    tied.sort(key=_mildest)
    chosen = tied[0]
    cells = tuple(one.cell for one in tied)
    if not chosen.fresh:
        return Choice(chosen.cell, best.cell, cells)
    table = np.array([one.fresh for one in with_lora]).T
    order = standing(table, list(prompts), stream("p best", seed))
    rivals = tuple(
        Rival(
            one.cell,
            order.p_best[i],
            paired_difference(np.array(chosen.fresh), np.array(one.fresh), list(prompts), "m10"),
            not order.tied[i],
        )
        for i, one in enumerate(with_lora)
        if one is not chosen
    )
    return Choice(chosen.cell, best.cell, cells, rivals, order.p_best[with_lora.index(chosen)])


__all__ = ["Choice", "Rival", "Shown", "choose"]
