"""What is to be rendered, and by whom.

Notation
    rgb         one render            uint8 (height_px, width_px, 3), RGB, upright
    strength    multiplier of the LoRA's change of the weights; 0 is the base itself, exactly
    seed        63-bit integer; the starting noise of a render depends on it and on nothing else
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from vultus.core.specs import setting

__all__ = [
    "SEED_MAX",
    "Codec",
    "Progress",
    "Redraw",
    "Redrawer",
    "RenderRequest",
    "RenderSpec",
    "Renderer",
    "Rgb",
]

Rgb = npt.NDArray[np.uint8]

SEED_MAX = 2**63 - 1
"""The largest seed that a stream of noise takes."""


@dataclass(frozen=True)
class RenderSpec:
    """How every render of a sweep is made; any change is a different experiment."""

    steps: int = setting(16, help="denoising steps per render", low=1, high=500)
    guidance: float = setting(
        5.0, help="classifier-free guidance; 1 and below switches it off", low=0.0, high=50.0
    )
    width_px: int = setting(128, help="width of a render (SDXL: 1024)", low=64, high=4096)
    height_px: int = setting(128, help="height of a render (SDXL: 1024)", low=64, high=4096)
    scheduler: str = setting(
        "ddim",
        help="sampler: ddim, euler, or dpmpp_2m_karras",
        choices=("ddim", "euler", "dpmpp_2m_karras"),
    )
    negative: str = setting("", help="negative prompt; empty means SDXL's zeroed conditioning")
    precision: str = setting(
        "auto",
        help="of the resident base: auto (fp32 on CPU, fp16 on CUDA), fp32, bf16 or fp16",
        choices=("auto", "fp32", "bf16", "fp16"),
    )


@dataclass(frozen=True)
class RenderRequest:
    """One picture that is asked for."""

    prompt: str
    seed: int
    lora: Path | None = None
    strength: float = 0.0


@dataclass(frozen=True, eq=False)
class Redraw:
    """A square picture to be drawn again from part of the way back to noise.

    `denoise` is that part, above 0 and at most 1; `request` says with what words, seed, LoRA and strength.
    """

    request: RenderRequest
    rgb: Rgb
    denoise: float


class Progress(Protocol):
    """The part of `core.progress.Progress` that a renderer uses."""

    def advance(self, n: float = 1.0, note: str = "", *, remembered: bool = False) -> None: ...


class Codec(Protocol):
    """A base's way from pixels to latents and back: the most that any of its renders can show."""

    def round_trip(self, rgb: Rgb) -> Rgb: ...


class Renderer(Protocol):
    """A resident base that renders.

    `render` yields one rgb per request, **in the order of the requests**; neighbours with one LoRA
    are denoised together, so callers that group them render faster. A renderer may have an
    attribute `batch`, how many it denoises at a time, and is not thread-safe.

    Raises RenderError when a LoRA does not fit the base, naming the file.
    """

    def render(
        self, requests: Sequence[RenderRequest], progress: Progress | None = None
    ) -> Iterator[Rgb]: ...

    def close(self) -> None:
        """Let go of the weights; later calls raise."""


@runtime_checkable
class Redrawer(Protocol):
    """A renderer that can also draw pictures again."""

    def redraw(self, asked: Sequence[Redraw]) -> Iterator[Rgb]: ...
