"""What was seen in one picture: the faces, the one that counts, and how far it can be trusted.

**Notation**
    box_px       (x0, y0, x1, y1)   float, half-open, upright picture
    points_px    five points        float32 (5, 2) as (x, y): eye on the image left, eye on the
                                    image right, nose tip, mouth corner on the image left, mouth
                                    corner on the image right
    size_px      longer side of the box
    emb          face vector        float32 (d,), unit length, only comparable under one
                                    `pack_digest`
    spread       landmark spread    px of the picture: mean distance of the points found at several
                                    scales from their median; large = the alignment, hence the
                                    cosine, is a guess
    pose         yaw, pitch, roll   degrees. yaw > 0: the nose points to the image left; pitch > 0:
                                    chin up; roll > 0: the head is turned clockwise in the image
    quality      face quality       the quality net's own number (LightQNet: about 0..0.65, good
                                    photographs .5-.63), comparable under one pack only
    sharpness    of the face        0..1, `images.quality.sharpness` inside the box

**States, in the order in which they are decided**
    none                    nobody was found
    too_small               the face has fewer pixels than the pack says it can read: no vector
    several                 a second face is at least half as large as the chosen one (chosen = the
                            largest)
    extreme_pose            yaw or pitch beyond the pack's limit, by the pose nets
    uncertain_landmarks     spread / size_px above the pack's limit
    blurred                 sharpness of the face below the pack's limit
    ok                      none of these
`emb` is there for all but none and too_small: a doubtful face is still a measurement, and
dropping it would reward a model that draws bad faces. Whoever builds references
takes `ok` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from vultus.faces.packs import Pack

__all__ = ["STATES", "Emb", "Face", "FaceEngine", "FaceResult", "Points", "Pose", "Rgb", "State"]

Rgb = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]
Emb = npt.NDArray[np.float32]
State = Literal[
    "ok", "none", "several", "too_small", "extreme_pose", "uncertain_landmarks", "blurred"
]
STATES: tuple[State, ...] = (
    "none",
    "too_small",
    "several",
    "extreme_pose",
    "uncertain_landmarks",
    "blurred",
    "ok",
)


@dataclass(frozen=True, eq=False)
class Face:
    """One detected face. `score` is the detector's own confidence, 0..1, comparable within one
    pack only."""

    box_px: tuple[float, float, float, float]
    points_px: Points
    score: float

    @property
    def size_px(self) -> float:
        """The longer side of the box."""
        x0, y0, x1, y1 = self.box_px
        return max(x1 - x0, y1 - y0)


@dataclass(frozen=True)
class Pose:
    """Where the chosen head looks, degrees. `by` says how it was measured, because errors differ.

    "nets": the pack's pose networks (FSA-Net: mean error 4.6, 6.1 and 4.8 degrees on AFLW2000).
    "points": the five points held against a mean face, for packs without such networks; good for
    sorting into bins, not for degrees.
    """

    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    by: Literal["nets", "points"] = "nets"


@dataclass(frozen=True, eq=False)
class FaceResult:
    """The reading of one picture. Faces are sorted by size, largest first; `chosen` indexes into
    them.

    `pose` is None where nobody was found, `quality` where the pack has no quality net.
    """

    state: State
    faces: tuple[Face, ...]
    chosen: int | None
    emb: Emb | None
    landmark_spread_px: float
    sharpness: float
    pack_digest: str
    pose: Pose | None = None
    quality: float | None = None

    @property
    def face(self) -> Face | None:
        """The chosen face."""
        return None if self.chosen is None else self.faces[self.chosen]


class FaceEngine(Protocol):
    """Reads faces with one pack. The exam for implementations is `vultus.testing.face_engine`.

    Promises: the result of a picture does not depend on its neighbours in `read_many` (to 1e-5 per
    component), input arrays are not modified, reading is deterministic. One engine belongs to one
    thread.
    """

    @property
    def pack(self) -> Pack:
        """The data this engine runs on; its digest is written into every result."""

    def read(self, rgb: Rgb) -> FaceResult:
        """Reads one upright picture."""

    def read_many(self, pictures: Sequence[Rgb]) -> list[FaceResult]:
        """Reads pictures in order; the nets see them in batches."""
