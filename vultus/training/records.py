"""What a training is asked to do, and what it leaves behind.

Notation
    original_size   (width_px, height_px) of the upright picture the user gave
    crop            box_px = (x0, y0, x1, y1), half-open, in pixels of that picture; None = all of it
    step            optimizer steps done; a checkpoint "at step k" holds the weights after k steps
    loss            mean squared error of the predicted noise over one batch, float; lower is closer
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vultus.core.specs import setting

__all__ = [
    "CheckpointRecord",
    "Progress",
    "TrainPicture",
    "TrainResult",
    "TrainSpec",
    "Trainer",
]

BoxPx = tuple[int, int, int, int]


@dataclass(frozen=True)
class TrainSpec:
    """Everything about a training that makes it a different experiment."""

    rank: int = setting(
        8,
        help="rank of every LoRA matrix pair (kohya: network_dim); file size grows with it",
        low=1,
        high=512,
    )
    alpha: float = setting(
        4.0,
        help="the LoRA's output is scaled by alpha / rank; keep the ratio when the rank changes",
        low=0.001,
        high=1024.0,
    )
    conv_rank: int = setting(
        0,
        help="rank of the UNet's 3x3 convolutions (kohya: conv_dim, a LoCon); 0 leaves them and the"
        " rest of the residual blocks alone. Their 1x1 layers take `rank`",
        low=0,
        high=512,
    )
    conv_alpha: float | None = setting(
        None,
        help="alpha of the 3x3 convolutions; unset keeps the ratio of alpha to rank",
        low=0.001,
        high=1024.0,
    )
    steps: int = setting(
        500, help="optimizer steps in all; each sees one batch", low=1, high=1_000_000
    )
    batch: int = setting(4, help="pictures per step", low=1, high=256)
    learning_rate: float | None = setting(
        None,
        help="peak learning rate; unset means the optimizer's own: adamw 0.001, prodigy 1.0"
        " (full-size SDXL with adamw usually wants 0.0001)",
        low=0.0,
        high=10.0,
    )
    optimizer: str = setting(
        "adamw",
        help="adamw, or prodigy, which finds its own step size",
        choices=("adamw", "prodigy"),
    )
    weight_decay: float = setting(
        0.01, help="decoupled weight decay of the LoRA matrices", low=0.0, high=1.0
    )
    schedule: str = setting(
        "constant",
        help="the learning rate after the warm-up: constant, or cosine down to zero",
        choices=("constant", "cosine"),
    )
    warmup_steps: int = setting(
        0, help="steps over which the learning rate climbs from zero", low=0, high=100_000
    )
    gradient_clip: float = setting(
        1.0, help="largest norm of the whole gradient; 0 switches clipping off", low=0.0, high=1e6
    )
    text_encoders: bool = setting(
        False, help="train LoRA on both text encoders too (forbids caching their outputs)"
    )
    caption_dropout: float = setting(
        0.0, help="share of pictures whose caption is hidden, drawn per step", low=0.0, high=1.0
    )
    checkpoints: int = setting(
        4, help="weight files written at equal distances; the last one at the last step", low=1
    )
    precision: str = setting(
        "fp32",
        help="of the frozen base: fp32, or bf16 (half the memory; the LoRA itself stays fp32)",
        choices=("fp32", "bf16"),
    )
    gradient_checkpointing: bool = setting(
        False, help="recompute activations in the backward pass: a third slower, far less memory"
    )
    resolution_px: int = setting(
        128,
        help="pictures are trained at about this many pixels squared (SDXL: 1024)",
        low=64,
        high=2048,
    )

    @property
    def peak_rate(self) -> float:
        """The learning rate that is used when none was written."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 1.0 if self.optimizer == "prodigy" else 1e-3

    @property
    def scaled_conv_alpha(self) -> float:
        """The alpha of the 3x3 convolutions that is used when none was written."""
        if self.conv_alpha is not None:
            return self.conv_alpha
        return self.alpha / self.rank * max(self.conv_rank, 1)

    @property
    def checkpoint_steps(self) -> tuple[int, ...]:
        """The steps at which weights are written; strictly rising, the last is `steps`."""
        parts = min(self.checkpoints, self.steps)
        return tuple(self.steps * (i + 1) // parts for i in range(parts))


@dataclass(frozen=True)
class TrainPicture:
    """One View: what the trainer sees of one picture, and the words that describe it."""

    path: Path
    caption: str
    original_size: tuple[int, int]
    crop: BoxPx | None = None


@dataclass(frozen=True)
class CheckpointRecord:
    """One weight file, in SDXL-kohya form."""

    step: int
    path: Path


@dataclass(frozen=True)
class TrainResult:
    """What a finished training left behind.

    `seconds` is the time spent in the training loop by the process that finished it; a resumed
    training counts only its own share. `resumed_from` is the step it started at (0 = fresh).
    """

    checkpoints: tuple[CheckpointRecord, ...]
    losses: list[tuple[int, float]]
    seconds: float
    resumed_from: int = 0
    notes: tuple[str, ...] = ()


class Progress(Protocol):
    """The part of `core.progress.Progress` that a trainer uses."""

    def advance(self, n: float = 1.0, note: str = "", *, remembered: bool = False) -> None: ...


class Trainer(Protocol):
    """A way to train: the native one, or the fake one with a planted truth."""

    def __call__(
        self,
        spec: TrainSpec,
        base: Path,
        pictures: Sequence[TrainPicture],
        out: Path,
        seed: int,
        progress: Progress | None = None,
    ) -> TrainResult: ...
