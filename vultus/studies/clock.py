"""Likeness as the clock of a training: render and score every checkpoint, go on while something is gained.

    part of the training -> renders of a few blocks -> faces -> score -> go on, or stop

Each arrow is a step in the ledger: the training is asked for part by part, each part going on from the exact state of
the one before, so that the weights are those of an undisturbed training. A checkpoint counts as a gain when its paired
difference in m10 to the best one so far lies above zero with its whole interval. The training ends after `patience`
checkpoints without a gain, or at once when copying rises and likeness does not.

Notation
    points    m10 of each render                        float64 (n,), blocks in the order of the panel
    copy      largest cosine to a training picture minus largest to a held-out one, of each render: near-copies of
              photographs pull it up, the person does not                     float64 (n,), unit: cosine
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vultus.datasets.manifest import read_embeddings
from vultus.datasets.records import Dataset
from vultus.stats.compare import paired_difference
from vultus.stats.estimate import Estimate
from vultus.steps.kinds.measure import read_faces
from vultus.steps.orders import Done, Task
from vultus.studies import requests
from vultus.studies.looking import Look, Run, look, one, points_of, scores_of
from vultus.studies.outcome import Scale, Tick
from vultus.studies.plan import ClockSpec
from vultus.studies.requests import Checkpoint, Faces
from vultus.sweeps.cells import Block

__all__ = ["Clock", "Clocked", "Reading", "train_by_clock"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reading:
    """What one checkpoint showed."""

    step: int
    m10: Estimate
    points: Floats
    copy: Floats


@dataclass
class Clock:
    """Decides from the readings alone whether to go on; the same readings always decide the same."""

    spec: ClockSpec
    prompts: Sequence[str]
    best: Reading | None = None
    idle: int = 0
    ticks: list[Tick] = field(default_factory=list)
    stopped: str = ""

    def hear(self, seen: Reading) -> bool:
        """Take in one checkpoint; False when the training should end here."""
        best = self.best
        if best is None:
            self.best = seen
            self.ticks.append(Tick(seen.step, seen.m10, None, None))
            return True
        gain = self._over(seen.points, best.points, "m10")
        copying = self._over(seen.copy, best.copy, "cosine")
        self.ticks.append(Tick(seen.step, seen.m10, gain, copying))
        if gain.low > 0:
            self.best, self.idle = seen, 0
            return True
        self.idle += 1
        if copying.low > 0:
            self.stopped = (
                f"stopped after step {seen.step}: renders come nearer to training pictures"
                f" ({copying.value:+.3f} cosine) and likeness does not rise"
            )
        elif self.idle >= self.spec.patience:
            self.stopped = (
                f"stopped after step {seen.step}: {self.idle} checkpoint"
                f"{'' if self.idle == 1 else 's'} in a row gained nothing beyond noise over step {best.step}"
            )
        return not self.stopped

    def _over(self, a: Floats, b: Floats, unit: str) -> Estimate:
        return paired_difference(a, b, self.prompts, unit, confidence=self.spec.confidence)


@dataclass(frozen=True, eq=False)
class Clocked:
    """A training that was followed: its parts, what each checkpoint showed, why it ended early ("" = it did not)."""

    parts: tuple[Done, ...]
    ticks: tuple[Tick, ...]
    stopped: str


def train_by_clock(
    at: Run, dataset: Dataset, frozen: Done, scale: tuple[Scale, Done], alone: Look
) -> Clocked:
    """Train part by part; after each, render and score a slice of the panel, and stop where nothing is gained."""
    given = at.given
    # any prefix of the panel is balanced over framings and prompts
    blocks = given.panel[: given.plan.clock.blocks]
    eyes = _Eyes(dataset, frozen, alone, len(blocks))
    clock = Clock(given.plan.clock, [block.template for block in blocks])
    parts: list[Done] = []
    before = 0
    steps = given.plan.train.checkpoint_steps
    for step in steps:
        after = parts[-1] if parts else None
        order = requests.train_order(given, dataset, frozen, (before, step), after)
        parts.append(at.pool.run([Task(one(at, order), place="training")])[0])
        before = step
        checkpoint = requests.checkpoints_of(parts[-1])[-1]
        seen = _read(at, scale, checkpoint, blocks, eyes)
        goes_on = clock.hear(seen)
        at.tell(clock.ticks[-1].words)
        if not goes_on:
            break
    stopped = clock.stopped if before < steps[-1] else ""
    if stopped:
        at.tell(stopped)
    return Clocked(tuple(parts), tuple(clock.ticks), stopped)


def _read(
    at: Run,
    scale: tuple[Scale, Done],
    checkpoint: Checkpoint,
    blocks: Sequence[Block],
    eyes: _Eyes,
) -> Reading:
    given = at.given
    task = look(
        at,
        given.training_base,
        checkpoint,
        given.plan.clock.strength,
        blocks,
        given.persona.with_trigger,
    )
    shown: Look = at.pool.run([task])[0]
    used = requests.recognisers_used([checkpoint])
    order = requests.score_order(given, scale[1], [[Faces(shown.faces, tuple(blocks))]], used)
    done = at.pool.run([Task(one(at, requests.share_cost(order, 0.0)))])[0]
    points = np.asarray(points_of(scale[0], shown.faces), dtype=np.float64)
    return Reading(checkpoint.step, scores_of(done)[0].m10, points, eyes.copying(shown.faces))


class _Eyes:
    """Looks whether renders come nearer to the pictures that were trained on than to those that were not."""

    def __init__(self, dataset: Dataset, frozen: Done, alone: Look, count: int) -> None:
        folder = frozen.files["dataset"]
        self._trained = read_embeddings(folder, dataset, "training")
        self._held = read_embeddings(folder, dataset, "reference")
        self._usual = np.asarray(self._values(alone.faces)[:count])
        # a render without a face copies nothing: it counts as the base alone, or as nothing at all
        self._usual = np.where(np.isnan(self._usual), 0.0, self._usual)

    def copying(self, faces: Done) -> Floats:
        """(n,): per render, against the base alone on the same block."""
        found = np.asarray(self._values(faces))
        return np.asarray(np.where(np.isnan(found), self._usual, found) - self._usual)

    def _values(self, faces: Done) -> list[float]:
        files = (faces.files[name] for name in ("emb.npy", "states.json", "faces.json"))
        return [
            float("nan")
            if emb is None
            else float((self._trained @ emb).max() - (self._held @ emb).max())
            for emb, _, _ in read_faces(*files)
        ]
