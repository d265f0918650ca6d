"""What may hide a face from a recogniser, as numbers read off the aligned face.

No network: three contrasts of the 112 px ArcFace square, whose content is the same for every
recogniser that InstantID or a score may use (1.46 eye distances above the eyes, 1.71 below, 1.6 to
each side: reference "curation", section 7). They are *risks* for a person to look at, not
classifications; what they are worth is measured (`make bench-faces`).

**Notation**
    y          luma of the aligned face          float32 (112, 112), 0..255, lightly blurred
    bridge     glasses                           (largest - smallest mean step between neighbouring
                                                 rows of the patch between the eyes) / mean luma of
                                                 the face: the bar of a frame is a dark line there,
                                                 skin is not
    forehead   hat, brim, fringe                 |mean luma of the forehead - of the cheeks| / mean
                                                 luma of the face, or the same of the colours
    lower      hand, scarf, mask, microphone     the same for the band between nose and chin; beards
                                                 raise it too
    outside    cut by the picture's edge         share of the square that no pixel of the picture fills
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vultus.faces.align import align, similarity_transform
from vultus.faces.records import Face, Rgb
from vultus.images.geometry import luma

__all__ = ["ARCFACE_PX", "Occlusion", "occlusion"]

ARCFACE_PX: Final = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
SIDE_PX: Final = 112

# Patches of the aligned square: (top, bottom, left, right), px.
_FACE: Final = (40, 90, 30, 82)
_BRIDGE: Final = (40, 64, 50, 62)
_FOREHEAD: Final = (10, 30, 38, 74)
_CHEEKS: Final = ((62, 78, 28, 40), (62, 78, 72, 84))
_LOWER: Final = (78, 106, 40, 72)


@dataclass(frozen=True)
class Occlusion:
    """The four numbers of one face; see the notation."""

    bridge: float
    forehead: float
    lower: float
    outside: float


def occlusion(rgb: Rgb, face: Face) -> Occlusion:
    """Reads them off the chosen face of a picture."""
    import cv2

    aligned = align(rgb, face.points_px, ARCFACE_PX, SIDE_PX)
    blurred = np.asarray(cv2.GaussianBlur(aligned, (3, 3), 0), dtype=np.uint8)
    y = luma(blurred)
    level = float(_patch(y, _FACE).mean()) + 10.0
    steps = _patch(np.diff(y, axis=0), _BRIDGE).mean(axis=1)
    colours = blurred.astype(np.float32)
    cheeks = np.mean([_patch(colours, part).mean(axis=(0, 1)) for part in _CHEEKS], axis=0)
    return Occlusion(
        bridge=float(steps.max() - steps.min()) / level,
        forehead=_apart(colours, _FOREHEAD, cheeks, level),
        lower=_apart(colours, _LOWER, cheeks, level),
        outside=_outside(rgb, face),
    )


def _patch(
    values: npt.NDArray[np.float32], part: tuple[int, int, int, int]
) -> npt.NDArray[np.float32]:
    top, bottom, left, right = part
    return values[top:bottom, left:right]


def _apart(
    colours: npt.NDArray[np.float32],
    part: tuple[int, int, int, int],
    cheeks: npt.NDArray[np.float32],
    level: float,
) -> float:
    """How far the colour of a patch is from the cheeks', as a share of the face's brightness."""
    mean = _patch(colours, part).mean(axis=(0, 1))
    return float(np.abs(mean - cheeks).max()) / level


def _outside(rgb: Rgb, face: Face) -> float:
    """Share of a 16 x 16 grid of the aligned square that lies outside the picture."""
    grid = (np.arange(16) + 0.5) * SIDE_PX / 16
    columns, rows = np.meshgrid(grid, grid)
    square = np.stack([columns.ravel(), rows.ravel()], axis=1)
    back = similarity_transform(np.array(ARCFACE_PX), face.points_px)
    at = square @ back[:, :2].T + back[:, 2]
    height, width = rgb.shape[:2]
    inside = (at[:, 0] >= 0) & (at[:, 0] < width) & (at[:, 1] >= 0) & (at[:, 1] < height)
    return float(1.0 - inside.mean())
