"""Whether two pictures show the same shot, even cropped, mirrored, framed or recoloured.

**Notation**
    key points    SIFT, RootSIFT descriptors     points float32 (n, 2) px of the working copy from its
                                                 corner, descriptors (n, 128)
    A             affine map a -> b              float64 (2, 3), px of the working copies
    cells         evidence                       distinct 8 x 8 px cells of b's working copy that
                                                 inliers of A hit
Recipe and cuts as measured in reference "curation", 3.2 (28-31 edits of 76 photographs of people,
2,849 pairs of different ones): at >= 20 cells 97.6 % of edited copies are found without a false
pair. Cells, not inliers, are counted, because forty inliers on one printed eye are one piece of
evidence.

Trap: eyes and mouths of *different* photographs of one person reach 17 cells. In a set of one
persona, ask `cells_outside` the face as well before calling two pictures one shot.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from vultus.images.geometry import Affine, Frame, apply_affine, luma, resize
from vultus.images.records import Rgb

__all__ = [
    "SAME_SHOT_CELLS",
    "Features",
    "Match",
    "cells_outside",
    "extract",
    "match",
    "mirrored_descriptors",
]

SAME_SHOT_CELLS: Final = 20
WORKING_SIDE_PX: Final = 400
N_FEATURES: Final = 600
CELL_PX: Final = 8
_CONTRAST: Final = 0.015
_RATIO: Final = 0.8
_RANSAC_PX: Final = 4.0
TIGHT_PX: Final = 1.5
_RANSAC_ROUNDS: Final = 1000
_MIN_INLIERS: Final = 6
_MAX_ANISOTROPY: Final = 2.2
_SCALES: Final = (0.15, 6.0)

_MIRROR: Final = np.array(
    [(3 - r) * 32 + c * 8 + (-o) % 8 for r in range(4) for c in range(4) for o in range(8)]
)

Keys = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Features:
    """What matching needs of one picture: its key points, strongest first, and their descriptors."""

    points: Keys
    descriptors: Keys
    frame: Frame
    width_px: int
    height_px: int

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the working copy."""
        return self.width_px, self.height_px

    @property
    def mirrored_points(self) -> Keys:
        """Where the key points lie in the left-right mirrored working copy."""
        turned = self.points.copy()
        turned[:, 0] = self.width_px - turned[:, 0]
        return turned


@dataclass(frozen=True, eq=False)
class Match:
    """Evidence that b is a copy of a. `points_px` are the inliers in b's own pixels, `matrix`
    carries a onto b (px of the working copies).

    `tight` is the share of all pairs of key points that the map puts within TIGHT_PX of each other,
    `drift_px` the median distance of those within RANSAC's reach, in px of the coarser picture.
    """

    cells: int
    mirrored: bool
    points_px: npt.NDArray[np.float64]
    matrix: Affine | None
    tight: float = 0.0
    drift_px: float = 0.0


def extract(rgb: Rgb) -> Features:
    """Key points of a picture; 30-50 ms at one thread. Small pictures are enlarged: SIFT needs
    room."""
    height, width = rgb.shape[:2]
    k = WORKING_SIDE_PX / max(height, width)
    new_width, new_height = max(16, round(width * k)), max(16, round(height * k))
    points, descriptors = _sift(resize(rgb, new_width, new_height))
    frame = Frame(new_width / width, new_height / height, 0.0, 0.0)
    return Features(points, descriptors, frame, new_width, new_height)


def mirrored_descriptors(descriptors: Keys) -> Keys:
    """The descriptors that the mirrored picture would have: a permutation, so SIFT runs once.

    Mirroring turns the gradients about the key point's own direction: the rows of the 4 x 4 grid
    swap and the eight directions run the other way round (129 of 153 key points of a photograph
    agree with those of its mirror image to a cosine of 0.998).
    """
    return np.ascontiguousarray(descriptors[:, _MIRROR])


def match(a: Features, b: Features, fewest: int = _MIN_INLIERS) -> Match:
    """The better of plain and mirrored; 5-20 ms.

    Pictures of which fewer than `fewest` key points choose each other are not looked at further:
    no map can reach that many cells. Which is called the copy matters little.
    """
    nothing = Match(0, False, np.zeros((0, 2)), None)
    if min(len(a.points), len(b.points)) < _MIN_INLIERS:
        return nothing
    best = nothing
    for mirrored in (False, True):
        descriptors = mirrored_descriptors(a.descriptors) if mirrored else a.descriptors
        pairs = _mutual(descriptors, b.descriptors)
        if len(pairs) >= max(fewest, _MIN_INLIERS, best.cells):
            points = a.mirrored_points if mirrored else a.points
            found = _verify(points[pairs[:, 0]], b.points[pairs[:, 1]], b, mirrored=mirrored)
            best = found if found.cells > best.cells else best
    if best.mirrored and best.matrix is not None:
        flip = np.array([[-1.0, 0.0, float(a.width_px)], [0.0, 1.0, 0.0]])
        best = replace(best, matrix=_after(best.matrix, flip))
    return best


