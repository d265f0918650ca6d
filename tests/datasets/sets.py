"""Readings and dataset folders with a planted truth, for the tests of the measuring verbs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from vultus.core.seeds import stream
from vultus.datasets.intake import ingest_sources
from vultus.datasets.library import Library
from vultus.datasets.persona import Persona
from vultus.datasets.readings import Reading
from vultus.datasets.scenes import Scene
from vultus.faces.records import Pose
from vultus.testing.planted import make_pictures

ADA = Persona("Ada", "ohwx", "woman", "synthetic", True)
EVEN = np.full(64, 1 / 8, dtype=np.float32)


def colour(cell: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The palette of a region that has one colour only."""
    palette = np.zeros(64, dtype=np.float32)
    palette[cell] = 1.0
    return palette


def reading(
    name: str = "a.png",
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    share: float = 0.5,
    state: str = "ok",
    likeness: float = 0.95,
    who: int = 1,
    sharpness: float = 0.5,
    background: int = 0,
    outfit: int = 0,
    light: tuple[float, float] = (0.5, 0.0),
    mouth: float = 0.8,
    size: tuple[int, int] = (1000, 1000),
    quality: float | None = None,
) -> Reading:
    """One reading of a picture with a face that stands in the middle."""
    width, height = size
    tall = share * (width * height) ** 0.5
    box = (
        width / 2 - 0.4 * tall,
        height * 0.4 - tall / 2,
        width / 2 + 0.4 * tall,
        height * 0.4 + tall / 2,
    )
    direction = stream("who", who).standard_normal(64)
    noise = stream("picture", name).standard_normal(64)
    direction /= np.linalg.norm(direction)
    noise -= direction * (noise @ direction)
    noise /= np.linalg.norm(noise)
    emb = likeness * direction + (1 - likeness**2) ** 0.5 * noise
    found = Reading(
        name=name,
        content_id=f"sha256:{name}",
        width_px=width,
        height_px=height,
        face_state=state,
        faces=1,
        box_px=box,
        points_px=None,
        sharpness=sharpness,
        picture_sharpness=sharpness,
        quality=quality,
        pose=Pose(yaw, pitch, 0.0),
        scene=Scene(light[0], light[1], 0.0, mouth, colour(background), colour(outfit)),
        bars_px=(0, 0, 0, 0),
        grey=np.asarray(stream("grey", name).integers(60, 190, (64, 64)), dtype=np.uint8),
        emb=np.asarray(emb, dtype=np.float32),
    )
    if state in ("none", "too_small"):
        found = replace(found, emb=None)
    if state == "none":
        found = replace(found, faces=0, box_px=None, pose=None, scene=None)
    return found


def planted_library(folder: Path, count: int = 24) -> Library:
    """A dataset folder of the planted world: portraits of one persona, captions beside them."""
    make_pictures(folder / "pictures", count)
    library = Library.create(folder / "set")
    ingest_sources(library, [folder / "pictures"])
    return library
