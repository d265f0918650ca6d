"""Whether two pictures are one shot, and of which of three honest classes: identical, edited copy, same-shot burst.

    bytes -> pixels -> key points, mirrored too (`images.matching`) -> laid over each other (`datasets.overlay`)

**Notation**
    cells       distinct 8-px cells with matched key points
    agreeing    share of the tiles with structure whose detail agrees when laid over each other    0..1
    typical     median correlation of their detail                                                  -1..1
    drift       median distance of matched points from where the map puts them, working px
    smear       drift x sqrt(cells): large when many points match well and yet do not fit
    strain      how far tiles that agree lie off the settled map, px of the small copies (`datasets.overlay`)

An *edited copy* is the same exposure: under one affine map its detail agrees nearly everywhere, to the accuracy of
key points. In a *burst* somebody breathed between two exposures: most of it agrees, some of it moved; two renders of
one starting noise (another checkpoint, another strength) are told as a burst too. Matches that
lie on the face only are neither, whatever their number: the tiles of the background then disagree, which is the
same-face guard (eyes match eyes in different photographs of one person).

Hash hits are not proof in a set of one person (serial studio shots come as near as 22 bits): they make a pair worth
laying over each other by the trivial map where key points are too few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from vultus.datasets.overlay import Overlay, lay_over
from vultus.datasets.prints import Print
from vultus.datasets.records import CurateSpec
from vultus.images.geometry import Affine, invert_affine
from vultus.images.hashing import LOW_QUALITY, hamming
from vultus.images.matching import Match, match

__all__ = ["RECIPE", "Kind", "Link", "compare", "same_file"]

Kind = Literal["identical", "edited", "burst"]
How = Literal["bytes", "pixels", "recoded", "mirrored", "cropped", "a moment later"]
RECIPE: Final = "links/3"
"""Raised when a comparison may come out differently."""

TIGHT: Final = 0.92
EXACT_PX: Final = 0.3
ALIGNED: Final = 0.004
SLACK: Final = 0.16
CORNER: Final = 0.006
ONE_SCALE: Final = 0.015
SMEAR: Final = 7.5
SETTLED_PX: Final = 0.25
STRAIN: Final = 0.18
UNSTRAINED: Final = 0.05
BURST_CELLS: Final = 30
MOVED: Final = 0.03
HASH_AGREEING: Final = 0.9
HASH_TYPICAL: Final = 0.95
WHOLE: Final = 0.97
"""A picture of which the other covers less than this holds more than the other: the other is a crop."""
CONTAINED: Final = 0.985
"""A crop lies inside its original; two exposures rarely contain each other."""


@dataclass(frozen=True, eq=False)
class Link:
    """Why two pictures a, b are one shot; `crop` says which of them (0, 1) shows less, if one does.

    `matrix` carries a onto b, in shares of each picture's longer side (so that it fits any size of either).
    """

    kind: Kind
    how: How
    evidence: str
    crop: int | None = None
    matrix: Affine | None = None

    def packed(self) -> list[Any]:
        """The link as JSON."""
        matrix = None if self.matrix is None else np.round(self.matrix, 7).tolist()
        return [self.kind, self.how, self.evidence, self.crop, matrix]

    @classmethod
    def unpacked(cls, row: Sequence[Any]) -> Link:
        """The inverse of `packed`."""
        kind, how, evidence, crop, matrix = row
        return cls(kind, how, evidence, crop, None if matrix is None else np.array(matrix))

    def onto(self, second_onto_first: bool) -> list[list[float]] | None:
        """The map of b onto a (or of a onto b) as JSON."""
        if self.matrix is None:
            return None
        matrix = invert_affine(self.matrix) if second_onto_first else self.matrix
        rows: list[list[float]] = np.round(matrix, 7).tolist()
        return rows


def same_file(a_id: str, a_pixels: str, b_id: str, b_pixels: str) -> Link | None:
    """The first stage: equal bytes, or equal decoded pixels in another file format."""
    if a_id == b_id:
        return Link("identical", "bytes", "the files are equal byte for byte")
    if a_pixels == b_pixels:
        return Link("identical", "pixels", "the decoded pixels are equal")
    return None


def compare(a: Print, b: Print, spec: CurateSpec) -> Link | None:
    """Compare two pictures by their prints; 5-25 ms. None: nothing says that they are one shot."""
    found = match(a.features, b.features, fewest=spec.match_cells)
    if found.matrix is None or found.cells < spec.match_cells:
        return _by_hash(a, b, spec)
    laid = lay_over(a.small, b.small, found.matrix, a.features.size_px, b.features.size_px)
    matrix = _shares(laid.matrix, a.features.size_px, b.features.size_px)
    kind = _class(found, laid, a, b)
    if kind is None:
        return None
    places = f"{found.cells} matched places, detail agrees in {laid.agreeing:.0%} of the overlap"
    if kind == "burst":
        return Link(
            "burst", "a moment later", f"one scene, and something moved ({places})", None, matrix
        )
    crop: int | None = None
    if min(laid.overlap_a, laid.overlap_b) < WHOLE:
        crop = 0 if laid.overlap_a > laid.overlap_b else 1
    if found.mirrored:
        return Link("edited", "mirrored", f"mirrored; {places}", crop, matrix)
    how: How = "recoded" if crop is None else "cropped"
    return Link("edited", how, places, crop, matrix)


@dataclass(frozen=True)
class _Geometry:
    """The map in pixels of the stored pictures: how far from what an editor does."""

    slant: float
    """largest entry off the axes (quarter turns allowed), scale 1: 0 for every edit but a free rotation"""
    stretch: float
    """|log| of the ratio of the two scales: 0 for every edit but a stretch"""
    corner: float
    """largest distance of a's corners to corners of b, share of b's longer side: 0 where the frame is the same"""


def _class(found: Match, laid: Overlay, a: Print, b: Print) -> Literal["edited", "burst"] | None:
    """The rule. Each way of being an edited copy leaves out what its kind of edit destroys.

    Measured on the tuning half of bench/curation (999 edited copies of 27 pictures: 993 are called so, the other six
    have no key points left; pairs of different photographs of one person, ORL, gyro and stand-in: none is). The
    closest of those: tight 0.87, corner 0.013, smear 9.4 where the scales agree; strain 0.32 where the frames do.
    """
    shape = _geometry(laid.matrix, a, b)
    # Few or coarse key points, or few pixels: the map itself is uncertain.
    coarsest = min(*a.small.shape, *b.small.shape)
    slack = max(SLACK * found.drift_px / found.cells, SETTLED_PX / coarsest)
    aligned = shape.slant <= ALIGNED + slack
    smear = found.drift_px * float(np.sqrt(found.cells))
    same_all_over = laid.agreeing >= 0.9 and laid.worst >= 0.8 and laid.typical >= 0.95
    if laid.moved >= MOVED:  # a head that turned, a mouth that opened: no edit does that
        return _burst(found, laid)
    # Exact to a fraction of a pixel: what is still there (around a caption, a sticker, a watermark) is the same.
    if _exact(found, laid) and laid.agreeing >= 0.3:
        return "edited"
    # Drawn again from one starting noise, or a moment later: parts agree, each a little off its place.
    if laid.strain > STRAIN:
        return _burst(found, laid)
    # Frame upon frame: recompressed, resized, recoloured, blurred, grainy.
    if (
        aligned
        and shape.corner <= CORNER + slack
        and laid.typical >= 0.9
        and laid.agreeing >= 0.7
        and laid.worst >= 0.45
    ):
        return "edited"
    # A crop lies inside its original, along its axes, to one scale. In a burst many points match and yet drift.
    inside = max(laid.overlap_a, laid.overlap_b) >= CONTAINED
    to_scale = shape.stretch <= ONE_SCALE + slack
    if aligned and to_scale and inside and same_all_over and smear <= SMEAR:
        return "edited"
    # Nobody is photographed twice in mirror image: a mirrored map that fits at all fits because it is a copy.
    near = shape.slant <= 0.03 + slack and shape.stretch <= 0.05 + slack
    if found.mirrored and near and inside and same_all_over:
        return "edited"
    # Turned by any angle: then it must agree everywhere, and exactly.
    exactly = smear <= SMEAR and found.drift_px <= 2 * EXACT_PX and shape.stretch <= 0.01
    if exactly and laid.agreeing >= 0.95 and laid.worst >= 0.9:
        return "edited"
    return _burst(found, laid)


def _exact(found: Match, laid: Overlay) -> bool:
    """Key points that fit as well as those of two photographs never do (tuning half: tight <= 0.89, drift >= 0.52)."""
    if found.tight >= TIGHT:
        return found.drift_px <= EXACT_PX or (laid.agreeing >= 0.95 and laid.strain <= UNSTRAINED)
    return found.tight >= 0.8 and found.drift_px <= 0.4 * EXACT_PX


def _burst(found: Match, laid: Overlay) -> Literal["burst"] | None:
    overlap = min(laid.overlap_a, laid.overlap_b)
    alike = laid.agreeing >= 0.75 and laid.typical >= 0.9 and overlap >= 0.75
    return "burst" if alike and not found.mirrored and found.cells >= BURST_CELLS else None


def _geometry(matrix: Affine, a: Print, b: Print) -> _Geometry:
    frame_a, frame_b = a.features.frame, b.features.frame
    into = np.diag([frame_a.scale_x, frame_a.scale_y])
    out = np.diag([1.0 / frame_b.scale_x, 1.0 / frame_b.scale_y])
    linear, shift = out @ matrix[:, :2] @ into, out @ matrix[:, 2]
    corners_a, corners_b = _corners(a), _corners(b)
    away = np.linalg.norm((corners_a @ linear.T + shift)[:, None] - corners_b[None], axis=2)
    corner = float(away.min(axis=1).max() / corners_b.max())
    if abs(linear[0, 0]) + abs(linear[1, 1]) < abs(linear[0, 1]) + abs(linear[1, 0]):
        linear = linear[:, ::-1]  # a quarter turn
    scale = float(np.sqrt(abs(np.linalg.det(linear))))
    slant = max(abs(float(linear[0, 1])), abs(float(linear[1, 0]))) / max(scale, 1e-9)
    ratio = abs(float(linear[0, 0])) / max(abs(float(linear[1, 1])), 1e-9)
    return _Geometry(slant, abs(float(np.log(max(ratio, 1e-9)))), corner)


def _corners(one: Print) -> npt.NDArray[np.float64]:
    """The four corners in pixels of the stored picture."""
    frame = one.features.frame
    width, height = one.features.width_px / frame.scale_x, one.features.height_px / frame.scale_y
    return np.array([[0.0, 0.0], [width, 0.0], [0.0, height], [width, height]])


def _by_hash(a: Print, b: Print, spec: CurateSpec) -> Link | None:
    """Flat pictures have too few key points; near hashes then name the map to try: none, or a mirror."""
    if min(a.hashes.quality, b.hashes.quality) < LOW_QUALITY:
        return None
    for mirrored in (False, True):
        bits = hamming(a.hashes.mirrored if mirrored else a.hashes.plain, b.hashes.plain)
        if bits > spec.hash_bits:
            continue
        wide_a, wide_b = a.small.shape[1], b.small.shape[1]
        high = b.small.shape[0] / a.small.shape[0]
        matrix = np.array([[wide_b / wide_a, 0.0, 0.0], [0.0, high, 0.0]])
        if mirrored:
            matrix[0] = [-wide_b / wide_a, 0.0, float(wide_b)]
        size_a, size_b = (wide_a, a.small.shape[0]), (wide_b, b.small.shape[0])
        laid = lay_over(a.small, b.small, matrix, size_a, size_b)
        if laid.agreeing >= HASH_AGREEING and laid.typical >= HASH_TYPICAL:
            told = f"hashes differ in {bits} of 256 bits, detail agrees in {laid.agreeing:.0%}"
            shares = _shares(laid.matrix, size_a, size_b)
            return Link("edited", "mirrored" if mirrored else "recoded", told, None, shares)
    return None


def _shares(matrix: Affine, size_a: tuple[int, int], size_b: tuple[int, int]) -> Affine:
    """A map between working copies of these sizes, as one between shares of the longer sides."""
    side_a, side_b = max(size_a), max(size_b)
    return np.column_stack([matrix[:, :2] * side_a / side_b, matrix[:, 2] / side_b])
