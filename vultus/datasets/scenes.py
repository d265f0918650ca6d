"""What surrounds the face: light, background, outfit, mouth, and bars at the edges of the picture.

Notation
    rgb         uint8 (H, W, 3), upright
    box_px      face box (x0, y0, x1, y1)
    palette     share of the pixels of a region per colour cell, square root taken   float32 (64,), unit length, or
                zeros where the region is not to be seen;
                4 x 4 x 4 soft cells of sRGB; the dot product of two is their Bhattacharyya coefficient, 0..1
    level       mean brightness of the face, 0..1
    side        (left - right) / (left + right) brightness of the face's halves; > 0: light from the picture's left
    warmth      ln(mean red / mean blue) of the face
    mouth       mouth width / eye distance; a smile widens it. Both shrink alike when the head turns
    bars_px     rows or columns of one colour at (left, top, right, bottom)

The regions are cut by the face box alone (a body is about three faces wide and starts below the chin), so they are
rough: enough to see that thirty pictures share one wall or one shirt, not to cut anything out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus.faces.align import align
from vultus.faces.records import Points
from vultus.images.geometry import fit_within, luma
from vultus.images.records import Rgb

Palette = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]

WORKING_PX = 256
FACE_PX = 48
# Eyes, nose, mouth corners of an upright face in a square of FACE_PX: the ArcFace template, scaled.
FACE_TEMPLATE_PX = (
    np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]]) * FACE_PX / 112
)
MIN_PIXELS = 40
"""A close-up shows no outfit: fewer pixels of a region, at working size, say nothing."""
BAR_LEVELS = 6.0
"""A row belongs to a bar when its colours differ by less than this (standard deviation, grey levels)."""
BAR_JUMP_LEVELS = 12.0
BAR_MAX_SHARE = 0.35


@dataclass(frozen=True, eq=False)
class Scene:
    """What was measured around and on one face."""

    level: float
    side: float
    warmth: float
    mouth: float
    background: Palette
    outfit: Palette


def read_scene(rgb: Rgb, box_px: Box, points_px: Points) -> Scene:
    """Measure light, mouth, background and outfit of one picture with one chosen face."""
    face = align(rgb, points_px, FACE_TEMPLATE_PX, FACE_PX, origin="centre", fill=0).astype(
        np.float32
    )
    # Cheeks, nose and forehead: hair at the rim of the square says nothing about light.
    inner = face[FACE_PX // 5 : -FACE_PX // 8, FACE_PX // 5 : -FACE_PX // 5]
    grey = luma(inner.astype(np.uint8))
    half = grey.shape[1] // 2
    left, right = float(grey[:, :half].mean()), float(grey[:, -half:].mean())
    red, blue = float(inner[..., 0].mean()), float(inner[..., 2].mean())
    small, frame = fit_within(rgb, WORKING_PX)
    scale = frame.scale_x
    box = (box_px[0] * scale, box_px[1] * scale, box_px[2] * scale, box_px[3] * scale)
    background, outfit = _regions(small.shape[0], small.shape[1], box)
    return Scene(
        level=(left + right) / 510.0,
        side=(left - right) / max(left + right, 1.0),
        warmth=float(np.log((red + 1.0) / (blue + 1.0))),
        mouth=mouth_width(points_px),
        background=palette(small[background]),
        outfit=palette(small[outfit]),
    )


def mouth_width(points_px: Points) -> float:
    """Mouth width over eye distance; near profile it is noise."""
    eyes = float(np.hypot(*(points_px[1] - points_px[0]).astype(np.float64)))
    mouth = float(np.hypot(*(points_px[4] - points_px[3]).astype(np.float64)))
    return mouth / max(eyes, 1e-6)


def palette(pixels: npt.NDArray[np.uint8]) -> Palette:
    """Colour cells of pixels (n, 3); zeros where fewer than MIN_PIXELS are to be seen.

    Each pixel is shared between neighbouring cells by distance: a shirt at the edge of a cell would otherwise be
    another shirt as soon as a cloud passes.
    """
    if len(pixels) < MIN_PIXELS:
        return np.zeros(64, dtype=np.float32)
    place = np.clip(pixels.astype(np.float32) / 64.0 - 0.5, 0.0, 3.0)
    low = np.minimum(place.astype(np.int64), 2)
    share = place - low
    counts = np.zeros(64)
    for corner in np.ndindex(2, 2, 2):
        cells = (low + np.array(corner)) @ np.array([16, 4, 1])
        weights = np.where(np.array(corner), share, 1.0 - share).prod(axis=1)
        counts += np.bincount(cells, weights=weights, minlength=64)
    return np.asarray(np.sqrt(counts / counts.sum()), dtype=np.float32)


def find_bars(rgb: Rgb) -> tuple[int, int, int, int]:
    """Bars of one colour at (left, top, right, bottom), px: letterboxes, frames, caption strips without text.

    A bar ends in a step: a plain studio wall that fades into the picture is none.
    """
    sides = (rgb.swapaxes(0, 1), rgb, rgb.swapaxes(0, 1)[::-1], rgb[::-1])
    left, top, right, bottom = (_bar(side) for side in sides)
    return left, top, right, bottom


def _bar(rows: npt.NDArray[np.uint8]) -> int:
    """How many first rows (n, m, 3) are of the colour of the first one, when a step ends them; else 0."""
    limit = int(len(rows) * BAR_MAX_SHARE)
    first = rows[0].astype(np.float32)
    if float(first.std(axis=0).max()) > BAR_LEVELS:
        return 0
    colour = first.mean(axis=0)
    for i in range(1, limit + 1):
        row = rows[i].astype(np.float32)
        away = np.abs(row - colour).max(axis=1)
        if float(np.sqrt((away**2).mean())) > BAR_LEVELS:
            # A share of the row must jump at once: a gradient drifts out of the colour instead.
            return i if float((away > BAR_JUMP_LEVELS).mean()) > 0.3 else 0
    return 0


def _regions(
    height: int, width: int, box: Box
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Masks (H, W) of the background and of the outfit."""
    x0, y0, x1, y1 = box
    face_w, face_h, centre = x1 - x0, y1 - y0, (x0 + x1) / 2
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + 0.5
    head = (np.abs(x - centre) < 1.0 * face_w) & (y > y0 - 0.7 * face_h) & (y < y1 + 0.3 * face_h)
    body = (np.abs(x - centre) < 1.6 * face_w) & (y >= y1 + 0.1 * face_h)
    outfit = (
        (np.abs(x - centre) < 0.7 * face_w) & (y >= y1 + 0.25 * face_h) & (y < y1 + 1.75 * face_h)
    )
    return ~(head | body), outfit


__all__ = ["BAR_LEVELS", "Palette", "Scene", "find_bars", "mouth_width", "palette", "read_scene"]
