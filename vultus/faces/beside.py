"""A second recogniser beside the first: where the two disagree, neither should be believed alone.

Vectors of two packs never meet. What can be compared is what each pack says about the same pairs
of pictures: do they rank them alike, and which pairs does one call near and the other far?

**Notation**
    a, b       cosines of the same pairs under two packs       float64 (n,)
    z          cosine in widths of its own pack's pairs        (a - mean a) / sd a
    gap        z of the first - z of the second                dimensionless; 0 = they agree
    pearson    linear correlation of a and b, spearman that of their ranks
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus.core.errors import FaceError
from vultus.faces.records import FaceResult

__all__ = ["Disagreement", "PairGap", "disagreement"]


@dataclass(frozen=True)
class PairGap:
    """A pair of pictures (positions) with both cosines and their gap."""

    first: int
    second: int
    cosine_a: float
    cosine_b: float
    gap: float


@dataclass(frozen=True)
class Disagreement:
    """What two packs say about the same pairs. `unread` counts pictures that one of them could not
    read."""

    packs: tuple[str, str]
    pairs: int
    pearson: float
    spearman: float
    worst: tuple[PairGap, ...]
    unread: int


def disagreement(
    a: Sequence[FaceResult], b: Sequence[FaceResult], *, told: int = 10
) -> Disagreement:
    """Compares two readings of the same pictures, in the same order."""
    if len(a) != len(b):
        raise FaceError(f"{len(a)} readings met {len(b)}", expected="the same pictures twice")
    both = [
        (k, x.emb, y.emb)
        for k, (x, y) in enumerate(zip(a, b, strict=True))
        if x.emb is not None and y.emb is not None
    ]
    if len(both) < 3:
        raise FaceError(
            f"only {len(both)} of {len(a)} pictures have a face in both packs",
            expected="at least three, so that pairs can be ranked",
        )
    first, second = np.triu_indices(len(both), 1)
    cos_a = _cosines(np.stack([x for _, x, _ in both]))[first, second]
    cos_b = _cosines(np.stack([y for _, _, y in both]))[first, second]
    gaps = _z(cos_a) - _z(cos_b)
    order = np.argsort(-np.abs(gaps), kind="stable")[:told]
    where = [k for k, _, _ in both]
    worst = tuple(
        PairGap(where[first[k]], where[second[k]], float(cos_a[k]), float(cos_b[k]), float(gaps[k]))
        for k in order
    )
    return Disagreement(
        packs=(a[0].pack_digest, b[0].pack_digest),
        pairs=len(gaps),
        pearson=float(np.corrcoef(cos_a, cos_b)[0, 1]),
        spearman=float(np.corrcoef(_ranks(cos_a), _ranks(cos_b))[0, 1]),
        worst=worst,
        unread=len(a) - len(both),
    )


def _cosines(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    wide = rows.astype(np.float64)
    found: npt.NDArray[np.float64] = np.clip(wide @ wide.T, -1.0, 1.0)
    return found


def _z(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    width = float(values.std())
    found: npt.NDArray[np.float64] = (values - values.mean()) / (width if width > 0 else 1.0)
    return found


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(np.float64)
