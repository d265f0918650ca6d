"""Faces with a planted truth: the embedding worlds of the reference "measuring", section 9, with prompts.

Notation
    D         dimensions                                                    int
    mu        the persona's direction                                       float64 (D,)
    shift     how far the LoRA's persona lies from mu                       0 = perfect
    prompt_sd how much a prompt moves every face that is rendered from it   0 = prompts do not matter
Genuine pictures, impostors and renders share six nuisance directions with heavy tails; impostors
share 0.35 of the persona (free look-alikes of the same kind).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vultus.scoring.records import RenderRow
from vultus.scoring.yardstick import Yardstick

D = 96
PACK = "sha256:" + "7" * 64
Rows = NDArray[np.float64]


def unit(rows: Rows) -> Rows:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


@dataclass
class World:
    """One persona, one LoRA, and draws of pictures from them."""

    seed: int
    shift: float = 0.5
    prompt_sd: float = 0.4
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        fixed = np.random.default_rng(self.seed)
        self.mu = unit(fixed.normal(size=D))
        self.nuisance = unit(fixed.normal(size=(6, D)))
        self.lora = unit(self.mu + self.shift * unit(fixed.normal(size=D)))
        self.rng = np.random.default_rng(self.seed + 10_000)

    def prompts(self, count: int) -> Rows:
        size = np.abs(self.rng.normal(size=(count, 1))) * self.prompt_sd
        return np.asarray(size * unit(self.rng.normal(size=(count, D))))

    def genuine(self, count: int) -> Rows:
        return unit(self.mu + self._noise(count))

    def impostors(self, prompts: Rows, each: int) -> Rows:
        moved = np.repeat(prompts, each, axis=0)
        own = unit(self.rng.normal(size=moved.shape))
        return unit(0.35 * self.mu + own + 0.5 * moved + 0.6 * self._noise(len(moved)))

    def renders(self, prompts: Rows, each: int) -> Rows:
        moved = np.repeat(prompts, each, axis=0)
        return unit(self.lora + moved + self._noise(len(moved)))

    def _noise(self, count: int) -> Rows:
        loads = self.rng.standard_t(5, size=(count, 6)) * (0.45 * 1.6 / np.sqrt(6))
        return np.asarray(loads @ self.nuisance + self.rng.normal(size=(count, D)) * 0.64 / D**0.5)

    def truth(self) -> float:
        """m10 with endless references, impostors and prompts."""
        fresh = World(self.seed, self.shift, self.prompt_sd)
        fresh.rng = np.random.default_rng(99)
        prompts, genuine = fresh.prompts(2000), fresh.genuine(3000)
        c = unit(genuine.sum(axis=0))
        g, i = (genuine @ c).mean(), (fresh.impostors(prompts, 1) @ c).mean()
        return float(10 * ((fresh.renders(prompts, 1) @ c).mean() - i) / (g - i))

    def yardstick(self, prompts: Rows, references: int = 24, each: int = 4) -> Yardstick:
        names = [f"p{i}" for i in range(len(prompts)) for _ in range(each)]
        return Yardstick.freeze(
            self.genuine(references), self.impostors(prompts, each), names, PACK, persona="ada"
        )


def rows_of(faces: Rows, each: int, *, group: str = "", first: int = 0) -> list[RenderRow]:
    """Rows of one cell: `each` renders of every prompt, in order."""
    return [
        RenderRow(f"p{first + i // each}", i % each, face.astype(np.float32), "ok", group)
        for i, face in enumerate(faces)
    ]
