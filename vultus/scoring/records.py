"""What is scored, and what comes out: one row per render, one score per cell.

Notation
    emb      embedding of the one chosen face   float32 (d,), unit length, one face pack
    cosine   similarity to the references       float in [-1, 1]; never called a score
    m10      the anchored human scale           0 = the base model's stranger, 10 = as close as
                                                the persona's own pictures are to each other
    llr10    log10 of the likelihood ratio      float, bounded by what the yardstick supports
A render without a face (`emb` is None) is a result: it counts as the impostor mean, 0 points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vultus.stats.estimate import Estimate

__all__ = [
    "Answer",
    "CellScore",
    "Condition",
    "Decision",
    "GateSpec",
    "GateVerdict",
    "GroupScore",
    "Guard",
    "Level",
    "RenderRow",
    "RenderScore",
]

Vector = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RenderRow:
    """One render as the judge sees it: which block it belongs to and the face found, if any."""

    prompt_id: str
    seed: int
    emb: Vector | None
    state: str = "ok"
    group: str = ""
    pose: str = ""

    @property
    def block(self) -> tuple[str, int]:
        """The (prompt, seed) pair that every cell shares."""
        return (self.prompt_id, self.seed)

    @property
    def missing(self) -> bool:
        """True when no face could be compared."""
        return self.emb is None


@dataclass(frozen=True)
class RenderScore:
    """One number about one render, kept beside the cell's mean so that it can be looked at."""

    prompt_id: str
    seed: int
    group: str
    state: str
    cosine: float | None
    points: float
    llr10: float | None
    pose: str = ""


@dataclass(frozen=True)
class GroupScore:
    """The same score over one part of the panel: a framing, such as the close-ups, or a pose."""

    name: str
    m10: Estimate
    misses: int
    n_renders: int

    def to_json(self) -> dict[str, Any]:
        """A JSON-safe dictionary."""
        return {
            "name": self.name,
            "m10": self.m10.to_json(),
            "misses": self.misses,
            "n_renders": self.n_renders,
        }

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> GroupScore:
        """The inverse of `to_json`."""
        return cls(
            name=str(table["name"]),
            m10=Estimate.from_json(table["m10"]),
            misses=int(table["misses"]),
            n_renders=int(table["n_renders"]),
        )


@dataclass(frozen=True)
class CellScore:
    """The score of one cell: m10 with its interval, and the two numbers that keep it honest.

    `groups` are framings, `poses` the ways the faces look; a render without a face has no pose.
    """

    m10: Estimate
    cosine_mean: float
    misses: int
    n_renders: int
    miss_rate: Estimate
    yield_share: Estimate
    llr10_mean: float
    groups: tuple[GroupScore, ...]
    renders: tuple[RenderScore, ...]
    flags: tuple[str, ...]
    yardstick_digest: str
    poses: tuple[GroupScore, ...] = ()
    without_reference: tuple[float, ...] = ()
    """m10 without each reference: what a difference of two cells on one yardstick needs"""

    def group(self, name: str) -> GroupScore:
        """The score of one part of the panel, by its name."""
        for group in self.groups:
            if group.name == name:
                return group
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """A JSON-safe dictionary with everything needed to rebuild the record."""
        return {
            "m10": self.m10.to_json(),
            "cosine_mean": self.cosine_mean,
            "misses": self.misses,
            "n_renders": self.n_renders,
            "miss_rate": self.miss_rate.to_json(),
            "yield_share": self.yield_share.to_json(),
            "llr10_mean": self.llr10_mean,
            "groups": [group.to_json() for group in self.groups],
            "poses": [pose.to_json() for pose in self.poses],
            "without_reference": list(self.without_reference),
            "renders": [asdict(render) for render in self.renders],
            "flags": list(self.flags),
            "yardstick_digest": self.yardstick_digest,
        }

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> CellScore:
        """The inverse of `to_json`."""
        return cls(
            m10=Estimate.from_json(table["m10"]),
            cosine_mean=float(table["cosine_mean"]),
            misses=int(table["misses"]),
            n_renders=int(table["n_renders"]),
            miss_rate=Estimate.from_json(table["miss_rate"]),
            yield_share=Estimate.from_json(table["yield_share"]),
            llr10_mean=float(table["llr10_mean"]),
            groups=tuple(GroupScore.from_json(group) for group in table["groups"]),
            poses=tuple(GroupScore.from_json(pose) for pose in table["poses"]),
            without_reference=tuple(float(v) for v in table["without_reference"]),
            renders=tuple(RenderScore(**render) for render in table["renders"]),
            flags=tuple(str(flag) for flag in table["flags"]),
            yardstick_digest=str(table["yardstick_digest"]),
        )


@dataclass(frozen=True)
class GateSpec:
    """The bar a chosen cell has to clear, measured on fresh prompts and seeds only.

    `guards` names guard-rails that must have been measured before anything is certified; an advisory one that is named
    counts like the others.
    """

    m10: float = 8.0
    worst_group_m10: float = 6.0
    miss_rate_max: float = 0.10
    confidence: float = 0.90
    guards: tuple[str, ...] = ()


@dataclass(frozen=True)
class Guard:
    """One guard-rail as the gate sees it: kept, broken, or (None) not decided by the evidence.

    `gap` is what it saw beside the base, `margin` how far that may go. An `advisory` one is told and holds nothing back
    unless the gate asks for it by name; so does one that was not `measured`.
    """

    name: str
    kept: bool | None
    words: str
    gap: Estimate | None = None
    margin: float | None = None
    measured: bool = True
    advisory: bool = False

    def to_json(self) -> dict[str, Any]:
        """A JSON-safe dictionary."""
        return {**asdict(self), "gap": None if self.gap is None else self.gap.to_json()}


Answer = Literal["certified", "provisional", "undecided", "refused"]
Level = Literal["certified", "provisional"]
Decision = Literal["pass", "fail", "undecided"]


@dataclass(frozen=True)
class Condition:
    """One thing the gate asks for: kept, broken, or (None) open."""

    name: str
    kept: bool | None
    words: str


@dataclass(frozen=True)
class GateVerdict:
    """What the gate says, and why.

    certified    the one-sided lower bound clears the bar and every other condition is kept
    provisional  the point clears the bar, its bound does not; everything else is kept
    undecided    nothing is broken, but the evidence does not reach: more fresh blocks may decide
    refused      something is broken beyond what luck explains
    `reasons` are sentences for people, those that hold the verdict back first.
    """

    answer: Answer
    reasons: tuple[str, ...]
    lower_bound: float
    conditions: tuple[Condition, ...] = ()

    @property
    def passed(self) -> bool:
        """True for certified and provisional."""
        return self.answer in ("certified", "provisional")

    def decision(self, level: Level = "certified") -> Decision:
        """pass, fail or undecided for whoever asks for this level."""
        if self.answer == "refused":
            return "fail"
        if self.answer == "certified" or (self.answer == "provisional" and level == "provisional"):
            return "pass"
        return "undecided"
