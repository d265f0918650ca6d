"""Resizing, framing and turning pictures, with the maps that carry points there and back.

**Notation**
    rgb       pixels            uint8 (H, W, 3); the functions also take (H, W) and float arrays
    points    (x, y)            float (n, 2), px; x to the right, y down
    A         affine map        float64 (2, 3): out = A[:, :2] @ p + A[:, 2]
    frame     see `Frame`       maps picture coordinates to those of the framed picture
Coordinates are *corner* coordinates: pixel i covers [i, i + 1), its centre is i + 0.5, so resizing
by k is exactly p -> k p. OpenCV's warps count from pixel centres; `warp` translates (half a pixel
is 3 % of a 16 px face). Shrinking integrates over the area (anything else aliases and changes
hashes); enlarging is cubic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "Affine",
    "Frame",
    "apply_affine",
    "crop_square",
    "fit_within",
    "invert_affine",
    "letterbox",
    "luma",
    "mirror",
    "mirror_points",
    "resize",
    "warp",
]

Pixels = npt.NDArray[np.uint8]
Affine = npt.NDArray[np.float64]
Grid = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Frame:
    """Where a picture lies in a framed copy of it: framed = scale * p + (dx, dy), corner
    coordinates."""

    scale_x: float
    scale_y: float
    dx_px: float
    dy_px: float

    def to_frame(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Carries points of the picture into the frame."""
        p = np.asarray(points, dtype=np.float64)
        return p * (self.scale_x, self.scale_y) + (self.dx_px, self.dy_px)

    def to_picture(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Carries points of the frame back into the picture."""
        p = np.asarray(points, dtype=np.float64)
        return (p - (self.dx_px, self.dy_px)) / (self.scale_x, self.scale_y)


def resize(rgb: Pixels, width_px: int, height_px: int) -> Pixels:
    """Resizes to exactly this size: by area when shrinking in either direction, else cubic."""
    import cv2

    height, width = rgb.shape[:2]
    if (width, height) == (width_px, height_px):
        return rgb.copy()
    shrinks = width_px < width or height_px < height
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, (width_px, height_px), interpolation=how), dtype=rgb.dtype)


def fit_within(rgb: Pixels, long_side_px: int) -> tuple[Pixels, Frame]:
    """Shrinks so that the longer side is at most `long_side_px`; never enlarges."""
    height, width = rgb.shape[:2]
    k = min(1.0, long_side_px / max(height, width))
    new_width, new_height = max(1, round(width * k)), max(1, round(height * k))
    return resize(rgb, new_width, new_height), Frame(
        new_width / width, new_height / height, 0.0, 0.0
    )


def letterbox(rgb: Pixels, side_px: int, fill: int = 128) -> tuple[Pixels, Frame]:
    """Fits the whole picture into a square canvas, centred, the rest filled with one grey."""
    height, width = rgb.shape[:2]
    k = side_px / max(height, width)
    new_width, new_height = max(1, round(width * k)), max(1, round(height * k))
    left, top = (side_px - new_width) // 2, (side_px - new_height) // 2
    canvas = np.full((side_px, side_px, 3), fill, dtype=np.uint8)
    canvas[top : top + new_height, left : left + new_width] = resize(rgb, new_width, new_height)
    return canvas, Frame(new_width / width, new_height / height, float(left), float(top))


def crop_square(
    rgb: Pixels, centre: tuple[float, float], side_px: float, out_px: int, fill: int = 0
) -> tuple[Pixels, Frame]:
    """Cuts a square (sub-pixel, may leave the picture: `fill` there) and scales it to `out_px`.

    Shrinking by more than 2 first shrinks the picture around the crop by area, as a bilinear warp
    alone would alias.
    """
    height, width = rgb.shape[:2]
    x0, y0 = centre[0] - side_px / 2, centre[1] - side_px / 2
    k = out_px / side_px
    left, top = max(0, int(np.floor(x0)) - 2), max(0, int(np.floor(y0)) - 2)
    right, bottom = (
        min(width, int(np.ceil(x0 + side_px)) + 2),
        min(height, int(np.ceil(y0 + side_px)) + 2),
    )
    frame = Frame(k, k, -x0 * k, -y0 * k)
    if right <= left or bottom <= top:
        return np.full((out_px, out_px, 3), fill, dtype=np.uint8), frame
    part = rgb[top:bottom, left:right]
    kx = ky = 1.0
    if k < 0.5:
        new_width = max(1, round(part.shape[1] * 2 * k))
        new_height = max(1, round(part.shape[0] * 2 * k))
        kx, ky = new_width / part.shape[1], new_height / part.shape[0]
        part = resize(part, new_width, new_height)
    matrix = np.array([[k / kx, 0.0, (left - x0) * k], [0.0, k / ky, (top - y0) * k]])
    return warp(part, matrix, out_px, out_px, fill), frame


def warp(rgb: Pixels, matrix: Affine, width_px: int, height_px: int, fill: int = 0) -> Pixels:
    """Bilinear warp by an affine map in corner coordinates (picture -> output)."""
    import cv2

    centred = matrix.astype(np.float64).copy()
    centred[:, 2] += 0.5 * matrix[:, :2].sum(axis=1) - 0.5
    out = cv2.warpAffine(
        rgb,
        centred,
        (width_px, height_px),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill, fill, fill),
    )
    return np.asarray(out, dtype=rgb.dtype)


def apply_affine(matrix: Affine, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Maps points (n, 2)."""
    p = np.asarray(points, dtype=np.float64)
    return p @ matrix[:, :2].T + matrix[:, 2]


def invert_affine(matrix: Affine) -> Affine:
    """The map back."""
    inverse = np.linalg.inv(matrix[:, :2])
    return np.column_stack([inverse, -inverse @ matrix[:, 2]])


def mirror(rgb: Pixels) -> Pixels:
    """The picture left-right swapped, in its own memory."""
    return np.ascontiguousarray(rgb[:, ::-1])


def mirror_points(points: npt.NDArray[np.float32], width_px: float) -> npt.NDArray[np.float32]:
    """Five points of the mirrored picture, in the canonical order again (left and right change
    names)."""
    swapped = points[[1, 0, 2, 4, 3]].astype(np.float32)
    swapped[:, 0] = np.float32(width_px) - swapped[:, 0]
    return swapped


def luma(rgb: Pixels) -> npt.NDArray[np.float32]:
    """Brightness as ITU-R BT.601 weighs it, float32 (H, W), 0..255."""
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return np.asarray(rgb.astype(np.float32) @ weights, dtype=np.float32)