def cells_outside(found: Match, b: Features, box_px: tuple[float, float, float, float]) -> int:
    """Evidence that does not lie on the face: cells of inliers outside this box of b."""
    x, y = found.points_px[:, 0], found.points_px[:, 1]
    inside = (x >= box_px[0]) & (x < box_px[2]) & (y >= box_px[1]) & (y < box_px[3])
    return _cells(b.frame.to_frame(found.points_px[~inside]))


def _sift(rgb: Rgb) -> tuple[Keys, Keys]:
    """Points (n, 2) and RootSIFT rows (n, 128) of unit length, strongest response first."""
    import cv2

    finder = cv2.SIFT_create(nfeatures=N_FEATURES, contrastThreshold=_CONTRAST)  # type: ignore[attr-defined]
    keys, descriptors = finder.detectAndCompute(np.rint(luma(rgb)).astype(np.uint8), None)
    if descriptors is None or not len(keys):
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    order = np.argsort([-k.response for k in keys], kind="stable")[:N_FEATURES]
    share = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-7)
    # OpenCV counts from the middle of the first pixel, maps of pictures from its corner.
    points = np.array([k.pt for k in keys], dtype=np.float32) + np.float32(0.5)
    return points[order], np.sqrt(share).astype(np.float32)[order]


def _verify(source: Keys, target: Keys, b: Features, *, mirrored: bool) -> Match:
    """RANSAC over pairs of points, sanity of the map, cells."""
    import cv2

    nothing = Match(0, mirrored, np.zeros((0, 2)), None)
    matrix, inliers = cv2.estimateAffine2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=_RANSAC_PX, maxIters=_RANSAC_ROUNDS
    )
    if matrix is None or inliers is None or np.asarray(inliers).sum() < _MIN_INLIERS:
        return nothing
    matrix = _refined(np.asarray(matrix, dtype=np.float64), source, target)
    stretch = np.linalg.svd(matrix[:, :2], compute_uv=False)
    anisotropy = float(stretch[0] / max(float(stretch[1]), 1e-9))
    scale = float(np.sqrt(stretch[0] * stretch[1]))
    # A negative determinant would be a mirror inside a mirror: no edit makes that.
    sane = anisotropy <= _MAX_ANISOTROPY and _SCALES[0] <= scale <= _SCALES[1]
    if not sane or np.linalg.det(matrix[:, :2]) <= 0:
        return nothing
    # Where b is the larger one, its pixels are finer than what a can tell.
    away = np.linalg.norm(apply_affine(matrix, source) - target, axis=1) / max(1.0, scale)
    kept = away * max(1.0, scale) < _RANSAC_PX
    if kept.sum() < _MIN_INLIERS:
        return nothing
    hit = target[kept]
    drift = float(np.median(away[kept]))
    tight = float((away < TIGHT_PX).mean())
    return Match(_cells(hit), mirrored, b.frame.to_picture(hit), matrix, tight, drift)


def _refined(matrix: Affine, source: Keys, target: Keys) -> Affine:
    """Least squares over the points that agree best: RANSAC's own map is good to a pixel only."""
    ones = np.column_stack([source, np.ones(len(source))]).astype(np.float64)
    for reach in (_RANSAC_PX, 0.5 * _RANSAC_PX):
        away = np.linalg.norm(apply_affine(matrix, source) - target, axis=1)
        near = away < reach
        if near.sum() < 2 * _MIN_INLIERS:
            break
        found = np.linalg.lstsq(ones[near], target[near].astype(np.float64), rcond=None)[0].T
        if not np.isfinite(found).all():
            break
        matrix = found
    return matrix


def _mutual(a: Keys, b: Keys) -> npt.NDArray[np.int64]:
    """Index pairs (n, 2) that choose each other and pass the ratio test.

    Rows have unit length, so distance^2 = 2 - 2 cosine and the ratio test is one on 1 - cosine.
    """
    alike = a @ b.T
    rows = np.arange(len(a))
    first = alike.argmax(axis=1)
    best = alike[rows, first]
    alike[rows, first] = -1.0
    second = alike.max(axis=1)
    alike[rows, first] = best
    passes = np.flatnonzero(1.0 - best < _RATIO * _RATIO * (1.0 - second))
    # Only now the other way round: a search down the columns costs three times one along the rows.
    mutual = alike[:, first[passes]].argmax(axis=0) == passes
    return np.column_stack([passes[mutual], first[passes[mutual]]])


def _cells(points: npt.ArrayLike) -> int:
    cells = np.floor(np.asarray(points, dtype=np.float64) / CELL_PX).astype(np.int64)
    return len({(int(x), int(y)) for x, y in cells})


def _after(second: Affine, first: Affine) -> Affine:
    """The map that does `first`, then `second`."""
    return np.column_stack([second[:, :2] @ first[:, :2], apply_affine(second, first[:, 2])])
