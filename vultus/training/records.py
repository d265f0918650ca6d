"""What a training is asked to do, and what it leaves behind.

Notation
    original_size   (width_px, height_px) of the upright picture the user gave
    crop            box_px = (x0, y0, x1, y1), half-open, in pixels of that picture; None = all of it
    faces           boxes of the persona's face, like `crop` but not whole; see `checks.faces_wanted_by`
    points          its five points (x, y), px of that picture, in the order of faces.records
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
    "FaceBox",
    "Progress",
    "TrainPicture",
    "TrainResult",
    "TrainSpec",
    "Trainer",
]

BoxPx = tuple[int, int, int, int]
FaceBox = tuple[float, float, float, float]


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
    targets: str = setting(
        "kohya",
        help="what the LoRA adapts in the UNet: kohya = attention, feed-forward and projections;"
        " attention_ff = without projections; attention; cross_attention = to the caption only",
        choices=("kohya", "attention_ff", "attention", "cross_attention"),
    )
    dora: bool = setting(
        False,
        help="DoRA: also learn how long every row of a weight is (one number per output; slower)",
    )
    rslora: bool = setting(
        False, help="rsLoRA: scale by alpha / sqrt(rank), so that a rank does not change the rate"
    )
    steps: int = setting(
        500, help="optimizer steps in all; each sees one batch", low=1, high=1_000_000
    )
    batch: int = setting(4, help="pictures per step", low=1, high=256)
    learning_rate: float | None = setting(
        None,
        help="peak learning rate; unset means the optimizer's own: adamw 0.001, adafactor 0.01,"
        " prodigy 1.0 (full-size SDXL with adamw usually wants 0.0001)",
        low=0.0,
        high=10.0,
    )
    text_learning_rate: float | None = setting(
        None,
        help="peak learning rate of the text encoders; unset = learning_rate. Prodigy has one step"
        " size for all and refuses another; prodigy_plus has one of its own for them",
        low=0.0,
        high=10.0,
    )
    optimizer: str = setting(
        "adamw",
        help="adamw; adamw8bit (a quarter of its memory, needs an extra package); prodigy, which"
        " finds its own step size; prodigy_plus (the same, averaging, less memory); adafactor",
        choices=("adamw", "adamw8bit", "prodigy", "prodigy_plus", "adafactor"),
    )
    slice_p: int = setting(
        1,
        help="prodigy estimates its step size from every n-th number: 11 saves two fifths of its"
        " memory",
        low=1,
        high=1000,
    )
    d_coef: float = setting(
        1.0,
        help="multiplies the step size that prodigy and prodigy_plus find (0.5 to 2)",
        low=0.01,
        high=100.0,
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
    accumulate: int = setting(
        1, help="batches whose gradients are added up for one optimizer step", low=1, high=1024
    )
    text_encoders: bool = setting(
        False, help="train LoRA on the text encoders too (forbids caching their outputs)"
    )
    encoders: str = setting(
        "both",
        help="which text encoders text_encoders means: both, first (CLIP-L) or second (bigG)",
        choices=("both", "first", "second"),
    )
    encoder_targets: str = setting(
        "kohya",
        help="what the LoRA adapts in them: kohya = attention and feed-forward, or attention",
        choices=("kohya", "attention"),
    )
    loss: str = setting(
        "plain",
        help="how far a guess is off: plain squares it, huber forgives outliers",
        choices=("plain", "huber"),
    )
    huber_c: float = setting(
        0.1, help="difference from which huber stops squaring", low=0.0001, high=10.0
    )
    weighting: str = setting(
        "plain",
        help="how much a timestep counts: plain, min_snr (less at the finest detail), debiased"
        " (more where the picture is nearly noise)",
        choices=("plain", "min_snr", "debiased"),
    )
    min_snr_gamma: float = setting(
        5.0, help="signal-to-noise ratio at which min_snr caps", low=0.01, high=1000.0
    )
    face_weight: float = setting(
        1.0,
        help="how much more a pixel of the face counts than another of the same picture; every"
        " picture counts the same in all. 1 switches it off; needs the faces' boxes",
        low=1.0,
        high=1000.0,
    )
    face_ramp: bool = setting(
        True,
        help="fade the face's weight out where noise hides the picture (full below t = 600)",
    )
    prior_every: int = setting(
        0,
        help="every n-th step hold what is not the face to what the untrained base would paint;"
        " 0 never (a third slower in those steps)",
        low=0,
        high=1000,
    )
    views: str = setting(
        "full",
        help="what is seen of each picture: full; added = its head-and-shoulders and face crops too;"
        " substituted = those crops in its place. Each crop tells SDXL its true place and size",
        choices=("full", "added", "substituted"),
    )
    view_enlarge_max: float = setting(
        2.0, help="crops that must be enlarged more than this are left out", low=1.0, high=16.0
    )
    identity_weight: float = setting(
        0.0,
        help="how much the likeness of the face in the cleaned-up guess counts beside the loss (0.05"
        " to 0.1 where it is used); 0 = off. On the stand-in an independent judge gained by it, for 1.4 times the time",
        low=0.0,
        high=100.0,
    )
    identity_recogniser: str = setting(
        "",
        help='whose likeness identity_weight teaches: a face pack and recogniser, e.g. "standin:b";'
        " never the one that measures",
    )
    identity_every: int = setting(
        2, help="the likeness is taught in every n-th step", low=1, high=1000
    )
    identity_from: float = setting(
        0.2, help="share of the steps before it begins: there is no face before", low=0.0, high=1.0
    )
    identity_below_t: int = setting(
        500, help="timestep (of 1000) from which noise hides the face", low=1, high=1000
    )
    identity_min_latents: float = setting(
        8.0, help="faces narrower than this many latents are skipped", low=1.0, high=128.0
    )
    caption_dropout: float = setting(
        0.0, help="share of pictures whose caption is hidden, drawn per step", low=0.0, high=1.0
    )
    checkpoints: int = setting(
        4, help="weight files written at equal distances; the last one at the last step", low=1
    )
    precision: str = setting(
        "fp32",
        help="of the frozen base: fp32, bf16 (half the memory; the LoRA itself stays fp32), or fp8 (the"
        " UNet's weights kept in 8-bit floats, computed in bf16: a quarter, and another base)",
        choices=("fp32", "bf16", "fp8"),
    )
    gradient_checkpointing: bool = setting(
        False, help="recompute activations in the backward pass: a third slower, far less memory"
    )
    split: int = setting(
        1,
        help="parts a batch is computed in, one after the other: less memory, the same training",
        low=1,
        high=256,
    )
    save_precision: str = setting(
        "fp16",
        help="of the numbers in a checkpoint: fp16 (what loaders expect), bf16 or fp32",
        choices=("fp16", "bf16", "fp32"),
    )
    private: bool = setting(
        False,
        help="leave out of a checkpoint everything that tells of the dataset or of the settings",
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
        return {"prodigy": 1.0, "prodigy_plus": 1.0, "adafactor": 1e-2}.get(self.optimizer, 1e-3)

    @property
    def text_rate(self) -> float:
        """The peak learning rate of the text encoders."""
        rate = self.text_learning_rate
        return self.peak_rate if rate is None else rate

    @property
    def scaled_conv_alpha(self) -> float:
        """The alpha of the 3x3 convolutions that is used when none was written."""
        if self.conv_alpha is not None:
            return self.conv_alpha
        return self.alpha / self.rank * max(self.conv_rank, 1)

    def checkpoints_until(self, step: int | None) -> tuple[int, ...]:
        """The checkpoints of a training that stops after this step (None: goes to its end)."""
        return tuple(s for s in self.checkpoint_steps if step is None or s <= step)

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
    faces: tuple[FaceBox, ...] = ()
    points: tuple[tuple[float, float], ...] = ()


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
        *,
        until: int | None = None,
    ) -> TrainResult:
        """Train to the end, or to the step `until`: whatever lies in `out` then goes on from there, bit for bit."""
