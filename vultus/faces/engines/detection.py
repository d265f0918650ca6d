"""What every detector offers, and the two-pass median that frees landmarks from a face's size.

**Notation**
    s        size of a face                longer side of its box, px
    points   five points of one face       float32 (5, 2), px of the picture
    spread   mean distance of the points of all scales from their median, px of the picture

Why two passes: on pictures whose long side is 960 px a single pass loses 4 points of EER against
the same recogniser on landmarks measured at the size the detector was trained for (reference
"faces", section 4). So a face found in the whole picture is cut out and measured again at three
sizes; each size also mirrored; the median of each coordinate wins, and the disagreement of the
six is a free measure of how well the face can be aligned at all. Mirrored votes cost as much as
they bring unless the crop is tight: 2.0 face sizes instead of the reference's 2.8 pay for them (EER
on 300 photographs 0.81 % with three votes of 2.8, 0.75 % with six of 2.0, at the same price).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from vultus.faces.pack_spec import POINT_NAMES, DetectorSpec
from vultus.faces.records import Face, Points, Rgb
from vultus.images.geometry import (
    Frame,
    crop_square,
    fit_within,
    mirror,
    mirror_points,
    resize,
)

__all__ = [
    "Detector",
    "SinglePass",
    "TwoPass",
    "box_of",
    "drop_overlaps",
    "median_points",
    "to_picture",
]

FIRST_PASS_PX: Final = 640
SECOND_PASS_FACE_PX: Final = (80, 112, 160)
CROP_SHARE: Final = 2.0
MIN_CROP_PX: Final = 64
TINY_SIDE_PX: Final = 300
TINY_PAD_PX: Final = 90
RESCUE_PAD_SHARE: Final = 0.25
RESCUE_PASS_PX: Final = 1280
SECOND_PASS_MIN_SCORE: Final = 0.3


class Detector(Protocol):
    """Finds faces in pictures and measures the chosen one again."""

    def prepare(self, rgb: Rgb) -> tuple[Rgb, Frame]:
        """The picture as every net should see it, and where the given one lies in it."""

    def find_many(self, pictures: Sequence[Rgb]) -> list[list[Face]]:
        """Faces of each prepared picture, largest first."""

    def refine_many(self, faces: Sequence[tuple[Rgb, Face]]) -> list[tuple[Face, float]]:
        """Each face with better points, and the spread of the measurements."""


class SinglePass(Protocol):
    """One look of a detector at one picture, as it is."""

    def detect(self, rgb: Rgb, min_score: float) -> list[Face]:
        """Faces at or above the score, coordinates of this picture."""


class TwoPass:
    """First pass at the pack's sizes, rescue for tiny and frame-filling faces, second pass by
    median."""

    def __init__(self, look: SinglePass, spec: DetectorSpec) -> None:
        self._look = look
        self._spec = spec
        self._order = [spec.landmark_order.index(name) for name in POINT_NAMES]

    def prepare(self, rgb: Rgb) -> tuple[Rgb, Frame]:
        """See `Detector`. Tiny pictures are enlarged and get an edge; so do all nets see them.

        With a first pass of 0 the detector fits pictures itself and sees them as they are.
        """
        height, width = rgb.shape[:2]
        if min(height, width) >= TINY_SIDE_PX or 0 in self._spec.first_pass_px:
            return rgb, Frame(1.0, 1.0, 0.0, 0.0)
        return _padded(rgb, TINY_SIDE_PX / min(height, width), TINY_PAD_PX)

    def find_many(self, pictures: Sequence[Rgb]) -> list[list[Face]]:
        """See `Detector`."""
        return [self._find(rgb) for rgb in pictures]

    def refine_many(self, faces: Sequence[tuple[Rgb, Face]]) -> list[tuple[Face, float]]:
        """See `Detector`. With `two_pass` off in the pack: as found, spread 0."""
        again = self._spec.two_pass
        return [self._refine(rgb, face) if again else (face, 0.0) for rgb, face in faces]

    def _find(self, rgb: Rgb) -> list[Face]:
        height, width = rgb.shape[:2]
        long_px = max(height, width)
        found = self._first_pass(rgb)
        if not found:
            # A face that fills the frame or touches its edge has no context: give it some.
            k = min(1.0, FIRST_PASS_PX / long_px)
            found = self._find_in(*_padded(rgb, k, round(RESCUE_PAD_SHARE * k * long_px)))
        if not found and long_px <= FIRST_PASS_PX:
            found = self._find_in(*_padded(rgb, 2.0, 0))  # faces too small for the detector's grid
        if not found and long_px > FIRST_PASS_PX:
            found = self._look_at(rgb, RESCUE_PASS_PX)  # the same in a large picture
        return sorted(found, key=lambda face: -face.size_px)

    def _first_pass(self, rgb: Rgb) -> list[Face]:
        found: list[Face] = []
        for long_px in self._spec.first_pass_px:
            found += self._look_at(rgb, long_px or max(rgb.shape[:2]))
            if found and max(rgb.shape[:2]) <= long_px:
                break
        return drop_overlaps(found)

    def _look_at(self, rgb: Rgb, long_side_px: int) -> list[Face]:
        small, frame = fit_within(rgb, long_side_px)
        return [to_picture(face, frame) for face in self._seen(small, self._spec.min_score)]

    def _find_in(self, framed: Rgb, frame: Frame) -> list[Face]:
        return [to_picture(face, frame) for face in self._first_pass(framed)]

    def _seen(self, rgb: Rgb, min_score: float) -> list[Face]:
        """What the detector sees, its points in our order."""
        seen = self._look.detect(rgb, min_score)
        return [Face(face.box_px, face.points_px[self._order], face.score) for face in seen]

    def _refine(self, rgb: Rgb, face: Face) -> tuple[Face, float]:
        x0, y0, x1, y1 = face.box_px
        centre = ((x0 + x1) / 2, (y0 + y1) / 2)
        seen: list[Points] = []
        sizes = 0
        for size in SECOND_PASS_FACE_PX:
            side = CROP_SHARE * face.size_px
            out_px = max(MIN_CROP_PX, round(CROP_SHARE * size))
            crop, frame = crop_square(rgb, centre, side, out_px)
            votes = [frame.to_picture(five).astype(np.float32) for five in self._votes(crop)]
            seen += votes
            sizes += bool(votes)
        if not seen:
            return face, face.size_px  # nobody agrees: as uncertain as the face is large
        points, spread = median_points(np.stack(seen))
        if sizes == 1:  # one size agrees with itself: ask the first pass
            first = float(np.linalg.norm(points - face.points_px, axis=1).mean())
            spread = max(spread, first)
        return Face(face.box_px, points, face.score), spread

    def _votes(self, crop: Rgb) -> list[Points]:
        """The points of the face in the middle of a crop, seen as it is and mirrored."""
        side_px = crop.shape[0]
        plain = _most_central(self._seen(crop, SECOND_PASS_MIN_SCORE), side_px)
        other = _most_central(self._seen(mirror(crop), SECOND_PASS_MIN_SCORE), side_px)
        votes = [] if plain is None else [plain.points_px]
        return votes if other is None else [*votes, mirror_points(other.points_px, side_px)]


def median_points(seen: npt.NDArray[np.float32]) -> tuple[Points, float]:
    """Per-coordinate median of (n, 5, 2), and the mean distance from it."""
    middle = np.median(seen.astype(np.float64), axis=0)
    spread = float(np.linalg.norm(seen - middle, axis=2).mean())
    return middle.astype(np.float32), spread


def drop_overlaps(faces: Sequence[Face], share: float = 0.5) -> list[Face]:
    """Best score first; a box that shares more than this part of the smaller area with a kept one
    goes."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda f: -f.score):
        if all(_shared(face, other) <= share for other in kept):
            kept.append(face)
    return kept


