"""What curation knows about each picture, and what became of it.

Notation
    n          number of pictures that could be opened
    emb        embedding of the chosen face    float32 (d,), unit length, one face pack
    box_px     face box                        (x0, y0, x1, y1), half-open, upright picture
    points_px  five points                     float32 (5, 2): image-left eye, image-right eye, nose,
                                               image-left and image-right mouth corner
    face_share face height / picture height    0..1; large >= 0.40 > medium >= 0.20 > small
Pictures are named by their file name below the pictures folder: it is the word the user knows them by.

Two families of records live here. `Entry`, `Lineage`, `SetAside` and `Decision` are what a *dataset folder* holds
(`vultus dataset ...`; its form on disk: `datasets.library`). `Candidate`, `Drop`, `Member` and `Dataset` are what the
pipeline of `vultus run` makes of a workspace's pictures in one go (`datasets.curate`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vultus.core.specs import setting

Reason = Literal[
    "unreadable",
    "identical",
    "edited",
    "mirrored",
    "cropped",
    "no_face",
    "several_faces",
    "small_face",
    "blurred",
    "off_persona",
]
Role = Literal["reference", "training", "dropped"]
FaceSize = Literal["large", "medium", "small"]
Facing = Literal["left", "ahead", "right"]
BoxPx = tuple[int, int, int, int]

REASON_WORDS: dict[str, str] = {
    "unreadable": "cannot be opened",
    "identical": "same picture twice",
    "edited": "edited copy (recompressed, resized or recoloured)",
    "mirrored": "mirrored copy",
    "cropped": "crop of another picture",
    "no_face": "no face found",
    "several_faces": "several faces",
    "small_face": "face too small to be measured",
    "blurred": "blurred",
    "off_persona": "another person",
}


@dataclass(frozen=True)
class JudgeSpec:
    """How pictures are judged and split: what the verbs of a dataset folder and `vultus run` have in common."""

    reference_share: float = setting(
        0.34, help="share of the kept pictures held out as references", low=0.1, high=0.7
    )
    references_min: int = setting(
        12, help="fewest references; the yardstick refuses to score with less", low=4, high=1000
    )
    training_min: int = setting(6, help="fewest pictures to train on", low=1, high=100000)
    off_persona_z: float = setting(
        3.5, help="robust z below which a face is questioned", low=1.0, high=20.0
    )
    off_persona_ratio: float = setting(
        0.5,
        help="share of the median cosine below which a questioned face is another person",
        low=0.0,
        high=1.0,
    )
    doubtful_ratio: float = setting(
        0.7,
        help="share of the median cosine below which a questioned face is shown as doubtful",
        low=0.0,
        high=1.0,
    )
    blur_ratio: float = setting(
        0.5,
        help="share of the median face sharpness below which a picture is blurred",
        low=0.0,
        high=1.0,
    )


@dataclass(frozen=True)
class CurateSpec(JudgeSpec):
    """How the pictures are curated before anything is trained."""

    hash_bits: int = setting(
        31, help="largest distance of two 256-bit perceptual hashes of one picture", low=0, high=89
    )
    match_cells: int = setting(
        10,
        help="matched 8-px cells from which two pictures are laid over each other",
        low=8,
        high=400,
    )
    coherence_min: float = setting(
        0.3,
        help="median cosine of the faces to each other below which the pictures show no one person",
        low=0.0,
        high=1.0,
    )


@dataclass(frozen=True)
class Candidate:
    """One picture that could be opened, with what was measured on it."""

    name: str
    content_id: str
    width_px: int
    height_px: int
    caption: str
    face_state: str
    box_px: tuple[float, float, float, float] | None
    points_px: tuple[tuple[float, float], ...] | None
    sharpness: float
    notes: tuple[str, ...] = ()
    yaw_deg: float | None = None

    @property
    def face_share(self) -> float:
        """Height of the face as a share of the picture's height; 0 without a face."""
        if self.box_px is None:
            return 0.0
        return (self.box_px[3] - self.box_px[1]) / max(1, self.height_px)

    @property
    def face_size(self) -> FaceSize:
        """How large the face is in the picture, in words."""
        if self.face_share >= 0.40:
            return "large"
        return "medium" if self.face_share >= 0.20 else "small"

    @property
    def facing(self) -> Facing:
        """Which side of the picture the face turns to: by its yaw, else by where the nose lies between the eyes."""
        if self.yaw_deg is not None:
            if abs(self.yaw_deg) < 15.0:
                return "ahead"
            return "left" if self.yaw_deg > 0 else "right"
        if self.points_px is None:
            return "ahead"
        left, right, nose = self.points_px[0], self.points_px[1], self.points_px[2]
        width = max(1e-6, right[0] - left[0])
        offset = (nose[0] - (left[0] + right[0]) / 2) / width
        if offset < -0.10:
            return "left"
        return "right" if offset > 0.10 else "ahead"


