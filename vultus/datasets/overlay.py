"""Whether two pictures that seem to be one shot really are: one is laid over the other and compared, tile by tile.

**Notation**
    small      brightness of the picture shrunk to SMALL_PX on its longer side     uint8 (h, w)
    matrix     carries a onto b, in pixels of the matcher's working copies          float64 (2, 3)
    overlap    share of each picture that the other one covers                      0..1
    tile       TILE_PX squared of the frame, its detail: brightness minus its blur  float32
    ncc        correlation of the detail of two tiles                               -1..1
    agreeing   share of the tiles with structure whose ncc is at least TILE_NCC     0..1
    moved      share of the tiles with structure that disagree here and agree a few pixels further on
    typical    median ncc of the tiles with structure, worst: their 10th percentile -1..1

Key points alone cannot tell a crop from another photograph of the same face: eyes match eyes. Laid over each other,
a copy agrees in fine detail wherever it overlaps; another photograph agrees on the face at most, or in coarse light
and dark only, which is why the blur is taken off first. Tiles, not the whole: a caption or a sticker then costs a few
tiles and not the verdict. Correlation of brightness ignores gain, offset and (nearly) hue, so recoloured copies agree.

The comparison happens in the frame of the picture that shows less (the crop), at a size where the other one is
not enlarged by more than 1.5: enlarged blur against sharp detail would disagree with itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vultus.images.geometry import Affine, fit_within, invert_affine, luma, warp
from vultus.images.records import Rgb

__all__ = ["SMALL_PX", "TILE_PX", "Grey", "Overlay", "lay_over", "shrink"]

SMALL_PX: Final = 256
TILE_PX: Final = 16
TILE_NCC: Final = 0.75
FLAT_LEVELS: Final = 2.0
BLUR_TILES: Final = 0.25
"""Sigma of the blur that is taken off, in tiles: coarser than features of a face, finer than its shading."""
REACH_PX: Final = 8
MOVED_NCC: Final = 0.85
MOST_ENLARGED: Final = 1.5
FEWEST_TILES: Final = 6

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Overlay:
    """How well two pictures agree where they overlap, over how many tiles with structure."""

    agreeing: float
    typical: float
    worst: float
    moved: float
    tiles: int
    overlap_a: float
    overlap_b: float


def shrink(rgb: Rgb) -> Grey:
    """The small copy that is laid over others."""
    small, _ = fit_within(rgb, SMALL_PX)
    return np.rint(luma(small)).astype(np.uint8)


def lay_over(a: Grey, b: Grey, matrix: Affine, working_a_px: int, working_b_px: int) -> Overlay:
    """Lay small copy a over small copy b by the matcher's map, whose working copies are so many pixels wide."""
    to_working = working_a_px / a.shape[1]
    from_working = b.shape[1] / working_b_px
    carried = np.column_stack(
        [from_working * matrix[:, :2] * to_working, from_working * matrix[:, 2]]
    )
    overlap_a, overlap_b = _overlaps(a, b, carried)
    if overlap_a > overlap_b:  # a shows less: compare in its frame
        moving, frame, onto = b, a, invert_affine(carried)
    else:
        moving, frame, onto = a, b, carried
    enlarged = float(np.sqrt(abs(np.linalg.det(onto[:, :2]))))
    k = min(1.0, max(MOST_ENLARGED / max(enlarged, 1e-6), 6.0 * TILE_PX / max(frame.shape)))
    width, height = max(TILE_PX, round(frame.shape[1] * k)), max(TILE_PX, round(frame.shape[0] * k))
    scale = np.diag([width / frame.shape[1], height / frame.shape[0]])
    here = _warped(frame, np.column_stack([scale, np.zeros(2)]), width, height)
    there = _warped(
        moving, np.column_stack([scale @ onto[:, :2], scale @ onto[:, 2]]), width, height
    )
    ones = _warped(
        np.full_like(moving, 255),
        np.column_stack([scale @ onto[:, :2], scale @ onto[:, 2]]),
        width,
        height,
    )
    fine, other = _detail(here), _detail(there)
    ncc, places = _tile_correlations(fine, other, ones > 254.0)
    if len(ncc) < FEWEST_TILES:
        return Overlay(0.0, 0.0, 0.0, 0.0, len(ncc), overlap_a, overlap_b)
    agreeing = float((ncc >= TILE_NCC).mean())
    worst, typical = (float(v) for v in np.quantile(ncc, (0.1, 0.5)))
    moved = _moved(fine, other, places[ncc < TILE_NCC]) / len(ncc)
    return Overlay(agreeing, typical, worst, moved, len(ncc), overlap_a, overlap_b)


