"""The picture that InstantID is shown: what is wrong with it, and how to cut it.

The rule "a face-only crop, so that hat and glasses do not leak" is half right. InstantID finds the
face itself and takes its vector from the aligned square, so cutting the file changes nothing in it,
while a tight cut can make the detector miss. What leaks is *inside* the square (glasses always, brims
partly) or comes through ControlNets that are fed the reference as pose, depth or edges (reference
"curation", section 7). So the linter looks into the square, and the maker pads: at least one face
size of picture on every side.

**Notation**
    level      "fault"      the vector will be poor or somebody else's: do not use the picture
               "risk"       a person should look: it may leak into renders
    value, limit            in `unit`; a finding is told when value is on the wrong side of limit
Limits: 112 px is the side of the recogniser's square (below it the face is enlarged); yaw from 20 and
35 degrees are thirds of the range in which landmarks stay trustworthy; bridge and forehead were set on
photographs with known glasses (docs/face-packs.md has their error rates).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from vultus.core.errors import FaceError
from vultus.faces.crop import Crop, pad_around
from vultus.faces.occlusion import occlusion
from vultus.faces.records import FaceResult, Rgb

__all__ = ["Lint", "lint_reference", "make_reference"]

SMALL_PX: Final = 112.0
TINY_PX: Final = 64.0
YAW_RISK_DEG: Final = 20.0
YAW_FAULT_DEG: Final = 35.0
PITCH_RISK_DEG: Final = 20.0
BRIDGE: Final = 0.14
FOREHEAD: Final = 0.35
LOWER: Final = 0.45
OUTSIDE: Final = 0.02
SHARP_RISK: Final = 0.25
MARGIN_FACES: Final = 1.0


@dataclass(frozen=True)
class Lint:
    """One finding about a reference picture."""

    name: str
    level: Literal["fault", "risk"]
    value: float
    limit: float
    unit: str
    words: str

    def line(self) -> str:
        """For people: what, how much, against what."""
        return f"{self.level}: {self.words} ({self.value:.3g} {self.unit}, limit {self.limit:.3g})"


def lint_reference(rgb: Rgb, result: FaceResult) -> list[Lint]:
    """Everything that speaks against this picture as an InstantID reference; empty = nothing does.

    `result` is what a face engine read from exactly this picture.
    """
    face = result.face
    if face is None:
        return [Lint("face", "fault", 0, 1, "faces", "nobody is found")]
    found: list[Lint] = []
    if result.state == "several":
        words = "a second face is nearly as large; which one is meant is left to chance"
        found.append(Lint("several", "fault", len(result.faces), 1, "faces", words))
    size = face.size_px
    if size < SMALL_PX:
        level: Literal["fault", "risk"] = "fault" if size < TINY_PX else "risk"
        limit = TINY_PX if size < TINY_PX else SMALL_PX
        found.append(Lint("size", level, size, limit, "px", "the face is small"))
    found += _pose(result)
    if result.state == "uncertain_landmarks":
        share = result.landmark_spread_px / size
        words = "the five points disagree between scales"
        found.append(Lint("landmarks", "fault", share, 0.05, "of the face", words))
    if result.sharpness < SHARP_RISK:
        words = "the face is soft"
        found.append(Lint("sharpness", "risk", result.sharpness, SHARP_RISK, "of 1", words))
    return [*found, *_hidden(rgb, result)]


def make_reference(rgb: Rgb, result: FaceResult, side_px: int | None = None) -> Crop:
    """The reference as InstantID should get it: the face with at least one face size around it.

    Where the picture ends, its edge is repeated. Raises FaceError when there is no face.
    """
    face = result.face
    if face is None:
        raise FaceError(
            "nobody is found in it, so there is nothing to cut around",
            expected="a picture with a face",
            next_command="vultus faces inspect PICTURE",
        )
    return pad_around(rgb, face, MARGIN_FACES, side_px)


def _pose(result: FaceResult) -> Sequence[Lint]:
    pose = result.pose
    if pose is None:
        return []
    found: list[Lint] = []
    yaw = abs(pose.yaw_deg)
    if yaw > YAW_RISK_DEG:
        fault = yaw > YAW_FAULT_DEG
        limit = YAW_FAULT_DEG if fault else YAW_RISK_DEG
        words = "the head is turned to a side"
        found.append(Lint("yaw", "fault" if fault else "risk", yaw, limit, "degrees", words))
    pitch = abs(pose.pitch_deg)
    if pitch > PITCH_RISK_DEG:
        words = "the head is turned up or down"
        found.append(Lint("pitch", "risk", pitch, PITCH_RISK_DEG, "degrees", words))
    return found


def _hidden(rgb: Rgb, result: FaceResult) -> Sequence[Lint]:
    assert result.face is not None
    seen = occlusion(rgb, result.face)
    rows = (
        ("glasses", seen.bridge, BRIDGE, "a bar between the eyes: glasses leak into every render"),
        ("forehead", seen.forehead, FOREHEAD, "the forehead is covered: hat, brim or fringe"),
        ("lower", seen.lower, LOWER, "mouth and chin differ from the cheeks: hand, scarf or beard"),
    )
    found = [
        Lint(name, "risk", value, limit, "of the face's brightness", words)
        for name, value, limit, words in rows
        if value > limit
    ]
    if seen.outside > OUTSIDE:
        words = "the recogniser's square leaves the picture: cut with more room around the face"
        found.append(Lint("cut", "fault", seen.outside, OUTSIDE, "of the square", words))
    return found
