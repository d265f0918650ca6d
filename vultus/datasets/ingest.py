"""Open a folder of pictures safely and measure each one: hashes, key points, face, sharpness, caption.

Notation
    pixels     content id of the decoded pixels: the same picture in two lossless files has one
    print      what its copies are found by                     `datasets.prints`
    emb        embedding of the chosen face, or None           float32 (d,), unit length
Pictures are decoded in small batches and let go again: a folder of 24 MP photographs fits in memory. Nothing is
dropped here but files that cannot be opened: dropping is a decision, and decisions need the whole set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus.core.errors import DatasetError
from vultus.datasets.captions import read_caption, with_trigger
from vultus.datasets.listing import refuse_missing
from vultus.datasets.persona import Persona
from vultus.datasets.pose import read_pose
from vultus.datasets.prints import Print, measure_print
from vultus.datasets.records import Candidate, Drop
from vultus.faces.packs import Pack
from vultus.faces.records import FaceEngine, FaceResult
from vultus.images.hashing import pixel_id
from vultus.images.load import iter_folder
from vultus.images.records import Picture

READ_BATCH = 8


@dataclass(frozen=True, eq=False)
class Measured:
    """One picture without its pixels: everything curation decides by."""

    path: Path
    candidate: Candidate
    pixels: str
    print: Print
    emb: npt.NDArray[np.float32] | None


@dataclass(frozen=True, eq=False)
class Ingested:
    """The pictures of a folder with everything that was measured, in name order."""

    pictures: tuple[Measured, ...]
    unreadable: tuple[Drop, ...]


def unheard(n: float = 1) -> None:
    """Nobody follows the progress."""


def ingest(
    folder: Path,
    persona: Persona,
    engine: FaceEngine,
    advance: Callable[[float], None] = unheard,
) -> Ingested:
    """Open and measure every picture of the folder; `advance` hears of each one that is done.

    Raises DatasetError when there is no picture that can be opened.
    """
    refuse_missing(folder)
    measured: list[Measured] = []
    unreadable: list[Drop] = []
    batch: list[Picture] = []
    for loaded in iter_folder(folder):
        if isinstance(loaded, Picture):
            batch.append(loaded)
        else:
            name = loaded.path.relative_to(folder).as_posix()
            unreadable.append(Drop(name, "unreadable", loaded.reason))
            advance(1)
        if len(batch) >= READ_BATCH:
            measured.extend(_measure(batch, folder, persona, engine, advance))
            batch = []
    measured.extend(_measure(batch, folder, persona, engine, advance))
    if not measured:
        raise _nothing(folder, unreadable)
    return Ingested(tuple(measured), tuple(unreadable))


def _measure(
    batch: Sequence[Picture],
    folder: Path,
    persona: Persona,
    engine: FaceEngine,
    advance: Callable[[float], None],
) -> list[Measured]:
    faces = engine.read_many([picture.rgb for picture in batch]) if batch else []
    measured: list[Measured] = []
    for picture, face in zip(batch, faces, strict=True):
        measured.append(
            Measured(
                path=picture.path,
                candidate=_candidate(picture, face, folder, persona, engine.pack),
                pixels=pixel_id(picture.rgb),
                print=measure_print(picture.rgb),
                emb=face.emb,
            )
        )
        advance(1)
    return measured


def _nothing(folder: Path, unreadable: Sequence[Drop]) -> DatasetError:
    if unreadable:
        first = unreadable[0]
        return DatasetError(
            f"none of the {len(unreadable)} files can be opened as a picture"
            f" (first: {first.name}: {first.detail})",
            where=str(folder),
            expected="pictures of one persona (PNG, JPEG, WebP, ...)",
            next_command="replace the damaged files and run the same command again",
        )
    return DatasetError(
        "the folder holds no pictures",
        where=str(folder),
        expected="pictures of one persona (PNG, JPEG, WebP, ...)",
        next_command=f"put pictures into {folder} and run the same command again",
    )


def _candidate(
    picture: Picture, face: FaceResult, folder: Path, persona: Persona, pack: Pack
) -> Candidate:
    chosen = face.face
    pose = read_pose(picture.rgb, face, pack)
    points = None
    if chosen is not None:
        points = tuple((float(x), float(y)) for x, y in chosen.points_px)
    return Candidate(
        name=picture.path.relative_to(folder).as_posix(),
        content_id=picture.content_id,
        width_px=int(picture.rgb.shape[1]),
        height_px=int(picture.rgb.shape[0]),
        caption=with_trigger(read_caption(picture.path), persona),
        face_state=face.state,
        box_px=None if chosen is None else chosen.box_px,
        points_px=points,
        sharpness=float(face.sharpness),
        notes=picture.notes,
        yaw_deg=None if pose is None else pose.yaw_deg,
    )


__all__ = ["READ_BATCH", "Ingested", "Measured", "ingest", "unheard"]
