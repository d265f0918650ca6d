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
    strain     upper quartile of how far tiles that agree lie off the best affine map, px of the frame

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

from vultus.images.geometry import Affine, apply_affine, fit_within, invert_affine, luma, warp
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
HOPELESS: Final = 0.3
TOGETHER_PX: Final = 1.5
TWO_WAYS: Final = 0.1
MOST_ENLARGED: Final = 1.5
FEWEST_TILES: Final = 6

MOVE_AGAIN_PX: Final = 0.1
FLOW_PX: Final = 0.2
_CORNERS: Final = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
MOST_SETTLED_PX: Final = 4.0
FLOW_NCC: Final = 0.6
"""Tiles less alike than that say nothing about where they went."""

Grey = npt.NDArray[np.uint8]
Size = tuple[int, int]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Overlay:
    """How well two pictures agree where they overlap, over how many tiles with structure.

    `matrix` is the matcher's map, settled by brightness: as good as a tenth of a pixel of the small copies.
    """

    matrix: Affine

    agreeing: float
    typical: float
    worst: float
    moved: float
    strain: float
    tiles: int
    overlap_a: float
    overlap_b: float


@dataclass(frozen=True, eq=False)
class _Laid:
    """Two pictures in one frame: their detail (h, w), and which pixels both of them have."""

    fine: Floats
    other: Floats
    covered: npt.NDArray[np.bool_]


def shrink(rgb: Rgb) -> Grey:
    """The small copy that is laid over others."""
    small, _ = fit_within(rgb, SMALL_PX)
    return np.rint(luma(small)).astype(np.uint8)


def lay_over(a: Grey, b: Grey, matrix: Affine, working_a_px: Size, working_b_px: Size) -> Overlay:
    """Lay small copy a over small copy b by the matcher's map between working copies of these sizes (width, height)."""
    out = np.diag([b.shape[1] / working_b_px[0], b.shape[0] / working_b_px[1]])
    into = np.diag([working_a_px[0] / a.shape[1], working_a_px[1] / a.shape[0]])
    carried = np.column_stack([out @ matrix[:, :2] @ into, out @ matrix[:, 2]])
    overlap_a, overlap_b = _overlaps(a, b, carried)
    if overlap_a > overlap_b:  # a shows less: compare in its frame
        moving, frame, onto = b, a, invert_affine(carried)
    else:
        moving, frame, onto = a, b, carried
    enlarged = float(np.sqrt(abs(np.linalg.det(onto[:, :2]))))
    k = min(1.0, max(MOST_ENLARGED / max(enlarged, 1e-6), 6.0 * TILE_PX / max(frame.shape)))
    width, height = max(TILE_PX, round(frame.shape[1] * k)), max(TILE_PX, round(frame.shape[0] * k))
    scale = np.diag([width / frame.shape[1], height / frame.shape[0]])
    still = _warped(frame, np.column_stack([scale, np.zeros(2)]), width, height)
    onto = np.column_stack([scale @ onto[:, :2], scale @ onto[:, 2]])
    laid = _lay(_detail(still), moving, onto)
    ncc, places = _tile_correlations(laid.fine, laid.other, laid.covered)
    if len(ncc) < FEWEST_TILES or (ncc >= TILE_NCC).mean() < HOPELESS:
        # Nearly every pair of two photographs ends here: a map that is a few pixels off costs a copy less.
        return _unlike(matrix, ncc, overlap_a, overlap_b)
    flow = _flow(laid)
    if flow is not None and MOVE_AGAIN_PX <= flow.reach_px <= MOST_SETTLED_PX:
        onto = _less(onto, flow.matrix)
        laid = _lay(laid.fine, moving, onto)
        flow = _flow(laid)
        settled = _after(_scaled(np.linalg.inv(scale)), onto)
        settled = invert_affine(settled) if moving is b else settled
        matrix = _after(_scaled(np.linalg.inv(out)), _after(settled, _scaled(np.linalg.inv(into))))
        ncc, places = _tile_correlations(laid.fine, laid.other, laid.covered)
        if len(ncc) < FEWEST_TILES:
            return _unlike(matrix, ncc, overlap_a, overlap_b)
    agreeing = float((ncc >= TILE_NCC).mean())
    worst, typical = (float(v) for v in np.quantile(ncc, (0.1, 0.5)))
    moved = _moved(laid.fine, laid.other, places[ncc < TILE_NCC]) / len(ncc)
    strain = 0.0 if flow is None else flow.strain_px
    return Overlay(matrix, agreeing, typical, worst, moved, strain, len(ncc), overlap_a, overlap_b)


