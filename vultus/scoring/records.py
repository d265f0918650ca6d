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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vultus.stats.estimate import Estimate

__all__ = ["CellScore", "GateSpec", "GateVerdict", "GroupScore", "RenderRow", "RenderScore"]

Vector = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RenderRow:
    """One render as the judge sees it: which block it belongs to and the face found, if any."""

    prompt_id: str
    seed: int
    emb: Vector | None
    state: str = "ok"
    group: str = ""

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


@dataclass(frozen=True)
class GroupScore:
    """The same score over one part of the panel, such as the close-ups."""

    name: str
    m10: Estimate
    misses: int
    n_renders: int


@dataclass(frozen=True)
class CellScore:
    """The score of one cell: m10 with its interval, and the two numbers that keep it honest."""

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
            "groups": [
                {
                    "name": group.name,
                    "m10": group.m10.to_json(),
                    "misses": group.misses,
                    "n_renders": group.n_renders,
                }
                for group in self.groups
            ],
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
            groups=tuple(
                GroupScore(
                    name=str(group["name"]),
                    m10=Estimate.from_json(group["m10"]),
                    misses=int(group["misses"]),
                    n_renders=int(group["n_renders"]),
                )
                for group in table["groups"]
            ),
            renders=tuple(RenderScore(**render) for render in table["renders"]),
            flags=tuple(str(flag) for flag in table["flags"]),
            yardstick_digest=str(table["yardstick_digest"]),
        )


@dataclass(frozen=True)
class GateSpec:
    """The bar a chosen cell has to clear, measured on fresh prompts and seeds only."""

    m10: float = 8.0
    worst_group_m10: float = 6.0
    miss_rate_max: float = 0.10
    confidence: float = 0.90


@dataclass(frozen=True)
class GateVerdict:
    """What the gate says, and why.

    `answer` is certified (the one-sided lower bound clears the bar), provisional (only the
    point does), or refused; `reasons` are sentences for people, one per condition.
    """

    answer: str
    reasons: tuple[str, ...]
    lower_bound: float

    @property
    def passed(self) -> bool:
        """True for certified and provisional."""
        return self.answer in ("certified", "provisional")