def box_of(points: Points, factor: float) -> tuple[float, float, float, float]:
    """A square box around five points, `factor` times their longer extent."""
    low, high = points.min(axis=0), points.max(axis=0)
    x, y = (float(v) for v in (low + high) / 2)
    half = float((high - low).max()) * factor / 2
    return (x - half, y - half, x + half, y + half)


def _shared(a: Face, b: Face) -> float:
    width = min(a.box_px[2], b.box_px[2]) - max(a.box_px[0], b.box_px[0])
    height = min(a.box_px[3], b.box_px[3]) - max(a.box_px[1], b.box_px[1])
    smaller = min((f.box_px[2] - f.box_px[0]) * (f.box_px[3] - f.box_px[1]) for f in (a, b))
    return max(0.0, width) * max(0.0, height) / max(smaller, 1e-9)


def _most_central(faces: Sequence[Face], side_px: int) -> Face | None:
    """The face nearest to the middle of a crop, a confident one preferred (0.1 crop sides per unit
    of score)."""

    def distance(face: Face) -> float:
        x = (face.box_px[0] + face.box_px[2]) / 2 - side_px / 2
        y = (face.box_px[1] + face.box_px[3]) / 2 - side_px / 2
        return abs(x) + abs(y) - 0.1 * side_px * face.score

    return min(faces, key=distance, default=None)


def _padded(rgb: Rgb, k: float, pad_px: int) -> tuple[Rgb, Frame]:
    """The picture scaled by k with an edge of repeated pixels."""
    height, width = rgb.shape[:2]
    new_width, new_height = max(1, round(width * k)), max(1, round(height * k))
    edge = ((pad_px, pad_px), (pad_px, pad_px), (0, 0))
    big = np.pad(resize(rgb, new_width, new_height), edge, mode="edge")
    frame = Frame(new_width / width, new_height / height, float(pad_px), float(pad_px))
    return np.ascontiguousarray(big), frame


def to_picture(face: Face, frame: Frame) -> Face:
    """A face of a framed copy in the coordinates of the picture."""
    corners = frame.to_picture(np.array(face.box_px).reshape(2, 2)).reshape(4)
    x0, y0, x1, y1 = (float(v) for v in corners)
    return Face((x0, y0, x1, y1), frame.to_picture(face.points_px).astype(np.float32), face.score)
