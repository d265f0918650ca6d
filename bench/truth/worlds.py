"""Faces with a planted truth: the embedding worlds of the reference "measuring", section 9, with prompts and arms.

Notation
    D          dimensions                                                                512
    mu         the persona's direction                                                   float64 (D,)
    shift      how far a LoRA's persona lies from mu                                     0 = perfect
    nuisance   six unit directions with Student-t(5) loads of 0.45 * 1.6 / sqrt(6)       (6, D)
    grain      isotropic noise, 0.64 / sqrt(D) per axis
    prompt     how much a prompt moves every face rendered from it                       sd 0.4
    turn       what looking aside adds to every face, persona or stranger                0.6, or none
Genuine pictures, impostors and renders share the nuisance directions; impostors share 0.35 of the persona (free
look-alikes of the same kind). Two arms of one block share prompt and most of the noise, as equal starting noise makes
them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vultus.core.seeds import stream
from vultus.scoring.records import RenderRow
from vultus.scoring.yardstick import Yardstick

__all__ = ["POSES", "World", "unit"]

D = 512
PACK = "sha256:" + "7" * 64
LOAD = 0.45 * 1.6 / np.sqrt(6)
SHARED = 0.7
POSES = ("ahead", "left", "right")
POSE_CHANCE = (0.5, 0.25, 0.25)
Rows = NDArray[np.float64]
Names = NDArray[np.str_]


def unit(rows: Rows) -> Rows:
    """Rows of length 1."""
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


@dataclass
class World:
    """One persona; every draw after its fixed directions comes from `rng`."""

    persona: int
    turned: bool
    rng: np.random.Generator

    def __post_init__(self) -> None:
        fixed = stream("truth world", self.persona)
        self.mu = unit(fixed.normal(size=D))
        self.nuisance = unit(fixed.normal(size=(6, D)))
        self.aside = np.vstack([np.zeros(D), 0.6 * unit(fixed.normal(size=(2, D)))])
        self.away = unit(fixed.normal(size=D))

    def lora(self, shift: float) -> Rows:
        """What a LoRA of this quality has learnt of the persona."""
        return unit(self.mu + shift * self.away)

    def prompts(self, count: int) -> Rows:
        """What each prompt does to a face."""
        size = np.abs(self.rng.normal(size=(count, 1))) * 0.4
        return np.asarray(size * unit(self.rng.normal(size=(count, D))))

    def poses(self, count: int) -> NDArray[np.intp]:
        """Which side each face looks to."""
        if not self.turned:
            return np.zeros(count, dtype=np.intp)
        return self.rng.choice(3, size=count, p=POSE_CHANCE)

    def noise(self, count: int) -> Rows:
        """Nuisance and grain."""
        loads = self.rng.standard_t(5, size=(count, 6)) * LOAD
        return np.asarray(
            loads @ self.nuisance + self.rng.normal(size=(count, D)) * (0.64 / D**0.5)
        )

    def genuine(self, poses: NDArray[np.intp]) -> Rows:
        """Pictures of the persona."""
        return unit(self.mu + self.aside[poses] + self.noise(len(poses)))

    def impostors(self, moved: Rows, poses: NDArray[np.intp]) -> Rows:
        """Strangers of the same kind, one per row of `moved`."""
        own = unit(self.rng.normal(size=moved.shape))
        mixed = 0.35 * self.mu + own + 0.5 * moved + self.aside[poses]
        return unit(mixed + 0.6 * self.noise(len(moved)))

    def arms(self, shifts: tuple[float, ...], moved: Rows, poses: NDArray[np.intp]) -> list[Rows]:
        """Renders of several LoRAs over the same blocks."""
        common = self.noise(len(moved))
        return [
            unit(
                self.lora(shift)
                + moved
                + self.aside[poses]
                + SHARED**0.5 * common
                + (1.0 - SHARED) ** 0.5 * self.noise(len(moved))
            )
            for shift in shifts
        ]

    def yardstick(self, prompts: Rows, references: int, each: int) -> Yardstick:
        """A yardstick from fresh references and from impostors of these prompts."""
        own, others = self.poses(references), self.poses(len(prompts) * each)
        moved = np.repeat(prompts, each, axis=0)
        return Yardstick(
            self.genuine(own).astype(np.float32),
            self.impostors(moved, others).astype(np.float32),
            tuple(f"p{i // each}" for i in range(len(moved))),
            PACK,
            reference_poses=self._names(own),
            impostor_poses=self._names(others),
        )

    def rows(self, faces: Rows, poses: NDArray[np.intp], each: int) -> list[RenderRow]:
        """Rows of one cell: `each` renders of every prompt, in order."""
        names = self._names(poses) or ("",) * len(faces)
        return [
            RenderRow(f"p{i // each}", i % each, face.astype(np.float32), "ok", pose=names[i])
            for i, face in enumerate(faces)
        ]

    def truths(self, shifts: tuple[float, ...], count: int) -> dict[float, float]:
        """m10 of each LoRA with endless references, impostors and prompts."""
        prompts, poses = self.prompts(count), self.poses(count)
        genuine = self.genuine(own := self.poses(2 * count))
        every = unit(genuine.sum(axis=0))
        centres = np.stack(
            [unit(genuine[own == p].sum(axis=0)) if (own == p).any() else every for p in range(3)]
        )
        ten = float((genuine * centres[own]).sum(axis=1).mean())
        zero = float((self.impostors(prompts, poses) * centres[poses]).sum(axis=1).mean())
        arms = self.arms(shifts, prompts, poses)
        return {
            shift: 10.0 * (float((arm * centres[poses]).sum(axis=1).mean()) - zero) / (ten - zero)
            for shift, arm in zip(shifts, arms, strict=True)
        }

    def _names(self, poses: NDArray[np.intp]) -> tuple[str, ...]:
        return tuple(POSES[p] for p in poses) if self.turned else ()
