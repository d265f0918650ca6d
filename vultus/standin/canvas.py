"""Drawing primitives of the stand-in renderer: anti-aliased polygons, curves and soft light.

Notation
    image   uint8 (S, S, 3), RGB, S = 2 x 128: drawn twice as large and averaged down
    points  float32 (n, 2), px of that image (x, y)
    colour  RGB triple 0..255
OpenCV draws with 4 fractional bits, so features move smoothly with the pose.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

__all__ = [
    "SIZE",
    "SUPER",
    "blob",
    "ellipse_points",
    "fill",
    "mix",
    "shade",
    "smooth_closed",
    "smooth_open",
    "stroke",
]

SUPER: Final = 2
SIZE: Final = 128 * SUPER
_BITS: Final = 4
Points = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]
Colour = tuple[float, float, float]


def _fixed(points: Points) -> npt.NDArray[np.int32]:
    return np.round(points * (1 << _BITS)).astype(np.int32)


def fill(image: Image, points: Points, colour: Colour) -> None:
    """Fill a polygon."""
    cv2.fillPoly(image, [_fixed(points)], colour, cv2.LINE_AA, _BITS)


def stroke(
    image: Image, points: Points, colour: Colour, width_px: float, *, closed: bool = False
) -> None:
    """Draw a curve `width_px` wide (px of the large canvas)."""
    cv2.polylines(
        image, [_fixed(points)], closed, colour, max(1, round(width_px)), cv2.LINE_AA, _BITS
    )


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """The colour `share` of the way from a to b."""
    return (
        a[0] + (b[0] - a[0]) * share,
        a[1] + (b[1] - a[1]) * share,
        a[2] + (b[2] - a[2]) * share,
    )


def shade(colour: Colour, factor: float) -> Colour:
    """The colour made darker (factor < 1) or lighter."""
    return (
        min(255.0, colour[0] * factor),
        min(255.0, colour[1] * factor),
        min(255.0, colour[2] * factor),
    )


def _spline_basis(steps: int) -> npt.NDArray[np.float32]:
    t = np.linspace(0, 1, steps, endpoint=False, dtype=np.float32)
    return np.stack(
        [
            -0.5 * t**3 + t**2 - 0.5 * t,
            1.5 * t**3 - 2.5 * t**2 + 1,
            -1.5 * t**3 + 2 * t**2 + 0.5 * t,
            0.5 * t**3 - 0.5 * t**2,
        ],
        axis=1,
    )


_BASIS: Final = _spline_basis(6)


def smooth_closed(points: Points) -> Points:
    """Catmull-Rom through a closed ring of control points, six segments between two."""
    ring = np.stack(
        [np.roll(points, 1, 0), points, np.roll(points, -1, 0), np.roll(points, -2, 0)], axis=1
    )
    return np.asarray(np.einsum("tk,nkd->ntd", _BASIS, ring).reshape(-1, 2), np.float32)


def smooth_open(points: Points) -> Points:
    """Catmull-Rom through an open chain of control points, end points kept."""
    ends = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    chain = np.stack([ends[:-3], ends[1:-2], ends[2:-1], ends[3:]], axis=1)
    body = np.einsum("tk,nkd->ntd", _BASIS, chain).reshape(-1, 2)
    return np.concatenate([body, points[-1:]]).astype(np.float32)


_ANGLES: Final = np.linspace(0, 2 * np.pi, 24, endpoint=False, dtype=np.float32)
_CIRCLE: Final = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def ellipse_points(x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> Points:
    """An ellipse as 24 points, turned by `turn` rad."""
    c, s = np.cos(turn), np.sin(turn)
    ring = _CIRCLE * np.array([rx, ry], np.float32)
    return (ring @ np.array([[c, s], [-s, c]], np.float32) + np.array([x, y], np.float32)).astype(
        np.float32
    )


def blob(
    image: Image, x: float, y: float, rx: float, ry: float, colour: Colour, alpha: float
) -> None:
    """Blend a soft Gaussian spot into the picture: blush, shadow under the chin, light on the hair."""
    x0, x1 = max(0, int(x - 2 * rx)), min(image.shape[1], int(x + 2 * rx) + 1)
    y0, y1 = max(0, int(y - 2 * ry)), min(image.shape[0], int(y + 2 * ry) + 1)
    if x0 >= x1 or y0 >= y1:
        return
    gx = np.exp(-(((np.arange(x0, x1, dtype=np.float32) - x) / rx) ** 2) * 1.5)
    gy = np.exp(-(((np.arange(y0, y1, dtype=np.float32) - y) / ry) ** 2) * 1.5)
    weight = (alpha * gy[:, None] * gx[None, :])[..., None]
    patch = image[y0:y1, x0:x1].astype(np.float32)
    patch += weight * (np.array(colour, np.float32) - patch)
    image[y0:y1, x0:x1] = patch.astype(np.uint8)
