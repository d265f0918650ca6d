"""Where a head looks, from five points alone: for packs without pose networks.

A mean face of five points in space is held against the five points of the picture: the map from
space to picture that fits best in the least-squares sense (weak perspective) is made a rotation,
and the rotation is read as three angles. Five points that lie almost in a plane carry little
depth, so this sorts heads into bins; it does not measure degrees. What it is worth against FSA-Net
is in `bench/results/faces.json`.

**Notation**
    p          five points of a face     float (5, 2), px, order of faces.records
    MEAN_MM    the mean face             float64 (5, 3), mm: x to the image right, y down, z towards
                                         the camera; x and y are the ArcFace template's, eyes 63 mm
                                         apart, z that of an ordinary adult head
    R          head to camera            float64 (3, 3); its third column is the nose's direction
Signs are those of `records.Pose`: yaw > 0 = nose to the image left, pitch > 0 = chin up, roll > 0
= clockwise in the image.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from vultus.core.errors import FaceError
from vultus.faces.records import Pose

__all__ = ["MEAN_MM", "pose_from_points"]

MEAN_MM: Final = np.array(
    [
        [-31.5, -35.9, 0.0],
        [31.5, -36.2, 0.0],
        [0.2, 0.0, 26.0],
        [-25.7, 36.9, 4.0],
        [26.5, 36.6, 4.0],
    ]
)


def pose_from_points(points: npt.ArrayLike) -> Pose:
    """Yaw, pitch and roll of a head from its five points. Raises FaceError for points that are no
    face."""
    p = np.asarray(points, dtype=np.float64)
    if p.shape != (5, 2) or not np.isfinite(p).all():
        raise FaceError("a pose needs five finite points", expected="points (5, 2) of one face")
    flat = p - p.mean(axis=0)
    space = MEAN_MM - MEAN_MM.mean(axis=0)
    linear = np.linalg.lstsq(space, flat, rcond=None)[0].T  # (2, 3)
    lengths = np.linalg.norm(linear, axis=1)
    if float(lengths.min()) < 1e-9:
        raise FaceError("all points lie on one line; the head has no direction")
    # The nearest pair of orthogonal unit rows: what both rows agree on.
    u, _, vt = np.linalg.svd(linear / lengths[:, None], full_matrices=False)
    rows = u @ vt
    roll = float(np.arctan2(rows[1, 0], rows[0, 0]))
    # Where the nose points once the picture is turned upright again; its depth is the third row's.
    c, s = np.cos(roll), np.sin(roll)
    x, y = c * rows[0, 2] + s * rows[1, 2], c * rows[1, 2] - s * rows[0, 2]
    depth = float(np.cross(rows[0], rows[1])[2])
    yaw = -np.degrees(np.arctan2(x, depth))
    pitch = -np.degrees(np.arcsin(np.clip(y, -1.0, 1.0)))
    return Pose(float(yaw), float(pitch), float(np.degrees(roll)), "points")
