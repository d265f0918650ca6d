"""Where a face-detail pass looks and how its crop goes back: geometry alone, no networks.

Notation
    rgb      one render                            uint8 (H, W, 3)
    box_px   the face, (x0, y0, x1, y1)            float, px, origin in the outer corner
    window   square around the face, whole pixels  (x0, y0, side), inside the picture
    crop     the window, enlarged                  uint8 (side_px, side_px, 3), the size that the base draws well
    mask     1 inside, falling to 0 over the outer eighth of the window: no seam   float32 (side, side, 1)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vultus.generation.records import Rgb
from vultus.images.geometry import resize

__all__ = ["CROP_SHARE", "FEATHER", "cut_window", "face_window", "paste_window"]

CROP_SHARE = 1.8
"""Side of the window in lengths of the face's longer side: hair and chin belong to it."""

FEATHER = 0.125
"""Share of the window over which the redrawn crop fades into the picture."""

Window = tuple[int, int, int]


def face_window(box_px: tuple[float, float, float, float], width: int, height: int) -> Window:
    """The square around a face, moved and cut so that it lies inside the picture."""
    x0, y0, x1, y1 = box_px
    side = min(round(CROP_SHARE * max(x1 - x0, y1 - y0, 8.0)), width, height)
    left = min(max(round((x0 + x1) / 2 - side / 2), 0), width - side)
    top = min(max(round((y0 + y1) / 2 - side / 2), 0), height - side)
    return left, top, side


def cut_window(rgb: Rgb, window: Window, side_px: int) -> Rgb:
    """The window at the size at which it is redrawn."""
    left, top, side = window
    return resize(np.ascontiguousarray(rgb[top : top + side, left : left + side]), side_px, side_px)


def paste_window(rgb: Rgb, crop: Rgb, window: Window) -> Rgb:
    """The picture with the redrawn window in it, its edges faded; outside the window no pixel changes."""
    left, top, side = window
    small = resize(crop, side, side).astype(np.float32)
    out = rgb.copy()
    there = out[top : top + side, left : left + side]
    mask = _mask(side)
    out[top : top + side, left : left + side] = np.round(small * mask + there * (1.0 - mask))
    return out


def _mask(side: int) -> npt.NDArray[np.float32]:
    """A cosine ramp on all four edges."""
    reach = max(1.0, side * FEATHER)
    edge = np.minimum(np.arange(side) + 0.5, side - 0.5 - np.arange(side))
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.clip(edge / reach, 0.0, 1.0))
    return np.asarray((ramp[:, None] * ramp[None, :])[:, :, None], dtype=np.float32)
