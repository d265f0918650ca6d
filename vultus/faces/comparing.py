"""Two pictures, or two folders of them, held against each other by cosine: what can be said plainly.

**Notation**
    A, B         vectors of the readable faces of each side        one pack
    to_centroid  each of B to the centroid of A                    float64 (len(B),)
    own          each of A to the centroid of the rest of A        float64 (len(A),), from 2 on
Any state with a vector takes part on side B (a doubtful face is still a measurement); side A, the
references, takes `ok` only where that leaves two or more. Cosines to a centroid are higher than
single-pair cosines of the same person: the two are never put on one scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vultus.core.errors import FaceError
from vultus.faces.packs import Pack
from vultus.faces.reading import Reading
from vultus.faces.similarity import Vectors, cosine, cosine_to_centroid, leave_one_out

__all__ = ["Compared", "compare"]

Cosines = npt.NDArray[np.float64]
TOLD_PAIRS = 12


@dataclass(frozen=True, eq=False)
class Compared:
    """Cosines between two sides, and what was left out."""

    pack: Pack
    a: tuple[Path, ...]
    b: tuple[Path, ...]
    pairs: Cosines
    to_centroid: Cosines | None
    own: Cosines | None
    missed: tuple[tuple[Path, str], ...]

    def lines(self) -> list[str]:
        """For people."""
        told = []
        if self.pairs.size <= TOLD_PAIRS:
            for i, first in enumerate(self.a):
                told += [
                    f"{first.name} - {second.name}: cosine {self.pairs[i, j]:.3f}"
                    for j, second in enumerate(self.b)
                ]
        else:
            told.append(f"{self.pairs.size} pairs: cosine {_spread(self.pairs)}")
        if self.to_centroid is not None:
            told.append(f"to the centroid of the first {len(self.a)}: {_spread(self.to_centroid)}")
            order = np.argsort(self.to_centroid)
            if len(order) > 1:
                worst, best = self.b[int(order[0])].name, self.b[int(order[-1])].name
                told.append(f"  farthest {worst}, nearest {best}")
        if self.own is not None:
            told.append(f"the first among themselves, one left out: {_spread(self.own)}")
        told += [f"{path}: {why}" for path, why in self.missed]
        told.append(f"pack {self.pack.name}, digest {self.pack.digest[7:19]}")
        return told

    def record(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "pack": {"name": self.pack.name, "digest": self.pack.digest},
            "a": [str(path) for path in self.a],
            "b": [str(path) for path in self.b],
            "cosines": self.pairs.tolist(),
            "to_centroid": None if self.to_centroid is None else self.to_centroid.tolist(),
            "leave_one_out": None if self.own is None else self.own.tolist(),
            "missed": [{"file": str(path), "why": why} for path, why in self.missed],
        }


def compare(a: Sequence[Reading], b: Sequence[Reading], pack: Pack) -> Compared:
    """Holds two sides against each other. Raises FaceError when one has no readable face."""
    strict = [one for one in a if one.result.state == "ok"]
    first = strict if len(strict) >= 2 else [one for one in a if one.result.emb is not None]
    second = [one for one in b if one.result.emb is not None]
    for side, given, kept in (("first", a, first), ("second", b, second)):
        if not kept:
            states = sorted({one.result.state for one in given})
            raise FaceError(
                f"the {side} side has no readable face"
                f" ({len(given)} pictures: {', '.join(states) or 'none could be opened'})",
                expected="at least one picture with a face on each side",
                next_command="vultus faces inspect PICTURE",
            )
    mine, theirs = _vectors(first), _vectors(second)
    several = len(first) > 1
    used = {id(one) for one in (*first, *second)}
    missed = tuple(
        (one.picture.path, f"left out, {one.result.state}")
        for one in (*a, *b)
        if id(one) not in used
    )
    return Compared(
        pack=pack,
        a=tuple(one.picture.path for one in first),
        b=tuple(one.picture.path for one in second),
        pairs=cosine(mine, theirs),
        to_centroid=cosine_to_centroid(theirs, mine) if several else None,
        own=leave_one_out(mine) if several else None,
        missed=missed,
    )


def _vectors(side: Sequence[Reading]) -> Vectors:
    rows = [one.result.emb for one in side if one.result.emb is not None]
    return Vectors(np.stack(rows).astype(np.float32), side[0].result.pack_digest)


def _spread(values: Cosines) -> str:
    if values.size == 1:
        return f"{float(values.reshape(-1)[0]):.3f}"
    return f"mean {values.mean():.3f}, from {values.min():.3f} to {values.max():.3f} (n = {values.size})"
