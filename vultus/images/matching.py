"""Whether two pictures show the same shot, even cropped, mirrored, framed or recoloured.

**Notation**
    key points    SIFT, RootSIFT descriptors     points float32 (n, 2) px of the working copy,
                                                 descriptors (n, 128)
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

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vultus.images.geometry import Affine, Frame, apply_affine, luma, mirror, resize
from vultus.images.records import Rgb

__all__ = ["SAME_SHOT_CELLS", "Features", "Match", "cells_outside", "extract", "match"]

SAME_SHOT_CELLS: Final = 20
WORKING_SIDE_PX: Final = 400
N_FEATURES: Final = 600
CELL_PX: Final = 8
_RATIO: Final = 0.8
_RANSAC_PX: Final = 4.0
_RANSAC_ROUNDS: Final = 1000
_MIN_INLIERS: Final = 6
_MAX_ANISOTROPY: Final = 2.2
_SCALES: Final = (0.15, 6.0)

Keys = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Features:
    """What matching needs of one picture: key points of it and of its mirror image (SIFT does not
    mirror)."""

    points: Keys
    descriptors: Keys
    mirrored_points: Keys
    mirrored_descriptors: Keys
    frame: Frame
    width_px: int


@dataclass(frozen=True, eq=False)
class Match:
    """Evidence that b is a copy of a. `points_px` are the inliers in b's own pixels, `matrix`
    carries a onto b."""

    cells: int
    mirrored: bool
    points_px: npt.NDArray[np.float64]
    matrix: Affine | None


def extract(rgb: Rgb) -> Features:
    """Key points of a picture; 60-80 ms at one thread. Small pictures are enlarged: SIFT needs
    room."""
    height, width = rgb.shape[:2]
    k = WORKING_SIDE_PX / max(height, width)
    new_width, new_height = max(16, round(width * k)), max(16, round(height * k))
    small = resize(rgb, new_width, new_height)
    plain, mirrored = _sift(small), _sift(mirror(small))
    frame = Frame(new_width / width, new_height / height, 0.0, 0.0)
    return Features(*plain, *mirrored, frame=frame, width_px=new_width)


def match(a: Features, b: Features) -> Match:
    """The better of plain and mirrored; 13-30 ms. Which is called the copy matters little: try
    both when unsure."""
    plain = _verify(a.points, a.descriptors, b, mirrored=False)
    turned = _verify(a.mirrored_points, a.mirrored_descriptors, b, mirrored=True)
    best = plain if plain.cells >= turned.cells else turned
    if best.mirrored and best.matrix is not None:
        flip = np.array([[-1.0, 0.0, float(a.width_px)], [0.0, 1.0, 0.0]])
        best = Match(best.cells, True, best.points_px, _after(best.matrix, flip))
    return best


def cells_outside(found: Match, b: Features, box_px: tuple[float, float, float, float]) -> int:
    """Evidence that does not lie on the face: cells of inliers outside this box of b."""
    x, y = found.points_px[:, 0], found.points_px[:, 1]
    inside = (x >= box_px[0]) & (x < box_px[2]) & (y >= box_px[1]) & (y < box_px[3])
    return _cells(b.frame.to_frame(found.points_px[~inside]))


def _sift(rgb: Rgb) -> tuple[Keys, Keys]:
    import cv2

    finder = cv2.SIFT_create(nfeatures=N_FEATURES)  # type: ignore[attr-defined]
    keys, descriptors = finder.detectAndCompute(np.rint(luma(rgb)).astype(np.uint8), None)
    if descriptors is None or not len(keys):
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    share = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-7)
    return np.array([k.pt for k in keys], dtype=np.float32), np.sqrt(share).astype(np.float32)


def _verify(points: Keys, descriptors: Keys, b: Features, *, mirrored: bool) -> Match:
    """Mutual nearest neighbours, ratio test, RANSAC, sanity of the map, cells."""
    import cv2

    nothing = Match(0, mirrored, np.zeros((0, 2)), None)
    if len(descriptors) < _MIN_INLIERS or len(b.descriptors) < _MIN_INLIERS:
        return nothing
    pairs = _mutual(descriptors, b.descriptors)
    if len(pairs) < _MIN_INLIERS:
        return nothing
    source, target = points[pairs[:, 0]], b.points[pairs[:, 1]]
    matrix, inliers = cv2.estimateAffine2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=_RANSAC_PX, maxIters=_RANSAC_ROUNDS
    )
    if matrix is None or inliers is None:
        return nothing
    kept = np.asarray(inliers).reshape(-1).astype(bool)
    stretch = np.linalg.svd(np.asarray(matrix)[:, :2], compute_uv=False)
    anisotropy = float(stretch[0] / max(float(stretch[1]), 1e-9))
    scale = float(np.sqrt(stretch[0] * stretch[1]))
    if (
        kept.sum() < _MIN_INLIERS
        or anisotropy > _MAX_ANISOTROPY
        or not _SCALES[0] <= scale <= _SCALES[1]
    ):
        return nothing
    hit = target[kept]
    return Match(
        _cells(hit), mirrored, b.frame.to_picture(hit), np.asarray(matrix, dtype=np.float64)
    )


def _mutual(a: Keys, b: Keys) -> npt.NDArray[np.int64]:
    """Index pairs (n, 2) that choose each other and pass the ratio test. RootSIFT rows have unit
    length."""
    distance = np.sqrt(np.maximum(0.0, 2.0 - 2.0 * (a @ b.T)))
    order = np.argpartition(distance, 1, axis=1)[:, :2]
    near = np.take_along_axis(distance, order, axis=1)
    first = np.where(near[:, 0] <= near[:, 1], order[:, 0], order[:, 1])
    passes = near.min(axis=1) < _RATIO * near.max(axis=1)
    back = distance.argmin(axis=0)
    rows = np.flatnonzero(passes & (back[first] == np.arange(len(a))))
    return np.column_stack([rows, first[rows]])


def _cells(points: npt.ArrayLike) -> int:
    cells = np.floor(np.asarray(points, dtype=np.float64) / CELL_PX).astype(np.int64)
    return len({(int(x), int(y)) for x, y in cells})


def _after(second: Affine, first: Affine) -> Affine:
    """The map that does `first`, then `second`."""
    return np.column_stack([second[:, :2] @ first[:, :2], apply_affine(second, first[:, 2])])
