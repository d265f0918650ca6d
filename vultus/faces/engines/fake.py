"""A face engine whose answers are planted in the picture: for tests that know the truth.

`plant` writes who is in a picture into its first pixels; the fake engine reads exactly that. It
measures nothing, and a picture without a plant has no face. Lossless files keep the plant; a JPEG
destroys it.

**Notation**
    identity    who                      int 0..65535; each has its own fixed direction in FAKE_DIM
                                         dimensions
    likeness    share of the identity    0..1: emb = likeness * d(identity) + sqrt(1 - likeness^2)
                                         * d(picture) so the expected cosine of two plants of one
                                         identity is likeness_1 * likeness_2
    strip       the plant                first PLANT_BYTES bytes of the picture's top rows, in
                                         memory order
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from vultus.core.errors import FaceError
from vultus.core.keys import canonical, content_id
from vultus.core.seeds import stream
from vultus.faces.packs import DetectorSpec, Pack, PackSpec, RecogniserSpec
from vultus.faces.records import STATES, Emb, Face, FaceResult, Points, Pose, Rgb, State

__all__ = [
    "FAKE_DIM",
    "FakeEngine",
    "Planted",
    "fake_pack",
    "open_fake_engine",
    "plant",
    "planted_direction",
]

FAKE_DIM: Final = 64
_MAGIC: Final = b"VuFa"
# magic, identity, likeness, state, noise seed, box, three angles, quality, checksum
_LAYOUT: Final = struct.Struct("<4sHfBI4f4fI")
PLANT_BYTES: Final = _LAYOUT.size
_POINTS: Final = np.array([[0.30, 0.38], [0.70, 0.38], [0.50, 0.58], [0.34, 0.76], [0.66, 0.76]])


@dataclass(frozen=True)
class Planted:
    """The truth of one picture."""

    identity: int
    likeness: float = 0.9
    state: State = "ok"
    box_px: tuple[float, float, float, float] = (16.0, 16.0, 80.0, 80.0)
    noise_seed: int = 0
    pose_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """yaw, pitch, roll; they do not make the state, `state` does"""
    quality: float = 0.5


class FakeEngine:
    """A `FaceEngine` that reads plants."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack

    @property
    def pack(self) -> Pack:
        """A pack without files."""
        return self._pack

    def read(self, rgb: Rgb) -> FaceResult:
        """Reads the plant of one picture."""
        planted = find_plant(rgb)
        if planted is None or planted.state == "none":
            return FaceResult("none", (), None, None, 0.0, 0.0, self._pack.digest)
        face = Face(planted.box_px, _points(planted.box_px), 0.99)
        faces = (face, face) if planted.state == "several" else (face,)
        emb = None if planted.state == "too_small" else _emb(planted)
        spread = face.size_px if planted.state == "uncertain_landmarks" else 0.0
        sharp = 0.0 if planted.state == "blurred" else 1.0
        return FaceResult(
            state=planted.state,
            faces=faces,
            chosen=0,
            emb=emb,
            landmark_spread_px=spread,
            sharpness=sharp,
            pack_digest=self._pack.digest,
            pose=Pose(*planted.pose_deg),
            quality=planted.quality,
        )

    def read_many(self, pictures: Sequence[Rgb]) -> list[FaceResult]:
        """Reads each picture."""
        return [self.read(rgb) for rgb in pictures]


def plant(rgb: Rgb, planted: Planted) -> Rgb:
    """A copy of the picture that carries this truth."""
    if not 0.0 <= planted.likeness <= 1.0 or not 0 <= planted.identity < 65536:
        raise FaceError(f"{planted} cannot be planted", expected="likeness 0..1, identity 0..65535")
    out = np.ascontiguousarray(rgb).copy()
    if out.size < PLANT_BYTES:
        raise FaceError(
            f"a picture of {out.size} bytes is too small for a plant",
            expected=f"{PLANT_BYTES} bytes",
        )
    state = STATES.index(planted.state)
    fields = (planted.identity, planted.likeness, state, planted.noise_seed, *planted.box_px)
    body = _LAYOUT.pack(_MAGIC, *fields, *planted.pose_deg, planted.quality, 0)[:-4]
    data = body + struct.pack("<I", zlib.crc32(body))
    out.reshape(-1)[:PLANT_BYTES] = np.frombuffer(data, dtype=np.uint8)
    return out


def find_plant(rgb: Rgb) -> Planted | None:
    """The truth of a picture, None when it carries none or a damaged one."""
    data = np.ascontiguousarray(rgb).reshape(-1)[:PLANT_BYTES].tobytes()
    if len(data) < PLANT_BYTES or not data.startswith(_MAGIC):
        return None
    _, identity, likeness, state, seed, *rest, checksum = _LAYOUT.unpack(data)
    if zlib.crc32(data[:-4]) != checksum:
        return None
    x0, y0, x1, y1, yaw, pitch, roll, quality = rest
    box = (x0, y0, x1, y1)
    return Planted(identity, likeness, STATES[state], box, seed, (yaw, pitch, roll), quality)


def planted_direction(identity: int) -> Emb:
    """The fixed unit direction of an identity."""
    return _direction("identity", identity)


def fake_pack() -> Pack:
    """The pack of the fake engine; it has no files and a digest of its own."""
    spec = PackSpec(
        name="fake",
        licence="none: answers are planted",
        judge="plant",
        detector=DetectorSpec(kind="fake"),
        recognisers={"plant": RecogniserSpec()},
    )
    return Pack(spec, Path(), "plant", content_id(canonical(spec).encode()))


def open_fake_engine(pack: Pack) -> FakeEngine:
    """For `engines.open_engine`."""
    return FakeEngine(pack)


def _emb(planted: Planted) -> Emb:
    own = _direction("picture", planted.noise_seed, planted.identity).astype(np.float64)
    who = planted_direction(planted.identity).astype(np.float64)
    own -= who * float(own @ who)
    own /= np.linalg.norm(own)
    mixed = planted.likeness * who + np.sqrt(1.0 - planted.likeness**2) * own
    return np.asarray(mixed / np.linalg.norm(mixed), dtype=np.float32)


def _direction(*names: str | int) -> Emb:
    drawn = stream("faces.fake", *names).standard_normal(FAKE_DIM)
    return np.asarray(drawn / np.linalg.norm(drawn), dtype=np.float32)


def _points(box_px: tuple[float, float, float, float]) -> Points:
    x0, y0, x1, y1 = box_px
    return (_POINTS * (x1 - x0, y1 - y0) + (x0, y0)).astype(np.float32)