def _unlike(matrix: Affine, ncc: Floats, overlap_a: float, overlap_b: float) -> Overlay:
    return Overlay(matrix, 0.0, 0.0, 0.0, 0.0, 0.0, len(ncc), overlap_a, overlap_b)


def _scaled(linear: npt.NDArray[np.float64]) -> Affine:
    return np.column_stack([linear, np.zeros(2)])


def _after(second: Affine, first: Affine) -> Affine:
    """The map that does `first`, then `second`."""
    return np.column_stack([second[:, :2] @ first[:, :2], apply_affine(second, first[:, 2])])


def _lay(fine: Floats, moving: Grey, onto: Affine) -> _Laid:
    height, width = fine.shape
    covered = _warped(np.full_like(moving, 255), onto, width, height) > 254.0
    return _Laid(fine, _detail(_warped(moving, onto, width, height)), covered)


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
    x, y, place, whole = _paired_tiles(a, b, covered)
    sx, sy = np.sqrt((x * x).mean(axis=1)), np.sqrt((y * y).mean(axis=1))
    # Two flat walls agree about nothing; structure in one of them only is a disagreement.
    told = whole & (np.maximum(sx, sy) >= FLAT_LEVELS)
    ncc = (x * y).mean(axis=1) / np.maximum(sx * sy, 1e-3)
    return np.asarray(ncc[told], dtype=np.float32), place[told]


