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

__all__ = ["PULL", "Bins", "LeftOut", "leave_references_out", "pose_bins"]

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

    def genuine(self) -> Floats:
        """(n,): each reference against the centroid of its bin without it."""
        sums, counts, total, n = self._sums()
        others = _blend_one(
            sums[self.of] - self.rows, counts[self.of] - 1.0, total - self.rows, n - 1.0
        )
        return np.asarray(np.clip((_unit(others) * self.rows).sum(axis=1), -1.0, 1.0))

    def _sums(self) -> tuple[Floats, Floats, Floats, float]:
        member = np.zeros((len(self.names), len(self.rows)))
        member[self.of, np.arange(len(self.rows))] = 1.0
        return member @ self.rows, member.sum(axis=1), self.rows.sum(axis=0), float(len(self.rows))


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Centroids (n, B + 1, d) and genuine means (n,) with each reference left out in turn."""

    centroids: Floats
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
    centroids = np.empty((len(rows), len(bins.names) + 1, rows.shape[1]))
    means = np.empty(len(rows))
    for i, (row, bin_) in enumerate(zip(rows, of, strict=True)):
        without, left = sums.copy(), counts.copy()
        without[bin_] -= row
        left[bin_] -= 1.0
        centroids[i] = _blend(without, left, total - row, n - 1.0)
        rest = np.delete(np.arange(len(rows)), i)
        mine, to = rows[rest], of[rest]
        others = _blend_one(without[to] - mine, left[to] - 1.0, total - row - mine, n - 2.0)
        means[i] = float((_unit(others) * mine).sum(axis=1).mean())
    return LeftOut(_unit(centroids), means)


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
