"""Everything one report page shows, as plain records: the page adds no facts of its own.

A report is written from a `RunReport` and from nothing else, so that it can be rebuilt and
tested without a run. Empty parts are left out of the page; what was not measured is said.

Notation
    path        a picture on disk, any format the safe loader takes; it is shrunk and embedded
    strength    LoRA strength                     float, 0 = base model alone
    checkpoint  optimizer step of a weight file   int
    cosine      similarity to the references      float in [-1, 1]
    seconds     wall-clock time                   float
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vultus.scoring.ceiling import CeilingRow
from vultus.stats.estimate import Estimate
from vultus.studies.outcome import Tick

__all__ = [
    "Answer",
    "CellView",
    "ChosenView",
    "ContactRow",
    "ContactSheet",
    "Curve",
    "DroppedPicture",
    "Fact",
    "GroupView",
    "GuardView",
    "PictureView",
    "RunReport",
    "SecondView",
    "Timing",
    "VerdictWords",
    "YardstickView",
]

Answer = Literal["yes", "no", "undecided"]


@dataclass(frozen=True)
class VerdictWords:
    """The outcome in words: an answer, one headline, and a few sentences below it."""

    answer: Answer
    headline: str
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fact:
    """One labelled line of small print, such as the face pack or the package version."""

    label: str
    value: str


@dataclass(frozen=True)
class PictureView:
    """One picture on the page with what is known about it.

    `points` is its place on the m10 scale, `state` a face state (`ok` when one was found);
    `generated` marks a render, which the page and the embedded thumbnail declare.
    """

    path: Path
    name: str = ""
    note: str = ""
    cosine: float | None = None
    points: float | None = None
    state: str = "ok"
    generated: bool = False


@dataclass(frozen=True)
class DroppedPicture:
    """A picture that was not trained on: why, in words, and which picture it repeats, if any."""

    picture: PictureView
    reason: str
    words: str = ""
    partner: PictureView | None = None


@dataclass(frozen=True)
class CellView:
    """One square of the heat map."""

    base: str
    checkpoint: int
    strength: float
    m10: Estimate
    misses: int
    n_renders: int
    chosen: bool = False
    tied: bool = False
    label: str = ""
    """what the checkpoint is called where it is no step: an average"""

    @property
    def step(self) -> str:
        """The checkpoint in a word."""
        return self.label or str(self.checkpoint)


@dataclass(frozen=True)
class GroupView:
    """The score of one part of the panel, such as the close-ups."""

    name: str
    m10: Estimate
    misses: int
    n_renders: int


@dataclass(frozen=True)
class ChosenView:
    """The chosen cell as measured on fresh prompts and seeds that chose nothing.

    `screening` is its number in the sweep, shown beside the fresh one because a winner's own
    number is biased upward.
    """

    base: str
    checkpoint: int
    strength: float
    m10: Estimate
    yield_share: Estimate
    misses: int
    n_renders: int
    cosine_mean: float
    llr10_mean: float | None = None
    screening: Estimate | None = None
    groups: tuple[GroupView, ...] = ()
    gate_answer: str = ""
    gate_bar: float | None = None
    gate_reasons: tuple[str, ...] = ()
    file_name: str = ""
    trigger: str = ""


@dataclass(frozen=True)
class Curve:
    """One line of the learning curve: `points` are (optimizer step, loss)."""

    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class ContactRow:
    """One prompt and seed across the columns of a contact sheet."""

    label: str
    pictures: tuple[PictureView | None, ...]


@dataclass(frozen=True)
class ContactSheet:
    """Renders side by side: the same prompt and starting noise along a row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[ContactRow, ...]
    note: str = ""
    chosen_column: int | None = None


@dataclass(frozen=True)
class YardstickView:
    """The two anchors of the scale and the health of the yardstick between them.

    `renders` are the cosines of the scored pictures, drawn over both anchors. `refused` says
    why no m10 is given, and is empty when the yardstick is sound.
    """

    label: str
    references: tuple[float, ...]
    impostors: tuple[float, ...]
    renders: tuple[float, ...] = ()
    cllr: float | None = None
    cllr_min: float | None = None
    digest: str = ""
    pack: str = ""
    renders_are: str = "renders"
    impostors_are: str = "strangers, drawn by the base alone"
    refused: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class GuardView:
    """One guard-rail: kept, broken, or (None) open; not `measured` says that nobody could look.

    `counted` is False for one that is told only and holds nothing back.
    """

    name: str
    kept: bool | None
    words: str
    measured: bool = True
    counted: bool = True
    gap: Estimate | None = None
    margin: float | None = None


@dataclass(frozen=True)
class SecondView:
    """The same renders under a second judge. `m10` is None when it cannot say, and `words` say why."""

    pack: str
    first: Estimate
    m10: Estimate | None
    words: str
    spearman: float | None = None
    same_best: bool = True


@dataclass(frozen=True)
class Timing:
    """How long one stage took; `made` says what came out of it."""

    stage: str
    seconds: float
    made: str = ""


@dataclass(frozen=True)
class RunReport:
    """One run, one sweep or one scored folder, ready to be told."""

    title: str
    subtitle: str
    verdict: VerdictWords
    created: str = ""
    chosen: ChosenView | None = None
    cells: tuple[CellView, ...] = ()
    yardsticks: tuple[YardstickView, ...] = ()
    sheets: tuple[ContactSheet, ...] = ()
    losses: tuple[Curve, ...] = ()
    references: tuple[PictureView, ...] = ()
    pictures: tuple[PictureView, ...] = ()
    trained: tuple[PictureView, ...] = ()
    n_pictures: int = 0
    dropped: tuple[DroppedPicture, ...] = ()
    timings: tuple[Timing, ...] = ()
    facts: tuple[Fact, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    ceiling: tuple[CeilingRow, ...] = ()
    guards: tuple[GuardView, ...] = ()
    second: SecondView | None = None
    ticks: tuple[Tick, ...] = ()