def _overlaps(a: Grey, b: Grey, carried: Affine) -> tuple[float, float]:
    covered = _warped(np.full_like(a, 255), carried, b.shape[1], b.shape[0]) > 127.0
    area_a = float(abs(np.linalg.det(carried[:, :2])) * a.shape[0] * a.shape[1])
    return min(1.0, float(covered.sum()) / max(area_a, 1.0)), float(covered.mean())


def _warped(grey: Grey, matrix: Affine, width_px: int, height_px: int) -> Floats:
    """A warp that shrinks by area first where it shrinks by more than 2."""
    import cv2

    k = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if 0 < k < 0.5:
        size = max(8, round(grey.shape[1] * 2 * k)), max(8, round(grey.shape[0] * 2 * k))
        back = np.diag([grey.shape[1] / size[0], grey.shape[0] / size[1]])
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA))
        matrix = np.column_stack([matrix[:, :2] @ back, matrix[:, 2]])
    return warp(grey, matrix, width_px, height_px).astype(np.float32)


def _detail(grey: Floats) -> Floats:
    import cv2

    # One pixel of blur first: grain and JPEG's blocks are not what two copies have in common.
    fine = cv2.GaussianBlur(grey, (0, 0), 1.0)
    return np.asarray(
        fine - cv2.GaussianBlur(grey, (0, 0), BLUR_TILES * TILE_PX + 1.0), dtype=np.float32
    )


def _tile_correlations(
    a: Floats, b: Floats, covered: npt.NDArray[np.bool_]
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """NCC and place (top, left) of every tile that is covered whole and has structure in either picture."""
    x, y, whole = _tiles(a), _tiles(b), _tiles(covered.astype(np.float32)).min(axis=1) > 0
    step = TILE_PX // 2
    columns = (a.shape[1] - TILE_PX) // step + 1
    place = np.column_stack(np.divmod(np.arange(len(x)), columns)) * step
    x, y, place = x[whole], y[whole], place[whole]
    x = x - x.mean(axis=1, keepdims=True)
    y = y - y.mean(axis=1, keepdims=True)
    sx, sy = np.sqrt((x * x).mean(axis=1)), np.sqrt((y * y).mean(axis=1))
    # Two flat walls agree about nothing; structure in one of them only is a disagreement.
    told = np.maximum(sx, sy) >= FLAT_LEVELS
    ncc = (x * y).mean(axis=1) / np.maximum(sx * sy, 1e-3)
    return np.asarray(ncc[told], dtype=np.float32), place[told]


def _moved(a: Floats, b: Floats, places: npt.NDArray[np.int64]) -> int:
    """How many disagreeing tiles are found again a little further on: that is motion, and no edit.

    A caption, a sticker or a watermark hides what was there; a head that turned shows it elsewhere.
    """
    import cv2

    count = 0
    for top, left in places:
        tile = a[top : top + TILE_PX, left : left + TILE_PX]
        up, back = max(0, top - REACH_PX), max(0, left - REACH_PX)
        around = b[up : top + TILE_PX + REACH_PX, back : left + TILE_PX + REACH_PX]
        if tile.std() < FLAT_LEVELS or min(around.shape) < TILE_PX:
            continue
        found = cv2.matchTemplate(around, tile, cv2.TM_CCOEFF_NORMED)
        _, best, _, (x, y) = cv2.minMaxLoc(found)
        away = float(np.hypot(x - (left - back), y - (top - up)))
        count += best >= MOVED_NCC and away >= 1.0
    return count


def _tiles(grey: Floats) -> Floats:
    """(n_tiles, TILE_PX^2): half overlapping, so that a small crop has enough of them."""
    step = TILE_PX // 2
    windows = np.lib.stride_tricks.sliding_window_view(grey, (TILE_PX, TILE_PX))[::step, ::step]
    return np.ascontiguousarray(windows).reshape(-1, TILE_PX * TILE_PX)
