"""A renderer whose answers are planted: for tests that know which cell is the best one.

It draws no face; it writes into the picture who is in it and how alike (`faces.engines.fake`), by
a curve over strength and training that has one peak. A base folder may hold `fake.json` with the
fields of `PlantedTruth`; without it the defaults hold.

Notation
    share       part of the training a checkpoint has seen, 0..1
    likeness    0..1, what the fake face engine reads back as similarity to the planted identity
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from vultus.core.errors import RenderError, WeightsError
from vultus.core.seeds import seed_of, stream
from vultus.core.weights import require_base, require_lora
from vultus.faces.engines.fake import Planted, plant
from vultus.generation.records import Progress, RenderRequest, RenderSpec, Rgb

__all__ = ["FakeRenderer", "PlantedTruth", "open_renderer", "write_fake_base"]


@dataclass(frozen=True)
class PlantedTruth:
    """The answer that a sweep over this base must find."""

    peak: float = 0.85
    """likeness at the best strength and share"""
    best_strength: float = 1.0
    best_share: float = 0.75
    spread: float = 0.04
    """standard deviation of likeness from render to render"""
    missing_beyond: float = 1.25
    """above this strength every third render has no face"""

    def likeness(self, strength: float, share: float) -> float:
        """Mean likeness of a cell: zero at strength 0, one peak, falling on both sides of it."""
        rise = min(strength / self.best_strength, 1.0)
        fall = max(strength / self.best_strength - 1.0, 0.0)
        ripe = 1.0 - (share - self.best_share) ** 2
        return max(self.peak * rise * ripe * (1.0 - 1.5 * fall**2), 0.0)


class FakeRenderer:
    """Plants instead of rendering; the same request always gives the same picture."""

    def __init__(self, spec: RenderSpec, truth: PlantedTruth, base: str) -> None:
        self._spec = spec
        self._truth = truth
        self._base = base
        self._open = True

    def render(
        self, requests: Sequence[RenderRequest], progress: Progress | None = None
    ) -> Iterator[Rgb]:
        """One planted picture per request."""
        for request in requests:
            if not self._open:
                raise RenderError("this renderer was closed", next_command="open it again")
            yield self._render(request)
            if progress:
                progress.advance(1)

    def close(self) -> None:
        """Later renders raise."""
        self._open = False

    def _render(self, request: RenderRequest) -> Rgb:
        draw = stream("generation", "fake", self._base, request.prompt, request.seed)
        shape = (self._spec.height_px, self._spec.width_px, 3)
        rgb = draw.integers(64, 192, shape, dtype=np.uint8)
        return plant(rgb, self._planted(request, draw))

    def _planted(self, request: RenderRequest, draw: np.random.Generator) -> Planted:
        # the same luck for a block at every strength and checkpoint: cells share their blocks
        luck = float(draw.normal())
        noise_seed = seed_of("generation", "fake", request.prompt, request.seed) % 2**32
        side = min(self._spec.width_px, self._spec.height_px)
        box = (side / 8, side / 8, side * 5 / 8, side * 5 / 8)
        if request.lora is None or request.strength == 0.0:
            # the base alone shows a stranger; another one for every block
            return Planted(noise_seed % 65536, 0.0, "ok", box, noise_seed)
        about = require_lora(request.lora).metadata
        if "vultus.fake_identity" not in about:
            raise RenderError(
                "was not made by the fake trainer",
                where=str(request.lora),
                expected='a checkpoint of trainer = "fake"',
            )
        identity = max(int(about["vultus.fake_identity"]), 0)
        mean = self._truth.likeness(request.strength, float(about["vultus.fake_share"]))
        likeness = min(max(mean + self._truth.spread * luck, 0.0), 1.0)
        lost = request.strength > self._truth.missing_beyond and noise_seed % 3 == 0
        return Planted(identity, likeness, "none" if lost else "ok", box, noise_seed)


def open_renderer(base: Path, spec: RenderSpec, device: str = "auto") -> FakeRenderer:
    """The fake of a base: a real base's folder or file, or a folder made by `write_fake_base`."""
    planted = base / "fake.json"
    if not planted.exists():
        require_base(base)
        return FakeRenderer(spec, PlantedTruth(), base.stem)
    known = {field.name for field in fields(PlantedTruth)}
    table = json.loads(planted.read_text("utf-8"))
    if not isinstance(table, dict) or not set(table) <= known:
        raise WeightsError(
            "does not hold a planted truth", where=str(planted), expected=", ".join(sorted(known))
        )
    return FakeRenderer(spec, PlantedTruth(**table), base.stem)


def write_fake_base(folder: Path, truth: PlantedTruth | None = None) -> Path:
    """A base for fakes: a folder with nothing but its planted truth."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fake.json").write_text(json.dumps(asdict(truth or PlantedTruth())), "utf-8")
    return folder
