"""A world without nets whose answers are planted: a trainer, a renderer and a face engine that know the truth.

    pictures   `make_pictures` draws portraits that carry who they show (faces.engines.fake reads it back)
    training   writes checkpoints that carry how well each would do
    renders    carry a face whose likeness follows a planted curve of base, checkpoint and strength

The likeness of a cell peaks at `best_base`, `best_checkpoint`, `best_strength` and falls off on all sides, so a sweep
over this world has one right answer, and a whole run takes seconds.

Notation
    likeness   0..1: expected cosine of a render to the persona's own direction
    share      how far a checkpoint is trained, 0..1 (step / steps)
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from vultus.core.errors import RenderError
from vultus.core.files import write_bytes
from vultus.core.seeds import seed_of, stream
from vultus.faces.engines.fake import Planted, find_plant, plant
from vultus.generation.records import Progress as RenderProgress
from vultus.generation.records import RenderRequest, RenderSpec, Rgb
from vultus.images.load import load_picture
from vultus.images.write import save_png
from vultus.training.records import (
    CheckpointRecord,
    Progress,
    TrainPicture,
    TrainResult,
    TrainSpec,
)

STRANGER = 40_000


@dataclass(frozen=True)
class Truth:
    """What is true in the planted world."""

    persona: int = 7
    best_base: str = "soft"
    best_share: float = 0.75
    best_strength: float = 0.8
    top: float = 0.9
    """Likeness of the best cell; the persona's own pictures have 0.95."""


def make_pictures(folder: Path, count: int, truth: Truth | None = None, side_px: int = 128) -> None:
    """Draw portraits of the persona, each with a caption, that no hash takes for one another."""
    known = truth or Truth()
    for i in range(count):
        box = _box(i, side_px)
        face = Planted(known.persona, 0.95, "ok", box, noise_seed=i)
        save_png(folder / f"p{i:03d}.png", plant(texture(f"picture {i}", side_px), face), xmp_ai=False)
        words = ("indoors", "outdoors", "at night", "by the sea", "in a street")[i % 5]
        write_bytes(folder / f"p{i:03d}.txt", f"photo of woman, {words}, view {i}".encode())


def make_picture(path: Path, face: Planted | None, name: str, side_px: int = 128) -> None:
    """Draw one picture with this truth, or with nobody in it."""
    rgb = texture(name, side_px)
    save_png(path, rgb if face is None else plant(rgb, face), xmp_ai=False)


