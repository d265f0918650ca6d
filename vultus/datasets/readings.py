"""What is measured once of each picture of a dataset folder: its face, pose, light, surroundings and edges.

Notation
    emb        face vector                float32 (d,), unit length, one pack; None where no face is readable
    grey       the picture as 64 x 64     uint8, for marks that many pictures share at one place
    quality    the pack's quality net     its own unit, None without one
Readings are facts of a picture's bytes and a face pack: they are remembered in the dataset folder by content id and
pack digest, a few at a time. Killed at any line, the next command measures only what is missing.
Derived pictures (views, crops, masks) are not read: they would vote twice for what their parent shows.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vultus.core.errors import PictureError
from vultus.datasets.library import Library
from vultus.datasets.pose import read_pose
from vultus.datasets.records import Entry
from vultus.datasets.scenes import Scene, find_bars, read_scene
from vultus.faces.packs import Pack
from vultus.faces.records import FaceEngine, FaceResult, Pose
from vultus.images.geometry import luma, resize
from vultus.images.quality import sharpness
from vultus.images.records import Rgb

VERSION = 1
BATCH = 8
GREY_PX = 64


@dataclass(frozen=True, eq=False)
class Reading:
    """One picture without its pixels: everything that audit, coverage, captions and split decide by."""

    name: str
    content_id: str
    width_px: int
    height_px: int
    face_state: str
    faces: int
    box_px: tuple[float, float, float, float] | None
    points_px: npt.NDArray[np.float32] | None
    sharpness: float
    picture_sharpness: float
    quality: float | None
    pose: Pose | None
    scene: Scene | None
    bars_px: tuple[int, int, int, int]
    grey: npt.NDArray[np.uint8]
    emb: npt.NDArray[np.float32] | None

    @property
    def face_height_px(self) -> float:
        """Height of the chosen face, 0 without one."""
        return 0.0 if self.box_px is None else self.box_px[3] - self.box_px[1]


def kind_of(pack: Pack) -> str:
    """Under which name a pack's readings are remembered."""
    return f"reading/{pack.digest.removeprefix('sha256:')[:16]}/{VERSION}"


def read_library(
    library: Library,
    engine: FaceEngine,
    entries: Sequence[Entry],
    advance: Callable[..., None] = lambda *_, **__: None,
) -> list[Reading]:
    """Measure (or remember) these pictures, in their order. A picture that cannot be decoded is left out."""
    kind = kind_of(engine.pack)
    wanted = [entry for entry in entries if not entry.derived]
    known = library.recall(kind, {entry.content_id for entry in wanted})
    missing: dict[str, Entry] = {}
    for entry in wanted:
        if entry.content_id not in known:
            missing.setdefault(entry.content_id, entry)
    advance(len(wanted) - len(missing), remembered=True)
    todo = list(missing.values())
    for start in range(0, len(todo), BATCH):
        fresh = _read_batch(library, engine, todo[start : start + BATCH])
        library.remember(kind, fresh)
        known.update(fresh)
        advance(len(todo[start : start + BATCH]))
    return [
        unpack(entry.name, entry.content_id, known[entry.content_id])
        for entry in wanted
        if entry.content_id in known
    ]


def _read_batch(library: Library, engine: FaceEngine, entries: Sequence[Entry]) -> dict[str, bytes]:
    opened: list[tuple[str, Rgb]] = []
    for entry in entries:
        try:
            opened.append((entry.content_id, library.picture(entry.content_id).rgb))
        except PictureError:
            continue  # its bytes are whole, but the decoder of its day is gone: it must not stop the others
    results = engine.read_many([rgb for _, rgb in opened]) if opened else []
    return {
        one: pack_reading(rgb, result, engine.pack)
        for (one, rgb), result in zip(opened, results, strict=True)
    }


def read_picture(name: str, content_id: str, rgb: Rgb, result: FaceResult, pack: Pack) -> Reading:
    """The reading of one decoded picture whose faces were read already."""
    return unpack(name, content_id, pack_reading(rgb, result, pack))


def pack_reading(rgb: Rgb, result: FaceResult, pack: Pack) -> bytes:
    """Measure one picture and write it as bytes (an .npz without objects)."""
    pose = read_pose(rgb, result, pack)
    face = result.face
    scene = None
    if face is not None:
        scene = read_scene(rgb, face.box_px, face.points_px)
    facts: dict[str, Any] = {
        "width_px": int(rgb.shape[1]),
        "height_px": int(rgb.shape[0]),
        "face_state": result.state,
        "faces": len(result.faces),
        "box_px": None if face is None else [float(v) for v in face.box_px],
        "sharpness": float(result.sharpness),
        "picture_sharpness": sharpness(rgb),
        "quality": result.quality,
        "pose": None if pose is None else [pose.yaw_deg, pose.pitch_deg, pose.roll_deg, pose.by],
        "light": None if scene is None else [scene.level, scene.side, scene.warmth, scene.mouth],
        "bars_px": list(find_bars(rgb)),
    }
    arrays: dict[str, npt.NDArray[Any]] = {
        "grey": luma(resize(rgb, GREY_PX, GREY_PX)).astype(np.uint8)
    }
    if face is not None and scene is not None:
        arrays |= {
            "points_px": face.points_px,
            "background": scene.background,
            "outfit": scene.outfit,
        }
    if result.emb is not None:
        arrays["emb"] = result.emb
    out = io.BytesIO()
    text = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    arrays["facts"] = text
    np.savez(out, allow_pickle=False, **arrays)
    return out.getvalue()


def unpack(name: str, content_id: str, data: bytes) -> Reading:
    """A reading from its bytes."""
    with np.load(io.BytesIO(data), allow_pickle=False) as table:
        arrays = {key: table[key] for key in table.files}
    facts = json.loads(arrays["facts"].tobytes())
    light, pose, box = facts["light"], facts["pose"], facts["box_px"]
    return Reading(
        name=name,
        content_id=content_id,
        width_px=facts["width_px"],
        height_px=facts["height_px"],
        face_state=facts["face_state"],
        faces=facts["faces"],
        box_px=None if box is None else (box[0], box[1], box[2], box[3]),
        points_px=arrays.get("points_px"),
        sharpness=facts["sharpness"],
        picture_sharpness=facts["picture_sharpness"],
        quality=facts["quality"],
        pose=None if pose is None else Pose(*pose),
        scene=None if light is None else _scene(light, arrays),
        bars_px=tuple(facts["bars_px"]),
        grey=arrays["grey"],
        emb=arrays.get("emb"),
    )


def _scene(light: Sequence[float], arrays: Mapping[str, npt.NDArray[Any]]) -> Scene:
    level, side, warmth, mouth = light
    return Scene(level, side, warmth, mouth, arrays["background"], arrays["outfit"])


__all__ = [
    "BATCH",
    "VERSION",
    "Reading",
    "kind_of",
    "pack_reading",
    "read_library",
    "read_picture",
    "unpack",
]
