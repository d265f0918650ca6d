"""Who is not the persona: an audit of the faces by their likeness to each other.

Notation
    E    embeddings of the candidates' faces      float32 (n, d), unit rows, one face pack
    S    cosines of all pairs                     float64 (n, n)
    c    leave-one-out cosine of each face to the centroid of the others' core   float64 (n,)
    z    robust z of c: (c - median) / (1.4826 MAD), MAD at least 0.03

A face is called another person when two things hold: its z is below -off_persona_z, and its cosine is below
off_persona_ratio x the median. The z alone would drop a true profile from a set of frontal pictures; the
ratio alone depends on the face pack. The centroid is taken over the *core*, the half of the faces with the
highest median cosine to all others, so that strangers do not pull it towards themselves: it stays with the
persona while strangers are fewer than half and less alike each other than the persona is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAD_FLOOR = 0.03
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Audit:
    """The likeness of each face to the others, and which faces are somebody else's."""

    cosines: Floats
    z: Floats
    strangers: npt.NDArray[np.bool_]
    median: float


def audit_identity(emb: npt.NDArray[np.float32], *, z_cut: float, ratio_cut: float) -> Audit:
    """Measure each face against the core of the others and mark strangers."""
    n = len(emb)
    if n < 3:  # two faces cannot outvote each other
        return Audit(np.ones(n), np.zeros(n), np.zeros(n, dtype=np.bool_), 1.0)
    unit = emb.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    core = _core(unit)
    cosines = _leave_one_out(unit, core)
    median = float(np.median(cosines[core]))
    spread = max(1.4826 * float(np.median(np.abs(cosines[core] - median))), MAD_FLOOR)
    z = (cosines - median) / spread
    strangers = (z < -z_cut) & (cosines < ratio_cut * median)
    return Audit(cosines, z, strangers, median)


def _core(unit: Floats) -> npt.NDArray[np.int64]:
    """Indices of the better half by median cosine to the others, at least two."""
    pairs = unit @ unit.T
    np.fill_diagonal(pairs, np.nan)
    typical = np.nanmedian(pairs, axis=1)
    return np.sort(np.argsort(-typical, kind="stable")[: max(2, (len(unit) + 1) // 2)])


def _leave_one_out(unit: Floats, core: npt.NDArray[np.int64]) -> Floats:
    """Cosine of each face to the centroid of the core without itself."""
    total = unit[core].sum(axis=0)
    inside = np.zeros(len(unit), dtype=np.bool_)
    inside[core] = True
    centroid = total[None, :] - np.where(inside[:, None], unit, 0.0)
    centroid /= np.maximum(np.linalg.norm(centroid, axis=1, keepdims=True), 1e-12)
    return np.asarray((unit * centroid).sum(axis=1))


__all__ = ["MAD_FLOOR", "Audit", "audit_identity"]
