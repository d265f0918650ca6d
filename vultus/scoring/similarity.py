"""Centroids of the references by pose, and what they would have been without one of them.

Notation
    R      embeddings of the references                float32 (n, d), unit rows, one pack
    b      the pose bin of each reference              n names; one bin when poses are not known
    c_b    centroid of bin b, drawn to that of all     float64 (d,), unit
    w_b    n_b / (n_b + PULL)                          how far a bin is believed
    C      centroids without reference i               float64 (n, B + 1, d), unit rows
    M      mean leave-one-out cosine without i         float64 (n,)
A render is compared with the references that look its way, c_b = unit(w_b mean of the bin +
(1 - w_b) mean of all): a bin of two is mostly the whole, a bin of twenty mostly itself, and nothing
jumps when a bin grows from five to six. The last row of every array of centroids is the centroid of
all, for poses that no reference shows. Why a centroid and not the maximum over references: a
maximum grows with n, so adding one picture would raise every score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "PULL",
    "Bins",
    "LeftOut",
    "PairsOut",
    "leave_pairs_out",
    "leave_references_out",
    "pose_bins",
]

Floats = NDArray[np.float64]

PULL = 6.0
"""References that the centroid of all counts for beside a bin's own."""


@dataclass(frozen=True, eq=False)
class Bins:
    """The references by pose. `place` maps a pose to its row of centroids; unknown poses to the last."""

    rows: Floats
    names: tuple[str, ...]
    of: NDArray[np.intp]

    def place(self, poses: Sequence[str]) -> NDArray[np.intp]:
        """The row of centroids for each pose."""
        known = {name: row for row, name in enumerate(self.names)}
        return np.array([known.get(pose, len(self.names)) for pose in poses], dtype=np.intp)

    def centroids(self) -> Floats:
        """(B + 1, d)."""
        return _unit(_blend(*self._sums()))

    def others(self) -> Floats:
        """(n, d): for each reference the centroid of its bin without it."""
        sums, counts, total, n = self._sums()
        own = self.rows
        return _unit(_blend_one(sums[self.of] - own, counts[self.of] - 1.0, total - own, n - 1.0))

    def genuine(self) -> Floats:
        """(n,): each reference against the centroid of its bin without it."""
        return np.asarray(np.clip((self.others() * self.rows).sum(axis=1), -1.0, 1.0))

    def _sums(self) -> tuple[Floats, Floats, Floats, float]:
        member = np.zeros((len(self.names), len(self.rows)))
        member[self.of, np.arange(len(self.rows))] = 1.0
        return member @ self.rows, member.sum(axis=1), self.rows.sum(axis=0), float(len(self.rows))


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Centroids (n, B + 1, d) and genuine means (n,) with each reference left out in turn."""

    centroids: Floats
    genuine_means: Floats


@dataclass(frozen=True, eq=False)
class PairsOut:
    """Two references left out at once, poses ignored: what the jackknife needs to see its own excess.

    `i`, `j` are the pairs (p,); `shares` (p, n) the references' weights in the centroid without them, zero for both;
    `genuine_means` (p,).
    """

    i: NDArray[np.intp]
    j: NDArray[np.intp]
    shares: Floats
    genuine_means: Floats


def pose_bins(references: NDArray[np.float32], poses: Sequence[str] = ()) -> Bins:
    """The references by pose; without poses they are one bin."""
    rows = references.astype(np.float64)
    if poses and len(poses) != len(rows):
        raise ValueError(f"{len(poses)} poses for {len(rows)} references")
    names = tuple(sorted(set(poses))) or ("",)
    known = {name: row for row, name in enumerate(names)}
    of = np.array([known[p] for p in poses] if poses else np.zeros(len(rows)), dtype=np.intp)
    return Bins(rows, names, of)


def leave_references_out(bins: Bins) -> LeftOut:
    """Every reference left out once."""
    rows, of = bins.rows, bins.of
    if len(rows) < 3:
        raise ValueError(f"leaving one out and comparing the rest needs 3, got {len(rows)}")
    sums, counts, total, n = bins._sums()
    every = np.arange(len(rows))
    without = np.repeat(sums[None], len(rows), axis=0)
    without[every, of] -= rows
    left = np.repeat(counts[None], len(rows), axis=0)
    left[every, of] -= 1.0
    rest = total - rows
    pull = (1.0 / (left + PULL))[:, :, None]
    bins_out = without * pull + (PULL * pull) * rest[:, None, :] / (n - 1.0)
    centroids = np.concatenate([bins_out, rest[:, None, :]], axis=1)
    return LeftOut(_unit(centroids), _means_without(bins))


def _means_without(bins: Bins) -> Floats:
    """(n,): mean over j of e_j against its centroid without i and j, all from the Gram matrix K.

    With S the sum of j's bin and T that of all, both without i and j, the direction is p S + q T.
    """
    rows, of, n = bins.rows, bins.of, len(bins.rows)
    gram = rows @ rows.T
    own, toward = np.diag(gram), gram.sum(axis=1)
    member = (of[:, None] == np.arange(len(bins.names))).astype(np.float64)
    to_bin = (gram @ member)[:, of]  # [i, j]: e_i with the sum of j's bin
    same = (of[:, None] == of[None, :]).astype(np.float64)
    j_bin, i, j = np.diag(to_bin)[None, :], np.s_[:, None], np.s_[None, :]
    bin_bin = np.diag(member.T @ gram @ member)[of][j]
    bin_all = (member.T @ toward)[of][j]
    s_e = j_bin - own[j] - same * gram
    t_e = toward[j] - own[j] - gram
    s_s = bin_bin - 2.0 * (j_bin + same * to_bin) + own[j] + same * (own[i] + 2.0 * gram)
    t_t = gram.sum() - 2.0 * (toward[i] + toward[j]) + own[i] + own[j] + 2.0 * gram
    s_t = bin_all - to_bin - j_bin - t_e - same * (toward[i] - own[i] - gram)
    count = member.sum(axis=0)[of][j] - 1.0 - same
    p, q = 1.0 / (count + PULL), PULL / (count + PULL) / (n - 2.0)
    length2 = p * p * s_s + 2.0 * p * q * s_t + q * q * t_t
    cosine = (p * s_e + q * t_e) / np.sqrt(np.maximum(length2, 1e-24))
    np.fill_diagonal(cosine, 0.0)
    return np.asarray(cosine.sum(axis=1) / (n - 1.0))


def leave_pairs_out(rows: Floats) -> PairsOut:
    """Every pair of references left out once; everything from the Gram matrix, n^3 numbers at most at a time."""
    n = len(rows)
    gram = rows @ rows.T
    own, toward = np.diag(gram), gram.sum(axis=1)
    i, j = np.triu_indices(n, 1)
    length2 = gram.sum() - 2.0 * (toward[i] + toward[j]) + own[i] + own[j] + 2.0 * gram[i, j]
    shares = np.repeat((1.0 / np.sqrt(length2))[:, None], n, axis=1)
    pair = np.arange(len(i))
    shares[pair, i] = shares[pair, j] = 0.0
    # k against the centroid without i, j and k itself
    top = (toward - own)[None, :] - gram[i] - gram[j]
    below = length2[:, None] - 2.0 * (toward[None, :] - gram[i] - gram[j]) + own[None, :]
    cosine = top / np.sqrt(np.maximum(below, 1e-24))
    cosine[pair, i] = cosine[pair, j] = 0.0
    return PairsOut(i, j, shares, cosine.sum(axis=1) / (n - 2))


def _blend(sums: Floats, counts: Floats, total: Floats, n: float) -> Floats:
    """Directions of all bins and of the whole, (B + 1, d), not yet of unit length."""
    every = np.broadcast_to(total, sums.shape)
    return np.vstack([_blend_one(sums, counts, every, n), total[None] / n])


def _blend_one(sums: Floats, counts: Floats, total: Floats, n: float) -> Floats:
    """w S/n_b + (1 - w) T/n, row by row, with w S/n_b = S / (n_b + PULL): an empty bin adds nothing."""
    weight = counts / (counts + PULL)
    return np.asarray(sums / (counts + PULL)[:, None] + (1.0 - weight)[:, None] * total / n)


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12))
