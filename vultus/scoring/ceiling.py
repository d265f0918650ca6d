"""The ceiling: how much likeness the picture format alone leaves, by the width of the face.

Notation
    width_px   width of the face's box in the picture that goes through the VAE      px
    own        cosine of a reference to the centroid of the others, untouched        float
    small      the same after shrinking to that width                                float
    coded      the same after shrinking and a trip through the VAE and back          float
    share      mean coded / mean own                                                 what no LoRA can beat there
A LoRA paints in the latent space of its base. Whatever the encoder and the decoder lose of a face of that many pixels
is lost for every render of that framing, so a low number there is no fault of the training. Faces are never enlarged: a
picture whose face is smaller than a width says nothing about it. A face that is not found any more is counted, and
scores cosine 0: a missing face is a result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vultus.stats.estimate import Estimate
from vultus.stats.jackknife import interval, source_of

__all__ = ["CeilingRow", "ceiling_row", "widths_for"]

Floats = NDArray[np.float64]

WIDTH_SHARES = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4)
"""Widths of a face as shares of the render's width: from a figure in a landscape to a portrait."""


@dataclass(frozen=True)
class CeilingRow:
    """One width: how alike the references' own pictures stay."""

    width_px: int
    share: Estimate
    small: float
    found: int
    tried: int

    @property
    def words(self) -> str:
        """The row for people."""
        missed = "" if self.found == self.tried else f", face found in {self.found} of {self.tried}"
        return (
            f"face {self.width_px:4d} px wide: {self.share.words(2)} of the likeness,"
            f" {self.small:.2f} by the size alone ({self.tried} pictures{missed})"
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON-safe dictionary."""
        return {**asdict(self), "share": self.share.to_json()}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> CeilingRow:
        """The inverse of `to_json`."""
        return cls(
            int(table["width_px"]),
            Estimate.from_json(table["share"]),
            float(table["small"]),
            int(table["found"]),
            int(table["tried"]),
        )


def widths_for(render_width_px: int) -> tuple[int, ...]:
    """The widths that are tried for renders of this size."""
    return tuple(round(render_width_px * share) for share in WIDTH_SHARES)


def ceiling_row(
    width_px: int, own: Sequence[float], small: Sequence[float], coded: Sequence[float]
) -> CeilingRow:
    """One width from the cosines of the same pictures; nan where no face was found any more."""
    n = len(own)
    if n < 1 or len(small) != n or len(coded) != n:
        raise ValueError(f"{n}, {len(small)} and {len(coded)} cosines are not of the same pictures")
    before, after = np.array(own), np.nan_to_num(np.array(coded), nan=0.0)
    value = float(after.mean() / before.mean())
    bounds = (float("-inf"), float("inf"))
    if n > 1:
        left_out = (after.sum() - after) / (before.sum() - before)
        bounds = interval(value, [source_of(left_out)])
    return CeilingRow(
        width_px,
        Estimate(value, *bounds, "share", n),
        float(np.nan_to_num(np.array(small), nan=0.0).mean() / before.mean()),
        int(np.isfinite(np.array(coded)).sum()),
        n,
    )