@dataclass(frozen=True)
class Lineage:
    """Of which picture another one was made, and how.

    `how` is one of DERIVED (views, crops and masks are never duplicates of their parent and follow it wherever it
    goes), or "edit" (somebody's editor says so; such a picture is judged like any other).
    `detail` tells more: "box 120 40 480 400", "frame 96 at 4.0 s".
    """

    parent: str
    how: str
    detail: str = ""


DERIVED: tuple[str, ...] = ("view", "crop", "frame", "mask")
"""What the project itself makes of a picture. A "frame" has its video's name as parent and is judged like any other
picture (two frames may be one burst); the rest are `Entry.derived`."""


@dataclass(frozen=True)
class Entry:
    """One picture of a dataset folder, as it came in; nothing here depends on a machine or a time.

    `name` is the user's word for it, `caption` the user's own words beside it ("" without), `origin` what the file
    says about how it was made, as pairs: ("generator", "ComfyUI"), ("prompt", ...), ("seed", ...).
    """

    name: str
    content_id: str
    pixel_id: str
    width_px: int
    height_px: int
    format: str
    caption: str = ""
    lineage: Lineage | None = None
    origin: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def derived(self) -> bool:
        """Whether this is a view, crop or mask that the project made of another picture."""
        return self.lineage is not None and self.lineage.how in ("view", "crop", "mask")


@dataclass(frozen=True)
class SetAside:
    """One picture that shall not be used, why, and which other picture stands for it (or "")."""

    name: str
    reason: str
    partner: str = ""


@dataclass(frozen=True)
class Decision:
    """What the user agreed to in one go (`--apply` of a verb), or took back since."""

    verb: str
    set_aside: tuple[SetAside, ...]
    undone: bool = False


@dataclass(frozen=True)
class Duplicate:
    """Two pictures that show one shot: which is kept, which goes, and how they differ."""

    kept: str
    dropped: str
    kind: Literal["identical", "edited", "mirrored", "cropped", "burst"]
    evidence: str


@dataclass(frozen=True)
class Drop:
    """A picture that is not used, and why."""

    name: str
    reason: Reason
    detail: str
    partner: str = ""


@dataclass(frozen=True)
class Member:
    """A picture of the frozen dataset.

    `picture` is the file inside the frozen folder: the decoded, upright picture as PNG; its size, face box and five
    points are in pixels of that file.
    `cosine` is its leave-one-out similarity to the other kept pictures (unit: cosine).
    `crop_px` is set for a view: the part (x0, y0, x1, y1) of `picture` that is trained on.
    """

    name: str
    role: Literal["reference", "training"]
    content_id: str
    picture: str
    caption: str
    face_share: float
    face_size: FaceSize
    facing: Facing
    width_px: int
    height_px: int
    cosine: float
    lineage: str
    crop_px: BoxPx | None = None
    box_px: tuple[float, float, float, float] | None = None
    points_px: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Dataset:
    """A frozen list of pictures: references and training pictures, and what was left out."""

    persona: str
    pack_digest: str
    members: tuple[Member, ...]
    drops: tuple[Drop, ...]
    findings: tuple[Duplicate, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def references(self) -> tuple[Member, ...]:
        """Pictures held out of training, in a stable order."""
        return tuple(member for member in self.members if member.role == "reference")

    @property
    def training(self) -> tuple[Member, ...]:
        """Pictures the trainer sees, in a stable order."""
        return tuple(member for member in self.members if member.role == "training")


__all__ = [
    "DERIVED",
    "REASON_WORDS",
    "BoxPx",
    "Candidate",
    "CurateSpec",
    "Dataset",
    "Decision",
    "Drop",
    "Duplicate",
    "Entry",
    "FaceSize",
    "Facing",
    "JudgeSpec",
    "Lineage",
    "Member",
    "Reason",
    "Role",
    "SetAside",
]