def texture(name: str, side_px: int) -> Rgb:
    """Coarse random blocks: rich in corners, and never twice the same."""
    rng = stream("planted texture", name)
    coarse = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((side_px // 16, side_px // 16, 1), dtype=np.uint8))


def make_base(folder: Path, name: str) -> Path:
    """Make a base that this world's renderer knows by the name written in it.

    It has the shape of a diffusers folder with tiny random weights, so that every check of a real base passes.
    """
    from safetensors.numpy import save_file

    base = folder / name
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        (base / part).mkdir(parents=True, exist_ok=True)
        save_file(
            {"weight": stream(name, part).standard_normal(4).astype(np.float32)},
            str(base / part / "model.safetensors"),
        )
    for part in ("tokenizer", "tokenizer_2", "scheduler"):
        (base / part).mkdir(parents=True, exist_ok=True)
        write_bytes(base / part / "config.json", b"{}")
    index = {"_class_name": "StableDiffusionXLPipeline", "planted": name}
    write_bytes(base / "model_index.json", json.dumps(index).encode())
    return base


def train(
    spec: TrainSpec,
    base: Path,
    pictures: Sequence[TrainPicture],
    out: Path,
    seed: int,
    progress: Progress | None = None,
) -> TrainResult:
    """Plant checkpoints: each file says how far it is trained and whom it shows."""
    from safetensors.numpy import save_file

    seen = [find_plant(load_picture(picture.path).rgb) for picture in pictures]
    whom = max({p.identity for p in seen if p is not None}, default=0)
    out.mkdir(parents=True, exist_ok=True)
    records: list[CheckpointRecord] = []
    for step in spec.checkpoint_steps:
        path = out / f"step-{step}.safetensors"
        truth = {"share": str(step / spec.steps), "whom": str(whom), "seed": str(seed)}
        save_file({"lora.lora_down.weight": np.zeros((1, 1), np.float32)}, str(path), truth)
        records.append(CheckpointRecord(step, path))
        if progress is not None:
            progress.advance(step - (records[-2].step if len(records) > 1 else 0))
    losses = [(step, 1.0 / (1 + step)) for step in range(1, spec.steps + 1)]
    return TrainResult(tuple(records), losses, 0.0)


class PlantedRenderer:
    """Renders pictures whose faces have the likeness that the truth gives their cell."""

    def __init__(self, base: Path, spec: RenderSpec, truth: Truth) -> None:
        index = json.loads((base / "model_index.json").read_text(encoding="utf-8"))
        self._name = str(index["planted"])
        self._spec = spec
        self._truth = truth

    def render(
        self, requests: Sequence[RenderRequest], progress: RenderProgress | None = None
    ) -> Iterator[Rgb]:
        """One picture per request, in order."""
        for request in requests:
            yield self._draw(request)
            if progress is not None:
                progress.advance(1)

    def close(self) -> None:
        """Nothing is held."""

    def _draw(self, request: RenderRequest) -> Rgb:
        whom, share = STRANGER, 0.0
        if request.lora is not None and request.strength != 0:
            whom, share = _planted_lora(request.lora)
        noise = request.seed % 2**31
        rng = stream("planted render", request.seed, self._name)
        blank = texture(f"{request.prompt} {request.seed}", self._spec.width_px)
        wobble = 0.02 * float(rng.standard_normal())
        level = likeness(self._truth, self._name, share, request.strength) + wobble
        if whom == STRANGER or level <= 0:
            # A base's strangers are of the persona's kind: a little like it, never the same one twice.
            return plant(blank, Planted(STRANGER + noise % 20_000, 0.5, noise_seed=noise))
        return plant(blank, Planted(whom, float(min(max(level, 0.0), 0.99)), noise_seed=noise))


def open_renderer(base: Path, spec: RenderSpec, device: str = "auto") -> PlantedRenderer:
    """Open a base of the planted world. Raises RenderError on any other."""
    if not (base / "model_index.json").is_file():
        raise RenderError("this is not a base of the planted world", where=str(base))
    return PlantedRenderer(base, spec, Truth())


def likeness(truth: Truth, base: str, share: float, strength: float) -> float:
    """The planted curve: one peak, falling off with each of the three levers."""
    off_base = 0.0 if base == truth.best_base else 0.12
    off_share = 0.5 * abs(share - truth.best_share)
    off_strength = 0.8 * abs(strength - truth.best_strength)
    return truth.top - off_base - off_share - off_strength


@contextmanager
def registered() -> Iterator[None]:
    """Let plans say trainer = "planted" and renderer = "planted" inside the block, in this process only."""
    from vultus.steps.kinds.resident import RENDERERS
    from vultus.steps.kinds.train import TRAINERS

    for registry, place in ((RENDERERS, "open_renderer"), (TRAINERS, "train")):
        if "planted" not in registry:
            registry.add("planted", f"{__name__}:{place}", help="the planted world of tests")
    yield


def make_pack(folder: Path) -> Path:
    """Write the pack of the fake face engine, which reads what is planted."""
    text = (
        'name = "planted"\nlicence = "none"\njudge = "plant"\n'
        '[detector]\nkind = "fake"\n[recognisers.plant]\n'
    )
    write_bytes(folder / "pack.toml", text.encode())
    return folder


def _planted_lora(path: Path) -> tuple[int, float]:
    from vultus.core.weights import require_lora

    truth = require_lora(path).metadata
    return int(truth["whom"]), float(truth["share"])


def _box(i: int, side_px: int) -> tuple[float, float, float, float]:
    """Faces of three framings, so that a split has strata to look at."""
    side = side_px * (0.5, 0.25, 0.12)[i % 3]
    at = side_px * 0.2 + (zlib.crc32(str(i).encode()) % 16)
    return (at, at, at + side, at + side)


def truth_table(truth: Truth) -> dict[str, object]:
    """The truth as plain data, for a test's message."""
    return {**asdict(truth), "seed": seed_of("truth", truth.persona)}


__all__ = [
    "STRANGER",
    "PlantedRenderer",
    "Truth",
    "likeness",
    "make_base",
    "make_pack",
    "make_picture",
    "make_pictures",
    "open_renderer",
    "registered",
    "texture",
    "train",
    "truth_table",
]