def _paired_tiles(
    a: Floats, b: Floats, covered: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Tiles of both without their means (n, TILE_PX^2), their places (top, left), and which are covered whole."""
    x, y, whole = _tiles(a), _tiles(b), _tiles(covered.astype(np.float32)).min(axis=1) > 0
    step = TILE_PX // 2
    columns = (a.shape[1] - TILE_PX) // step + 1
    place = np.column_stack(np.divmod(np.arange(len(x)), columns)) * step
    x -= x.mean(axis=1, keepdims=True)
    y -= y.mean(axis=1, keepdims=True)
    return x, y, place, whole


@dataclass(frozen=True, eq=False)
class _Flow:
    """How the second picture lies off the first: one affine part, and what is left of it tile by tile."""

    matrix: Affine
    reach_px: float
    strain_px: float


def _flow(laid: _Laid) -> _Flow | None:
    """Where the tiles that agree went, by brightness (Lucas and Kanade 1981), to a tenth of a pixel.

    A tile of edges tells its way across them only, so the map is fitted to those components, and the strain is what
    they keep: the upper quartile of their lengths. None where too few tiles agree.
    """
    import cv2

    size = np.array([laid.fine.shape[1], laid.fine.shape[0]], dtype=np.float64)
    both = 0.5 * (laid.fine + laid.other)
    x, y, places, whole = _paired_tiles(laid.fine, laid.other, laid.covered)
    sx, sy = x.std(axis=1), y.std(axis=1)
    ncc = (x * y).mean(axis=1) / np.maximum(sx * sy, 1e-3)
    tell = whole & (np.minimum(sx, sy) >= 0.5 * FLAT_LEVELS) & (np.maximum(sx, sy) >= FLAT_LEVELS)
    tell &= ncc >= FLOW_NCC
    if int(tell.sum()) < FEWEST_TILES:
        return None
    unit = (0.5 / sx[tell] + 0.5 / sy[tell])[:, None]
    gx = _tiles(cv2.Sobel(both, cv2.CV_32F, 1, 0, ksize=3) / 8.0)[tell] * unit
    gy = _tiles(cv2.Sobel(both, cv2.CV_32F, 0, 1, ksize=3) / 8.0)[tell] * unit
    differ = x[tell] / sx[tell, None] - y[tell] / sy[tell, None]
    xx, xy, yy = (gx * gx).sum(axis=1), (gx * gy).sum(axis=1), (gy * gy).sum(axis=1)
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    across = np.column_stack([np.cos(angle), np.sin(angle)])
    strength = np.maximum(0.5 * (xx + yy) + np.hypot(0.5 * (xx - yy), xy), 1e-6)
    way = (across * np.column_stack([(gx * differ).sum(axis=1), (gy * differ).sum(axis=1)])).sum(1)
    way /= strength
    # In shares of the frame from its middle, so that all six unknowns are of one size.
    middle = (places[tell][:, ::-1] + 0.5 * TILE_PX) / size - 0.5
    terms = np.column_stack([np.ones(len(middle)), middle])
    design = np.concatenate([across[:, :1] * terms, across[:, 1:] * terms], axis=1)
    weight = np.ones(len(way))
    for _ in range(4):
        pull = weight * np.sqrt(strength)
        found = np.linalg.lstsq(design * pull[:, None], way * pull, rcond=None)[0]
        left = way - design @ found
        weight = 1.0 / (1.0 + (left / FLOW_PX) ** 2)
    rows = found.reshape(2, 3)
    linear = rows[:, 1:] / size
    shift = rows[:, 0] - 0.5 * rows[:, 1:].sum(axis=1)
    matrix = np.column_stack([linear, shift])
    reach = float(np.abs(apply_affine(matrix, _CORNERS * size)).max())
    return _Flow(matrix, reach, float(np.quantile(np.abs(left), 0.75)))


def _less(onto: Affine, off: Affine) -> Affine:
    """The map that lands where `onto` does, taken back by the displacement `off` of that place."""
    return np.column_stack(
        [onto[:, :2] - off[:, :2] @ onto[:, :2], onto[:, 2] - apply_affine(off, onto[:, 2])]
    )


def _moved(a: Floats, b: Floats, places: npt.NDArray[np.int64]) -> int:
    """How many disagreeing tiles are found again a little further on, together with a neighbour: that is motion.

    A caption, a sticker or a watermark hides what was there; a head that turned shows it elsewhere. Straight edges
    are found along every other straight edge (a caption's bar), so that only tiles with structure both ways tell.
    """
    import cv2

    found: list[tuple[int, int, float, float]] = []
    for top, left in places[_two_way(a, places)]:
        tile = a[top : top + TILE_PX, left : left + TILE_PX]
        up, back = max(0, top - REACH_PX), max(0, left - REACH_PX)
        around = b[up : top + TILE_PX + REACH_PX, back : left + TILE_PX + REACH_PX]
        fits = cv2.matchTemplate(around, tile, cv2.TM_CCOEFF_NORMED)
        _, best, _, (x, y) = cv2.minMaxLoc(fits)
        dx, dy = float(x - (left - back)), float(y - (top - up))
        if best >= MOVED_NCC and np.hypot(dx, dy) >= 1.0:
            found.append((int(top), int(left), dx, dy))
    if not found:
        return 0
    rows = np.array(found)
    near = np.abs(rows[:, None, :2] - rows[None, :, :2]).max(axis=2) <= TILE_PX
    alike = np.hypot(*(rows[:, None, 2:] - rows[None, :, 2:]).transpose(2, 0, 1)) <= TOGETHER_PX
    return int(((near & alike).sum(axis=1) >= 2).sum())


def _two_way(a: Floats, places: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which tiles have structure, and in both directions: the weaker one at least a tenth of the stronger."""
    import cv2

    gx = cv2.Sobel(a, cv2.CV_32F, 1, 0, ksize=1)
    gy = cv2.Sobel(a, cv2.CV_32F, 0, 1, ksize=1)
    rows, columns = places[:, :1] + np.arange(TILE_PX), places[:, 1:] + np.arange(TILE_PX)
    spots = rows[:, :, None], columns[:, None, :]
    xx, xy, yy = ((one[spots]).sum(axis=(1, 2)) for one in (gx * gx, gx * gy, gy * gy))
    middle, reach = 0.5 * (xx + yy), np.hypot(0.5 * (xx - yy), xy)
    textured = a[spots].std(axis=(1, 2)) >= FLAT_LEVELS
    return np.asarray(textured & (middle - reach >= TWO_WAYS * (middle + reach)))


def _tiles(grey: Floats) -> Floats:
    """(n_tiles, TILE_PX^2): half overlapping, so that a small crop has enough of them."""
    step = TILE_PX // 2
    windows = np.lib.stride_tricks.sliding_window_view(grey, (TILE_PX, TILE_PX))[::step, ::step]
    return np.ascontiguousarray(windows).reshape(-1, TILE_PX * TILE_PX)
