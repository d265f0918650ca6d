"""Turning a face to the pose a recogniser was trained on: one rotation, one scale, one shift.

**Notation**
    p       five points of a face        float (5, 2), px of the picture, order of faces.records
    t       the template                 float (5, 2), px of the aligned square
    A       similarity picture -> square float64 (2, 3)
The map is the least-squares similarity of Umeyama (1991), which never mirrors: points whose left
and right were swapped give a large residual instead of a mirrored face. `origin` says where (0, 0)
lies for points *and* template. "centre": in the middle of the first pixel, as InsightFace, OpenCV
and the templates of public recognisers mean it. "corner": at its outer corner, as geometry.py
means it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vultus.core.errors import FaceError
from vultus.faces.records import Rgb
from vultus.images.geometry import Affine, warp

__all__ = ["align", "similarity_transform"]


def similarity_transform(source: npt.ArrayLike, target: npt.ArrayLike) -> Affine:
    """The least-squares similarity (2, 3) that carries `source` (n, 2) onto `target` (n, 2)."""
    a, b = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise FaceError("landmarks are not finite numbers")
    a_mean, b_mean = a.mean(axis=0), b.mean(axis=0)
    a_dev, b_dev = a - a_mean, b - b_mean
    variance = float((a_dev**2).sum())
    if variance < 1e-9:
        raise FaceError("all landmarks lie on one point; the face cannot be aligned")
    # In two dimensions the optimum has a closed form: (p, q) is the complex factor of the map.
    p = float((a_dev * b_dev).sum()) / variance
    q = float((a_dev[:, 0] * b_dev[:, 1] - a_dev[:, 1] * b_dev[:, 0]).sum()) / variance
    linear = np.array([[p, -q], [q, p]])
    return np.column_stack([linear, b_mean - linear @ a_mean])


def align(
    rgb: Rgb,
    points: npt.ArrayLike,
    template_px: npt.ArrayLike,
    size_px: int,
    *,
    origin: str = "centre",
    fill: int = 0,
) -> Rgb:
    """The face warped onto the template: uint8 (size_px, size_px, 3), `fill` outside."""
    shift = {"centre": 0.5, "corner": 0.0}[origin]
    source = np.asarray(points, dtype=np.float64) + shift
    target = np.asarray(template_px, dtype=np.float64) + shift
    return warp(rgb, similarity_transform(source, target), size_px, size_px, fill)
