"""Shards of rendered pictures with their truth: what every stand-in model learns from.

Notation
    rgb       uint8 (n, 128, 128, 3), upright, one shard
    points    float32 (n, 5, 2), px (see render.five_points)
    z         float32 (n, N_IDENTITY), the person; scene facts as small integers or floats beside it
    person    int32 (n,), index of the person inside its population
Populations: `crowd` (unnamed people), `named` (300 people whose names the base knows), `unseen` (people for tests and
personas, never trained on). Every person and scene comes from a named stream, so a shard is the same on every machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from vultus.core.files import staged
from vultus.core.seeds import stream
from vultus.standin.identity import Identity, sample_identity
from vultus.standin.names import NAMES
from vultus.standin.nuisance import FRAMINGS, caption, sample_nuisance
from vultus.standin.render import CANVAS_PX, render

__all__ = ["POPULATIONS", "Population", "Shards", "make_shards", "open_shards", "person_of"]

SHARD: Final = 2000


@dataclass(frozen=True)
class Population:
    """How many people, how many pictures of each, and how they look."""

    people: int
    pictures: int
    style: str = "plain"
    reach: float = 1.0
    seed_name: str = ""


POPULATIONS: Final[dict[str, Population]] = {
    "crowd": Population(4000, 8),
    "named": Population(len(NAMES), 40),
    "named_soft": Population(len(NAMES), 20, style="soft", seed_name="named"),
    "named_ink": Population(len(NAMES), 20, style="ink", seed_name="named"),
    "unseen": Population(80, 30),
}


def person_of(population: str, index: int) -> Identity:
    """The person with this index: the same face in every style of a population."""
    plan = POPULATIONS[population]
    name = plan.seed_name or population
    return sample_identity(stream("standin", name, "person", index), reach=plan.reach)


def _one(population: str, i: int) -> dict[str, Any]:
    plan = POPULATIONS[population]
    person, shot = i % plan.people, i // plan.people
    who = person_of(population, person)
    scene = sample_nuisance(stream("standin", population, "scene", person, shot))
    drawn = render(who, scene, style=plan.style)
    subject = f"{NAMES[person]} woman" if population.startswith("named") else "woman"
    return {
        "rgb": drawn.rgb,
        "points": drawn.points_px,
        "face": drawn.face_px,
        "z": who.z,
        "person": person,
        "caption": caption(scene, subject),
        "framing": FRAMINGS.index(scene.framing),
        "hat": bool(scene.hat),
        "glasses": scene.glasses,
        "dye": bool(scene.dye),
        "yaw": scene.yaw,
    }


def make_shards(population: str, root: Path, *, part: int = 0, parts: int = 1) -> None:
    """Render the missing shards of a population; `part` of `parts` lets processes share the work."""
    cv2.setNumThreads(1)
    plan = POPULATIONS[population]
    total = plan.people * plan.pictures
    for k in range(part, (total + SHARD - 1) // SHARD, parts):
        target = root / population / f"{k:03d}.npz"
        if target.exists():
            continue
        rows = [_one(population, i) for i in range(k * SHARD, min(total, (k + 1) * SHARD))]
        target.parent.mkdir(parents=True, exist_ok=True)
        captions = json.dumps([r.pop("caption") for r in rows])
        with staged(target.with_name(f"{k:03d}.rgb.npy")) as beside, beside.open("wb") as file:
            np.save(file, np.stack([r.pop("rgb") for r in rows]))
        with staged(target) as beside, beside.open("wb") as file:
            facts: dict[str, Any] = {key: np.array([r[key] for r in rows]) for key in rows[0]}
            np.savez(file, captions=np.array(captions), **facts)


@dataclass(frozen=True)
class Shards:
    """An opened population: `rgb(i)` reads pictures from memory-mapped files."""

    maps: tuple[npt.NDArray[np.uint8], ...]
    facts: dict[str, npt.NDArray[Any]]
    captions: list[str]

    def __len__(self) -> int:
        return len(self.captions)

    def rgb(self, index: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Pictures by index: uint8 (n, 128, 128, 3)."""
        rows = np.asarray(index)
        out = np.empty((len(rows), CANVAS_PX, CANVAS_PX, 3), np.uint8)
        for j, i in enumerate(rows):
            out[j] = self.maps[int(i) // SHARD][int(i) % SHARD]
        return out


def _files(population: str, root: Path) -> Iterator[Path]:
    plan = POPULATIONS[population]
    for k in range((plan.people * plan.pictures + SHARD - 1) // SHARD):
        yield root / population / f"{k:03d}.npz"


def open_shards(population: str, root: Path, *, most: int | None = None) -> Shards:
    """Open a population that `make_shards` has finished (or its first `most` shards)."""
    paths = list(_files(population, root))[:most]
    missing = [p for p in paths if not p.exists()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} shards of {population} are missing, first {missing[0]}"
        )
    tables = [np.load(p) for p in paths]
    captions = [c for t in tables for c in json.loads(str(t["captions"]))]
    keys = [k for k in tables[0].files if k != "captions"]
    facts = {k: np.concatenate([t[k] for t in tables]) for k in keys}
    maps = tuple(np.load(p.with_name(p.stem + ".rgb.npy"), mmap_mode="r") for p in paths)
    return Shards(maps, facts, captions)
