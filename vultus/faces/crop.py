"""Parts of a picture around a face, each with the truth about where it comes from.

**Notation**
    box_px     what was cut out       (x0, y0, x1, y1), px of the picture, half-open; for padded
                                      crops it may leave the picture
    s          size of the face       longer side of its box, px
    scale      out px / picture px    the same in both directions to rounding
SDXL is told how a picture was made: its original size, where the crop lies, and the size trained
at. `Crop.time_ids` says it truthfully: the crop's offset is counted in the picture as it was scaled
for this crop, as SDXL's training counted it. Two kinds of crops are kept apart. Training views never
leave the picture (black bars would be learnt): they shrink or move until they fit. Crops for a
recogniser or for InstantID are *padded* instead (a face cut tight is a face that detectors miss).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from vultus.core.errors import FaceError
from vultus.faces.records import Face, Rgb
from vultus.images.geometry import Frame, resize

__all__ = ["VIEWS", "Crop", "View", "crop_face", "cut_box", "pad_around"]

View = Literal["face", "head", "bust"]
Box = tuple[float, float, float, float]

# Sides of the view in face sizes; where the face's middle lies, from the top, as a share.
VIEWS: Final[dict[View, tuple[float, float]]] = {
    "face": (1.3, 0.50),
    "head": (2.0, 0.50),
    "bust": (3.6, 0.36),
}


@dataclass(frozen=True, eq=False)
class Crop:
    """A part of a picture at the size it will be used at."""

    rgb: Rgb
    view: str
    box_px: Box
    picture_size: tuple[int, int]
    """(width, height) of the upright picture it was cut from"""
    padded_share: float = 0.0
    """share of the crop's area that lies outside the picture and was filled"""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the crop."""
        return (int(self.rgb.shape[1]), int(self.rgb.shape[0]))

    @property
    def frame(self) -> Frame:
        """The map from the picture to the crop."""
        x0, y0, x1, y1 = self.box_px
        kx, ky = self.size[0] / (x1 - x0), self.size[1] / (y1 - y0)
        return Frame(kx, ky, -x0 * kx, -y0 * ky)

    def time_ids(self) -> tuple[int, int, int, int, int, int]:
        """SDXL's six numbers: original height, width; crop top, left; trained height, width (px).

        Raises FaceError for a padded crop: pixels that no picture had must not be trained on.
        """
        if self.padded_share > 0:
            raise FaceError(
                f"a {self.view} crop that leaves the picture is not a training view",
                expected="a crop without padding",
                next_command="cut it with pad=False",
            )
        frame = self.frame
        top, left = round(-frame.dy_px), round(-frame.dx_px)
        width, height = self.picture_size
        return (height, width, top, left, self.size[1], self.size[0])


def crop_face(
    rgb: Rgb,
    face: Face,
    view: View,
    size: tuple[int, int] | None = None,
    *,
    margin: float = 1.0,
    pad: bool = False,
) -> Crop:
    """The face, head or bust around a face.

    `size` is (width, height) of the result; without it the crop keeps the picture's pixels.
    `margin` widens or narrows the view (1 = as VIEWS says). Without `pad` the view is moved, then
    shrunk, until it lies inside the picture; with it, missing parts repeat the picture's edge.
    """
    share, middle = VIEWS[view]
    x0, y0, x1, y1 = face.box_px
    aspect = 1.0 if size is None else size[0] / size[1]
    height = share * margin * face.size_px
    width = height * aspect
    left = (x0 + x1) / 2 - width / 2
    top = (y0 + y1) / 2 - height * middle
    wanted = (left, top, left + width, top + height)
    box = wanted if pad else _inside(wanted, rgb.shape[1], rgb.shape[0])
    return cut_box(rgb, box, size, view=view)


def pad_around(rgb: Rgb, face: Face, margin_faces: float, side_px: int | None = None) -> Crop:
    """A square with at least `margin_faces` face sizes around the box on every side, padded where
    the picture ends."""
    return crop_face(
        rgb,
        face,
        "face",
        None if side_px is None else (side_px, side_px),
        margin=(1 + 2 * margin_faces) / VIEWS["face"][0],
        pad=True,
    )


def cut_box(rgb: Rgb, box_px: Box, size: tuple[int, int] | None = None, *, view: str) -> Crop:
    """Cuts a box to whole pixels of the picture and scales it; edge pixels repeat outside."""
    height, width = rgb.shape[:2]
    left, right = _whole(box_px[0], box_px[2], width)
    top, bottom = _whole(box_px[1], box_px[3], height)
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        raise FaceError(
            f"the box {(left, top, right, bottom)} lies outside the picture of {width} x {height} px",
            expected="a box that shares pixels with the picture",
        )
    inside = rgb[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    edges = (
        (max(0, -top), max(0, bottom - height)),
        (max(0, -left), max(0, right - width)),
        (0, 0),
    )
    whole = np.ascontiguousarray(np.pad(inside, edges, mode="edge"))
    area = (right - left) * (bottom - top)
    padded = 1.0 - inside.shape[0] * inside.shape[1] / area
    out = whole if size is None else resize(whole, *size)
    box = (float(left), float(top), float(right), float(bottom))
    return Crop(out, view, box, (width, height), padded)


def _whole(low: float, high: float, side: int) -> tuple[int, int]:
    """An extent in whole pixels: its length is rounded, not its ends, so that squares stay square;
    what lay inside the picture stays inside."""
    length = max(1, round(high - low))
    first = round(low)
    if low >= 0 and high <= side:
        length = min(length, side)
        first = min(max(first, 0), side - length)
    return first, first + length


def _inside(box: Box, width: int, height: int) -> Box:
    """The box moved, then shrunk with its shape kept, until it lies inside the picture."""
    x0, y0, x1, y1 = box
    k = min(1.0, width / (x1 - x0), height / (y1 - y0))
    half_w, half_h = k * (x1 - x0) / 2, k * (y1 - y0) / 2
    x = min(max((x0 + x1) / 2, half_w), width - half_w)
    y = min(max((y0 + y1) / 2, half_h), height - half_h)
    return (x - half_w, y - half_h, x + half_w, y + half_h)
