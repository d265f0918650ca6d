"""Score tables to replay: drawn as the reference "measuring", section 9, specifies, or recorded.

Notation
    K, n, P       cells, blocks, prompts                       120, 48, 12 in the drawn worlds
    screen        the table that chooses                       float64 (n, K), cosine
    fresh         other seeds of the same world, to confirm    float64 (n, K), cosine
    prompts       the prompt of each block                     int (n,), shuffled passes of 0..P-1
    truth         mu + prompt effects averaged over prompts    float64 (K,)
    rho, flat, r  correlation of residuals within a base, how far the gaps are shrunk, their size
A world is drawn from the named stream ("allocation", family, setting, number): families keep the
worlds that chose a rule apart from those that judge it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vultus.core.seeds import stream
from vultus.sweeps.cells import Cell

__all__ = ["BASES", "CHECKPOINTS", "SETTINGS", "STRENGTHS", "World", "draw", "unpaired"]

Floats = NDArray[np.float64]

BASES = ("one", "three", "two")
CHECKPOINTS = tuple(range(1, 9))
STRENGTHS = (0.6, 0.7, 0.8, 0.9, 1.0)
PROMPTS = 12
BLOCKS = 48
SETTINGS = {
    "rho 0.5": (0.5, 1.0, 0.05),
    "rho 0.2": (0.2, 1.0, 0.05),
    "rho 0.8": (0.8, 1.0, 0.05),
    "flat": (0.5, 0.5, 0.05),
    "noisy": (0.5, 1.0, 0.08),
}


@dataclass(frozen=True, eq=False)
class World:
    """One persona's sweep with its answer. `cells` are the columns of both tables."""

    cells: tuple[Cell, ...]
    truth: Floats
    screen: Floats
    prompts: NDArray[np.intp]
    fresh: Floats
    fresh_prompts: NDArray[np.intp]

    @property
    def best(self) -> float:
        """The truth of the best cell."""
        return float(self.truth.max())


def draw(family: str, setting: str, number: int, *, paired: bool = True) -> World:
    """One world. Unpaired: every cell meets prompts and seeds of its own in each block."""
    rho, flat, r = SETTINGS[setting]
    rng = stream("allocation", family, setting, number)
    base, c, s = (
        axis.ravel() for axis in np.meshgrid(np.arange(3), CHECKPOINTS, STRENGTHS, indexing="ij")
    )
    offset = rng.normal(0.0, 0.03, 3)
    c_best, s_best = rng.uniform(4.0, 7.0, 3), rng.uniform(0.78, 0.98, 3)
    late = c - c_best[base]
    mu = 0.50 + flat * (
        offset[base]
        - 0.004 * late**2
        - 0.9 * (s - s_best[base] + 0.02 * late) ** 2
        + rng.normal(0.0, 0.008, len(base))
    )
    effect = (
        rng.normal(0.0, 0.07, (PROMPTS, 1))
        + rng.normal(0.0, 0.03, (PROMPTS, 3))[:, base]
        + rng.normal(0.0, 0.015, (PROMPTS, len(base)))
    )
    cells = tuple(Cell(BASES[b], int(k), float(x)) for b, k, x in zip(base, c, s, strict=True))

    def table() -> tuple[Floats, NDArray[np.intp]]:
        passes = [rng.permutation(PROMPTS) for _ in range(BLOCKS // PROMPTS)]
        prompts = np.concatenate(passes)
        shared = rng.normal(0.0, 1.0, (BLOCKS, 3))[:, base]
        own = rng.normal(0.0, 1.0, (BLOCKS, len(base)))
        residual = r * (np.sqrt(rho) * shared + np.sqrt(1.0 - rho) * own)
        if paired:
            seed = rng.normal(0.0, 0.03, (BLOCKS, 1))
            return mu + effect[prompts] + seed + residual, prompts
        seed = rng.normal(0.0, 0.03, own.shape)
        drawn = rng.integers(PROMPTS, size=own.shape)
        met = effect[drawn, np.arange(len(base))[None, :]]
        return mu + met + seed + r * own, prompts

    screen, prompts = table()
    fresh, fresh_prompts = table()
    return World(cells, mu + effect.mean(axis=0), screen, prompts, fresh, fresh_prompts)


def unpaired(family: str, setting: str, number: int) -> World:
    """The control without shared blocks."""
    return draw(family, setting, number, paired=False)
