"""What `pack.toml` may say: everything that the numbers of a face pack depend on, and its terms.

**Notation**
    template_px    five points of the aligned face    float (5, 2), px of a square of size_px, in the
                                                      order of faces.records
    POINT_NAMES    our order of the five points       left and right as the *image* shows them
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from vultus.core.specs import setting

__all__ = [
    "DETECTOR_KINDS",
    "POINT_NAMES",
    "DetectorSpec",
    "LimitSpec",
    "PackSpec",
    "PoseSpec",
    "QualitySpec",
    "RecogniserSpec",
]

DETECTOR_KINDS: Final = ("standin", "yunet", "scrfd", "fake")
POINT_NAMES: Final = ("eye_left", "eye_right", "nose", "mouth_left", "mouth_right")


@dataclass(frozen=True)
class DetectorSpec:
    """How faces and their five points are found."""

    kind: str = setting(help="the program that runs it", choices=DETECTOR_KINDS)
    file: str = setting("", help="ONNX file, relative to the pack's folder")
    sha256: str = setting("", help="sha256 of the file, 64 hex digits; empty = not checked")
    min_score: float = setting(0.6, help="confidence from which a face counts", low=0.0, high=1.0)
    two_pass: bool = setting(
        True, help="measure the points again in crops of three scales and take their median"
    )
    first_pass_px: tuple[int, ...] = setting(
        (320, 640),
        help="longer sides at which the whole picture is looked at; 0 = as it is",
    )
    landmark_order: tuple[str, ...] = setting(
        POINT_NAMES, help="what the detector's five points are, left and right as the image shows"
    )

    def __post_init__(self) -> None:
        if sorted(self.landmark_order) != sorted(POINT_NAMES):
            raise ValueError(f"landmark_order must hold each of {', '.join(POINT_NAMES)} once")
        if not self.first_pass_px or any(0 < side < 16 or side < 0 for side in self.first_pass_px):
            raise ValueError("first_pass_px must hold sides of 16 px and more, or 0")


@dataclass(frozen=True)
class RecogniserSpec:
    """How an aligned face becomes a vector."""

    file: str = setting("", help="ONNX or OpenVINO .xml file, relative to the pack's folder")
    sha256: str = setting("", help="sha256 of the file, 64 hex digits; empty = not checked")
    weights: str = setting("", help="the .bin that belongs to an OpenVINO .xml")
    weights_sha256: str = setting("", help="sha256 of the .bin, 64 hex digits; empty = not checked")
    size_px: int = setting(112, help="side of the aligned square", low=16, high=1024)
    channels: str = setting("rgb", help="colour order of the input", choices=("rgb", "bgr"))
    subtract: float = setting(127.5, help="taken from each 0..255 value first")
    divide: float = setting(127.5, help="then each value is divided by this", low=1e-3)
    template_px: tuple[tuple[float, float], ...] = setting(
        (),
        help="five points (x, y) of the aligned face: eyes, nose, mouth corners, image left first",
    )
    origin: str = setting(
        "centre",
        help="where (0, 0) lies: centre or corner of the first pixel",
        choices=("centre", "corner"),
    )
    fill: int = setting(0, help="grey level outside the picture", low=0, high=255)
    flip: bool = setting(False, help="average with the vector of the mirrored face")

    def __post_init__(self) -> None:
        if self.template_px and (
            len(self.template_px) != 5 or any(len(p) != 2 for p in self.template_px)
        ):
            raise ValueError("template_px must hold five points [x, y]")
        if self.file.endswith(".xml") != bool(self.weights):
            raise ValueError("an OpenVINO .xml needs its .bin under weights, and nothing else does")


@dataclass(frozen=True)
class PoseSpec:
    """How the direction of a head is measured; without files, from the five points."""

    files: tuple[str, ...] = setting((), help="FSA-Net ONNX files, outputs averaged")
    sha256: tuple[str, ...] = setting((), help="sha256 of each file")

    def __post_init__(self) -> None:
        if self.sha256 and len(self.sha256) != len(self.files):
            raise ValueError("pose.sha256 must have one entry for each file, or none")


@dataclass(frozen=True)
class QualitySpec:
    """How good a face picture is for recognition; without a file, nothing is said."""

    file: str = setting("", help="LightQNet frozen TensorFlow graph (.pb)")
    sha256: str = setting("", help="sha256 of the file, 64 hex digits; empty = not checked")


@dataclass(frozen=True)
class LimitSpec:
    """From where on a face is called readable."""

    min_face_px: float = setting(
        24.0, help="shorter faces (longer side of the box) get no vector", low=1.0
    )
    max_spread: float = setting(
        0.05,
        help="landmark spread as a share of the face's size from which points count as uncertain",
        low=0.0,
    )
    min_sharpness: float = setting(
        0.0, help="sharpness 0..1 of the face below which it is blurred", low=0.0, high=1.0
    )
    max_yaw_deg: float = setting(
        90.0, help="turned further to a side, a face is an extreme pose", low=0.0, high=90.0
    )
    max_pitch_deg: float = setting(
        90.0, help="turned further up or down, a face is an extreme pose", low=0.0, high=90.0
    )


@dataclass(frozen=True)
class PackSpec:
    """The contents of `pack.toml`."""

    name: str = setting(help="short name, shown beside every score", low=1, high=60)
    licence: str = setting(help="licence of the weights, shown beside every score", low=1)
    judge: str = setting(help="the recogniser that is used unless another is named")
    detector: DetectorSpec = setting(help="how faces are found")
    recognisers: Mapping[str, RecogniserSpec] = setting(help="how faces are measured, by name")
    limits: LimitSpec = setting(LimitSpec(), help="from where on a face is readable")
    pose: PoseSpec = setting(PoseSpec(), help="how heads' directions are measured")
    quality: QualitySpec = setting(QualitySpec(), help="how the quality of faces is measured")
    source: str = setting("", help="where the files come from")
    terms: str = setting("", help="what a user has to know or agree to before using the pack")
    consent: bool = setting(
        False, help="whether the terms must be agreed to before the pack is used"
    )
    sources: Mapping[str, str] = setting(
        {}, help="the official https address of each file that may be fetched"
    )

    def __post_init__(self) -> None:
        if self.judge not in self.recognisers:
            raise ValueError(
                f"judge {self.judge!r} is not one of: {', '.join(self.recognisers) or 'none'}"
            )
        real = self.detector.kind != "fake"
        for name, recogniser in self.recognisers.items():
            if real and not (recogniser.file and recogniser.template_px):
                raise ValueError(f"recognisers.{name} needs file and template_px")
        if real and not self.detector.file:
            raise ValueError("detector needs file")
        for file in self.files():
            if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
                raise ValueError(f"{file!r} must lie inside the pack's folder")
        for file, address in self.sources.items():
            if file not in self.files():
                raise ValueError(f"sources names {file!r}, which the pack does not use")
            if not address.startswith("https://"):
                raise ValueError(f"sources.{file!r} must be an https address")

    def files(self) -> dict[str, str]:
        """Every file of the pack with the sha256 that it must have ("" = any)."""
        named: dict[str, str] = {}
        for one in self.recognisers.values():
            named |= {one.file: one.sha256, one.weights: one.weights_sha256}
        named[self.detector.file] = self.detector.sha256
        named |= dict(zip(self.pose.files, self.pose.sha256 or ("",) * 99, strict=False))
        named[self.quality.file] = self.quality.sha256
        return {name: digest for name, digest in named.items() if name}
