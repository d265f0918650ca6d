"""Two recognisers of different width, people and seed: embeddings in which one person's pictures lie together.

Notation
    face    float32 (B, 3, 56, 56), RGB, -1..1
    emb     float32 (B, 128), unit length after normalisation
    W       class centres, float32 (n_ids, 128), unit rows; loss = cross-entropy of s (cos(theta + m [true class]))
Additive angular margin: Deng et al., ArcFace, arXiv 1801.07698 (s = 24, m = 0.35 suit a few thousand classes).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear, normalize, one_hot

from vultus.standin.build.data import Shards
from vultus.standin.build.faces import aligned, jittered
from vultus.standin.build.loop import LoopSpec, channels_last, fit, frozen_average

__all__ = [
    "EMB",
    "RECOGNISERS",
    "Recogniser",
    "RecogniserSpec",
    "load_recogniser",
    "train_recogniser",
]

EMB: Final = 128
_SCALE: Final = 24.0
_ARC: Final = 0.35


@dataclass(frozen=True)
class RecogniserSpec:
    """Width, people and length of one recogniser's training."""

    loop: LoopSpec
    widths: tuple[int, int, int, int]
    first_person: int
    last_person: int
    first_named: int
    last_named: int


RECOGNISERS: Final[dict[str, RecogniserSpec]] = {
    "a": RecogniserSpec(
        LoopSpec("recogniser_a", 1000, 2e-3, decay=0.02), (32, 64, 96, 128), 0, 2400, 0, 200
    ),
    "b": RecogniserSpec(
        LoopSpec("recogniser_b", 1000, 2e-3, decay=0.02), (24, 48, 112, 160), 1600, 4000, 100, 300
    ),
}


def _block(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.PReLU(c_out)
    )


class _Residual(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _block(c, c, 1), nn.Conv2d(c, c, 3, 1, 1, bias=False), nn.BatchNorm2d(c)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.body(x)
        return out


class Recogniser(nn.Module):
    """Four halvings, a residual block at each of the lower three, and a linear map that sees where things are."""

    def __init__(self, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        a, b, c, d = widths
        self.body = nn.Sequential(
            _block(3, a, 2),
            _block(a, b, 2),
            _Residual(b),
            _block(b, c, 2),
            _Residual(c),
            _block(c, d, 2),
            _Residual(d),
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.2), nn.Linear(d * 16, EMB), nn.BatchNorm1d(EMB)
        )

    def forward(self, face: torch.Tensor) -> torch.Tensor:
        emb: torch.Tensor = self.head(self.body(face))
        return emb


class _Trainee(nn.Module):
    def __init__(self, spec: RecogniserSpec) -> None:
        super().__init__()
        people = spec.last_person - spec.first_person + spec.last_named - spec.first_named
        self.net = Recogniser(spec.widths)
        self.centres = nn.Parameter(torch.randn(people, EMB))


def _margin_loss(emb: torch.Tensor, centres: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    cos = linear(normalize(emb.float()), normalize(centres)).clamp(-1 + 1e-6, 1 - 1e-6)
    hit = one_hot(label, len(centres)).bool()
    logit = torch.where(hit, torch.cos(torch.acos(cos) + _ARC), cos)
    return cross_entropy(_SCALE * logit, label)


def _faces_and_labels(
    spec: RecogniserSpec, crowd: Shards, named: Shards
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], int]:
    some = np.flatnonzero(
        (crowd.facts["person"] >= spec.first_person) & (crowd.facts["person"] < spec.last_person)
    )
    more = np.flatnonzero(
        (named.facts["person"] >= spec.first_named) & (named.facts["person"] < spec.last_named)
    )
    wide = np.concatenate([aligned(crowd, some), aligned(named, more)])
    offset = spec.last_person - spec.first_person
    label = np.concatenate(
        [
            crowd.facts["person"][some] - spec.first_person,
            named.facts["person"][more] - spec.first_named + offset,
        ]
    )
    return wide, label.astype(np.int64), len(some)


def train_recogniser(which: str, crowd: Shards, named: Shards, folder: Path) -> Recogniser:
    """Train recogniser `a` or `b`."""
    spec = RECOGNISERS[which]
    torch.manual_seed(ord(which))
    model = channels_last(_Trainee(spec))
    wide, label, n_crowd = _faces_and_labels(spec, crowd, named)

    def loss(rng: np.random.Generator, step: int) -> torch.Tensor:
        model.train()
        rows = np.concatenate(
            [rng.integers(n_crowd, size=88), rng.integers(n_crowd, len(label), size=40)]
        )
        face = jittered(wide[rows], rng).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            emb = model.net(face)
        return _margin_loss(emb, model.centres, torch.from_numpy(label[rows]))

    fit(spec.loop, folder, model, loss)
    return model.net


def load_recogniser(which: str, folder: Path) -> Recogniser:
    """The trained recogniser, frozen."""
    spec = RECOGNISERS[which]
    model = _Trainee(spec)
    frozen_average(spec.loop, folder, model)
    return model.net
