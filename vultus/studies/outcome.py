"""What a run found: everything a report tells, and the keys of the steps it rests on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vultus.datasets.persona import Persona
from vultus.datasets.records import Dataset
from vultus.scoring.ceiling import CeilingRow
from vultus.scoring.records import CellScore, GateVerdict, Guard
from vultus.scoring.second import SecondOpinion
from vultus.scoring.yardstick import Yardstick
from vultus.stats.estimate import Estimate
from vultus.store.census import Place
from vultus.studies.bases import Base
from vultus.studies.plan import RunSpec
from vultus.studies.requests import Checkpoint
from vultus.sweeps.cells import Block, Cell
from vultus.sweeps.choose import Choice


@dataclass(frozen=True, eq=False)
class Scale:
    """The yardstick of one base, or why there is none."""

    base: str
    yardstick: Yardstick
    refused: tuple[str, ...]
    key: str


@dataclass(frozen=True, eq=False)
class CellOutcome:
    """One cell: its score, and its renders by block."""

    cell: Cell
    score: CellScore
    renders: Mapping[Block, Path]
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Tick:
    """What one checkpoint showed while the training went on: m10 of a few blocks, and what changed since the best one.

    `gain` (m10) and `copying` (cosine) are paired by block with the best checkpoint before; None at the first.
    """

    step: int
    m10: Estimate
    gain: Estimate | None
    copying: Estimate | None

    @property
    def words(self) -> str:
        """The reading in one line."""
        told = f"step {self.step}: m10 {self.m10.words(1)}"
        if self.gain is None or self.copying is None:
            return told
        return f"{told}, gain {self.gain.words(1)}, copying {self.copying.words(3)}"


@dataclass(frozen=True)
class Stage:
    """How long one kind of work took when it was done, however long ago."""

    kind: str
    seconds: float
    steps: int


@dataclass(frozen=True, eq=False)
class Outcome:
    """One whole run."""

    persona: Persona
    plan: RunSpec
    bases: Mapping[str, Base]
    pack_name: str
    pack_digest: str
    pack_licence: str
    dataset: Dataset
    dataset_folder: Path
    pictures_listed: int
    checkpoints: tuple[Checkpoint, ...]
    losses: tuple[tuple[int, float], ...]
    training_notes: tuple[str, ...]
    scales: tuple[Scale, ...]
    fresh_scale: Scale
    cells: tuple[CellOutcome, ...]
    choice: Choice
    fresh: CellOutcome
    fresh_alone: CellOutcome
    gate: GateVerdict
    stages: tuple[Stage, ...]
    swept_rounds: int
    swept_stop: str
    row_renders: int = 0
    """renders made after the choice so that the chosen checkpoint shows every strength"""
    guards: tuple[Guard, ...] = ()
    second: SecondOpinion | None = None
    finalists: tuple[CellOutcome, ...] = ()
    ceiling: tuple[CeilingRow, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    places: tuple[Place, ...] = ()
    """the environments in which the steps were done; more than one is said in the verdict"""
    keys: tuple[str, ...] = ()
    ticks: tuple[Tick, ...] = ()
    """what each checkpoint showed while the training went on, where [clock] asked for it"""

    def cell(self, cell: Cell) -> CellOutcome:
        """The outcome of one cell."""
        for one in self.cells:
            if one.cell == cell:
                return one
        raise KeyError(cell)

    @property
    def chosen_checkpoint(self) -> Checkpoint:
        """The weight file of the chosen cell."""
        return next(one for one in self.checkpoints if one.step == self.choice.chosen.checkpoint)


def read_ceiling(path: Path) -> tuple[CeilingRow, ...]:
    """Read back what kind `ceiling` wrote."""
    table = json.loads(path.read_text(encoding="utf-8"))
    return tuple(CeilingRow.from_json(row) for row in table)


__all__ = ["CellOutcome", "Outcome", "Scale", "Stage", "Tick", "read_ceiling"]
