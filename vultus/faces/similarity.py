"""How alike two face vectors are: cosines, and nothing that pretends to be a score.

**Notation**
    V       face vectors of one pack        float32 (n, d), rows of unit length
    c       centroid                        float32 (d,): the renormalised mean of rows
    cosine  dot product of unit vectors     float64 in [-1, 1]; what it means depends on pack and
                                            population
Vectors made by different packs live in unrelated spaces; a cosine between them is a random number
that looks like a measurement. `Vectors` carries the pack's digest and every function refuses to
mix two. Sums run in float64 whatever n is: precision never depends on size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus.core.errors import FaceError
from vultus.faces.records import Emb, FaceResult

__all__ = [
    "Vectors",
    "centroid",
    "cosine",
    "cosine_to_centroid",
    "gather",
    "leave_one_out",
]

Cosines = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Vectors:
    """Unit vectors (n, d) that may be compared with each other."""

    rows: npt.NDArray[np.float32]
    pack_digest: str

    def __post_init__(self) -> None:
        if self.rows.ndim != 2:
            raise FaceError(
                f"face vectors have shape {self.rows.shape}",
                expected="an array (n, d), one row per face",
            )
        lengths = np.linalg.norm(self.rows.astype(np.float64), axis=1)
        if not np.all(np.abs(lengths - 1.0) < 1e-3):
            raise FaceError(
                "face vectors are not of unit length",
                expected="rows as `FaceEngine.read` returns them",
            )

    def __len__(self) -> int:
        return len(self.rows)


def gather(results: Sequence[FaceResult], states: Sequence[str] = ("ok",)) -> Vectors:
    """Stacks the vectors of the results in these states; results of two packs are refused."""
    digests = {result.pack_digest for result in results}
    if len(digests) > 1:
        raise _two_packs(digests)
    rows = [r.emb for r in results if r.state in states and r.emb is not None]
    if not rows:
        raise FaceError(
            f"none of {len(results)} pictures has a face in state {' or '.join(states)}",
            expected="at least one readable face",
            next_command="vultus score --help",
        )
    return Vectors(np.stack(rows).astype(np.float32), digests.pop())


def cosine(a: Vectors, b: Vectors) -> Cosines:
    """All pairs: (len(a), len(b))."""
    if a.pack_digest != b.pack_digest:
        raise _two_packs({a.pack_digest, b.pack_digest})
    if a.rows.shape[1] != b.rows.shape[1]:
        raise FaceError(f"face vectors of length {a.rows.shape[1]} met length {b.rows.shape[1]}")
    return np.clip(a.rows.astype(np.float64) @ b.rows.astype(np.float64).T, -1.0, 1.0)


def centroid(v: Vectors) -> Emb:
    """The renormalised mean direction."""
    mean = v.rows.astype(np.float64).mean(axis=0)
    length = float(np.linalg.norm(mean))
    if length < 1e-6:
        raise FaceError("the face vectors cancel out; they have no common direction")
    return np.asarray(mean / length, dtype=np.float32)


def cosine_to_centroid(probes: Vectors, references: Vectors) -> Cosines:
    """(len(probes),). A probe must not be among the references: see `leave_one_out`."""
    return cosine(probes, Vectors(centroid(references)[None], references.pack_digest))[:, 0]


def leave_one_out(v: Vectors) -> Cosines:
    """(n,): each vector against the centroid of all the others. Needs two vectors."""
    if len(v) < 2:
        raise FaceError("leave-one-out needs at least two face vectors", expected="2 or more")
    rows = v.rows.astype(np.float64)
    others = rows.sum(axis=0)[None, :] - rows
    lengths = np.linalg.norm(others, axis=1)
    if float(lengths.min()) < 1e-6:
        raise FaceError("the face vectors cancel out; they have no common direction")
    found: Cosines = np.clip(np.sum(rows * others, axis=1) / lengths, -1.0, 1.0)
    return found


def _two_packs(digests: set[str]) -> FaceError:
    shown = " and ".join(sorted(d[:19] for d in digests))
    return FaceError(
        f"face vectors of different packs cannot be compared ({shown})",
        expected="vectors made by one pack",
        next_command="read both sets again with the same --pack",
    )
