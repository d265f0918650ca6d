"""Which way a face looks, from its five points: enough to compare like with like.

**Notation**
    points_px   five points               float (5, 2), order of `faces.records`
    offset      nose tip from the middle between the eyes, as a share of their distance, image right
                positive; about 0.5 tan(yaw) for a nose that stands half an eye distance proud
Similarity falls with pose whatever the identity (the same net's best cut is 0.284 on LFW and 0.181
on profiles: reference "measuring", section 3), so a render is compared with references that look
the same way.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["ASIDE_SHARE", "Facing", "facing_of"]

Facing = Literal["left", "ahead", "right"]

ASIDE_SHARE = 0.10
"""From this offset on a face looks aside: about 12 degrees. The same limit as in the dataset."""


def facing_of(points_px: npt.ArrayLike) -> Facing:
    """The side of the picture that a face turns to."""
    points = np.asarray(points_px, dtype=np.float64)
    between = max(1e-6, float(points[1, 0] - points[0, 0]))
    offset = float(points[2, 0] - (points[0, 0] + points[1, 0]) / 2) / between
    if offset < -ASIDE_SHARE:
        return "left"
    return "right" if offset > ASIDE_SHARE else "ahead"
