"""What the references would have said without one of them: the yardstick's own uncertainty.

Notation
    R      embeddings of the references               float32 (n, d), unit rows, one pack
    C      centroid of R without reference i          float64 (n, d), unit rows
    M      mean leave-one-out cosine without i        float64 (n,)
The cosines themselves come from `faces.similarity`; here is how far they depend on which pictures
happened to be references. Why the similarity is to a centroid and not the maximum over references:
a maximum grows with n, so adding one picture would raise every score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LeftOut", "leave_references_out"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Centroids (n, d) and genuine means (n,) with each reference left out in turn."""

    centroids: Floats
    genuine_means: Floats


def leave_references_out(references: NDArray[np.float32]) -> LeftOut:
    """Every reference left out once; one (n, n) product, no loop over references."""
    rows = references.astype(np.float64)
    n = len(rows)
    if n < 3:
        raise ValueError(f"leaving one out and comparing the rest needs 3 references, got {n}")
    total = rows.sum(axis=0)
    sums = total - rows
    centroids = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    # T = sum of all but i and j:  <e_j, T> and |T|^2 from the Gram matrix alone
    gram = rows @ rows.T
    own, toward = np.diag(gram), rows @ total
    cosine_top = toward[None, :] - gram - own[None, :]
    length2 = (
        total @ total
        - 2.0 * toward[:, None]
        - 2.0 * toward[None, :]
        + own[:, None]
        + own[None, :]
        + 2.0 * gram
    )
    cosine = cosine_top / np.sqrt(np.maximum(length2, 1e-24))
    np.fill_diagonal(cosine, 0.0)
    return LeftOut(centroids, np.asarray(cosine.sum(axis=1) / (n - 1)))
