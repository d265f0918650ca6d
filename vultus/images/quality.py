"""How sharp a picture, or the face in it, is.

**Notation**
    sharpness        0..1; 1 = every step between neighbours vanishes when the picture is blurred
                     once more, 0 = blurring changes nothing (the picture is already blurred, or
                     flat)
    laplacian_p90    grey levels squared; 90th percentile over 8 x 8 tiles of the Laplacian's
                     variance
Both look at the luma of the picture shrunk to at most WORKING_SIDE_PX, so a 12 MP photograph and
its web copy agree; pictures are never enlarged, so a 20 px face is judged by its own pixels.

`sharpness` compares a picture with a blurred copy of itself (Crete, Dolmiere, Ladret, Nicolas
2007, "The blur effect"), which cancels contrast and brightness. Noise counts as sharp.
`laplacian_p90` depends on contrast; it is here because a sharpness cut belongs to one exact
formula and this is the one that neighbours publish cuts for.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from vultus.core.errors import PictureError
from vultus.images.geometry import fit_within, luma
from vultus.images.records import Rgb

__all__ = ["WORKING_SIDE_PX", "laplacian_p90", "sharpness"]

WORKING_SIDE_PX: Final = 512
_BLUR_TAPS: Final = 9
_TILES: Final = 8


def sharpness(rgb: Rgb, box_px: tuple[float, float, float, float] | None = None) -> float:
    """Sharpness of the picture or of one box of it, 0..1. A box outside the picture is an error."""
    import cv2

    grey = _working(rgb, box_px)
    values = []
    for axis, size in ((0, (1, _BLUR_TAPS)), (1, (_BLUR_TAPS, 1))):
        blurred = np.asarray(cv2.blur(grey, size, borderType=cv2.BORDER_REPLICATE))
        steps = np.abs(np.diff(grey, axis=axis))
        lost = np.maximum(0.0, steps - np.abs(np.diff(blurred, axis=axis)))
        total = float(steps.sum(dtype=np.float64))
        values.append(float(lost.sum(dtype=np.float64)) / total if total > 0 else 0.0)
    return min(values)


def laplacian_p90(rgb: Rgb, box_px: tuple[float, float, float, float] | None = None) -> float:
    """90th percentile of the tile-wise variance of the 3 x 3 Laplacian, grey levels squared."""
    import cv2

    grey = _working(rgb, box_px)
    edges = np.asarray(cv2.Laplacian(grey, cv2.CV_32F, ksize=1), dtype=np.float64)
    rows = np.array_split(edges, min(_TILES, edges.shape[0]), axis=0)
    tiles = [t for row in rows for t in np.array_split(row, min(_TILES, row.shape[1]), axis=1)]
    return float(np.percentile([tile.var() for tile in tiles], 90))


def _working(rgb: Rgb, box_px: tuple[float, float, float, float] | None) -> npt.NDArray[np.float32]:
    """Luma of the picture or box at working size."""
    if box_px is not None:
        height, width = rgb.shape[:2]
        x0, y0 = max(0, int(np.floor(box_px[0]))), max(0, int(np.floor(box_px[1])))
        x1, y1 = min(width, int(np.ceil(box_px[2]))), min(height, int(np.ceil(box_px[3])))
        if x1 - x0 < 2 or y1 - y0 < 2:
            raise PictureError(
                f"the box {box_px} covers nothing of a picture of {width} x {height} px",
                expected="a box (x0, y0, x1, y1) inside the picture",
            )
        rgb = rgb[y0:y1, x0:x1]
    return luma(fit_within(rgb, WORKING_SIDE_PX)[0])
