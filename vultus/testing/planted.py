"""A world without nets whose answers are planted: pictures, bases and a face pack that know the truth.

    pictures   `make_pictures` draws portraits that carry who they show (faces.engines.fake reads it back)
    training   trainer = "fake" writes checkpoints that say whom the pictures showed and how far they are trained
    renders    renderer = "fake" plants a face whose likeness follows the planted truth of its base

So a sweep over this world has one right answer, and a whole run takes seconds.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from vultus.core.files import write_bytes
from vultus.core.seeds import stream
from vultus.faces.engines.fake import Planted, plant
from vultus.generation.backends.fake import PlantedTruth, write_fake_base
from vultus.images.records import Rgb
from vultus.images.write import save_png

PERSONA = 7
"""Who the planted pictures show, as `faces.engines.fake` counts people."""


def make_pictures(folder: Path, count: int, side_px: int = 64) -> None:
    """Draw portraits of the persona, each with a caption, that nobody takes for one another."""
    for i in range(count):
        box = _box(i, side_px)
        face = Planted(PERSONA, 0.95, "ok", box, noise_seed=i)
        save_png(
            folder / f"p{i:03d}.png", plant(texture(f"picture {i}", side_px), face), xmp_ai=False
        )
        words = ("indoors", "outdoors", "at night", "by the sea", "in a street")[i % 5]
        write_bytes(folder / f"p{i:03d}.txt", f"photo of woman, {words}, view {i}".encode())


def make_picture(path: Path, face: Planted | None, name: str, side_px: int = 64) -> None:
    """Draw one picture with this truth, or with nobody in it."""
    rgb = texture(name, side_px)
    save_png(path, rgb if face is None else plant(rgb, face), xmp_ai=False)


def texture(name: str, side_px: int) -> Rgb:
    """Coarse random blocks: corners enough to be matched, few enough to be fast, and never twice the same."""
    rng = stream("planted texture", name)
    coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((side_px // 8, side_px // 8, 1), dtype=np.uint8))


def make_base(folder: Path, truth: PlantedTruth | None = None) -> Path:
    """Make a base of the planted world: a folder with nothing but what is true of its renders."""
    return write_fake_base(folder, truth)


def make_pack(folder: Path) -> Path:
    """Write the pack of the fake face engine, which reads what is planted."""
    text = (
        'name = "planted"\nlicence = "none"\njudge = "plant"\n'
        '[detector]\nkind = "fake"\n[recognisers.plant]\n'
    )
    write_bytes(folder / "pack.toml", text.encode())
    return folder


def _box(i: int, side_px: int) -> tuple[float, float, float, float]:
    """Faces of three framings, so that a split has strata to look at."""
    side = side_px * (0.5, 0.25, 0.12)[i % 3]
    at = side_px * 0.2 + (zlib.crc32(str(i).encode()) % 16)
    return (at, at, at + side, at + side)


def make_workspace(folder: Path, pictures: int = 24, steps: int = 8) -> Path:
    """Make a whole workspace of the planted world: two bases, of which `soft` is better, and 24 pictures."""
    write_bytes(folder / "persona.toml", PERSONA_TOML.encode())
    write_bytes(folder / "vultus.toml", PLAN_TOML.replace("STEPS", str(steps)).encode())
    make_pack(folder / "pack")
    make_base(folder / "plain", PlantedTruth(peak=0.70, best_strength=0.8))
    make_base(folder / "soft", PlantedTruth(peak=0.85, best_strength=0.8))
    make_pictures(folder / "pictures", pictures)
    return folder


PERSONA_TOML = """\
name = "Ada"
trigger = "ohwx"
class_words = "woman"
provenance = "synthetic"
adult = true
"""

PLAN_TOML = """\
bases = ["plain", "soft"]
face_pack = "pack"
trainer = "fake"
renderer = "fake"

[train]
steps = STEPS
checkpoints = 4

[render]
width_px = 64
height_px = 64

[panel]
seeds = [1, 2]

[panel.prompts]
close_up = ["close-up photo of {persona}, smiling", "close-up photo of {persona}, stern"]
half_body = ["half body photo of {persona}, smiling", "half body photo of {persona}, stern"]
full_body = ["full body photo of {persona}, smiling", "full body photo of {persona}, stern"]

[sweep]
allocator = "grid"
strengths = [0.0, 0.4, 0.8, 1.2]

[confirm]
seeds = [11, 12]

[confirm.prompts]
close_up = ["close-up photo of {persona}, surprised", "close-up photo of {persona}, asleep"]
half_body = ["half body photo of {persona}, surprised"]
full_body = ["full body photo of {persona}, surprised"]

[machine]
executor = "local:2"
"""

__all__ = [
    "PERSONA",
    "PERSONA_TOML",
    "PLAN_TOML",
    "make_base",
    "make_pack",
    "make_picture",
    "make_pictures",
    "make_workspace",
    "texture",
]
