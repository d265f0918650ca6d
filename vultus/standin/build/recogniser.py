"""Two recognisers of different width, people and seed: embeddings in which one person's pictures lie together.

Notation
    face    float32 (B, 3, 56, 56), RGB, -1..1
    emb     float32 (B, 128), unit length after normalisation
    W       class centres, float32 (n_ids, 128), unit rows; loss = cross-entropy of s (cos(theta + m [true class]))
A linear hint from the embedding to the true identity parameters (colours weighted 0.3) rides along
in training and is thrown away: with a margin loss alone 128,000 faces taught little but hair and
skin (docs/log.md has the readings).
The margin grows from 0 over the first 40 % of the steps: with all of it at once a short training
never leaves the start. Additive angular margin: Deng et al., ArcFace, arXiv 1801.07698 (s = 24,
m = 0.35 suit a few thousand classes).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear, normalize, one_hot, smooth_l1_loss

from vultus.standin.build.data import Shards
from vultus.standin.build.faces import aligned, jittered
from vultus.standin.build.loop import LoopSpec, channels_last, fit, frozen_average
from vultus.standin.identity import COLOURED, N_IDENTITY

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
_HINT: Final = 30.0
_COLOUR_WEIGHT: Final = 0.3
_DRESSED: Final = 3.0


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
        LoopSpec("recogniser_a", 2600, 3e-3, decay=0.02), (32, 64, 96, 128), 0, 1600, 0, 200
    ),
    "b": RecogniserSpec(
        LoopSpec("recogniser_b", 2600, 3e-3, decay=0.02), (24, 48, 112, 160), 2400, 4000, 100, 300
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
        self.hint = nn.Linear(EMB, N_IDENTITY)


def _margin_loss(
    emb: torch.Tensor, centres: torch.Tensor, label: torch.Tensor, margin: float
) -> torch.Tensor:
    cos = linear(normalize(emb.float()), normalize(centres)).clamp(-1 + 1e-6, 1 - 1e-6)
    hit = one_hot(label, len(centres)).bool()
    logit = torch.where(hit, torch.cos(torch.acos(cos) + margin), cos)
    return cross_entropy(_SCALE * logit, label)


def _chosen(
    spec: RecogniserSpec, crowd: Shards, named: Shards
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pictures of this recogniser's people in both populations."""
    first, second = crowd.facts["person"], named.facts["person"]
    some = np.flatnonzero((first >= spec.first_person) & (first < spec.last_person))
    more = np.flatnonzero((second >= spec.first_named) & (second < spec.last_named))
    return some, more


def _how_often(world: Shards, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Chance of each picture: a hat, glasses or dyed hair (one picture in three) count threefold.

    Nearly all pairs that a recogniser missed had one of them in one picture only.
    """
    facts = world.facts
    worn = facts["hat"][rows] | facts["glasses"][rows] | facts["dye"][rows]
    chance = np.where(worn, _DRESSED, 1.0)
    return np.asarray(chance / chance.sum(), np.float64)


def train_recogniser(which: str, crowd: Shards, named: Shards, folder: Path) -> Recogniser:
    """Train recogniser `a` or `b`."""
    spec = RECOGNISERS[which]
    torch.manual_seed(ord(which))
    model = channels_last(_Trainee(spec))
    some, more = _chosen(spec, crowd, named)
    wide = np.concatenate([aligned(crowd, some), aligned(named, more)])
    truth = np.concatenate([crowd.facts["z"][some], named.facts["z"][more]]).astype(np.float32)
    offset = spec.last_person - spec.first_person
    label = np.concatenate(
        [
            crowd.facts["person"][some] - spec.first_person,
            named.facts["person"][more] - spec.first_named + offset,
        ]
    ).astype(np.int64)
    often = [_how_often(crowd, some), _how_often(named, more)]
    weight = torch.from_numpy(np.where(COLOURED, _COLOUR_WEIGHT, 1.0).astype(np.float32))

    def loss(rng: np.random.Generator, step: int) -> torch.Tensor:
        model.train()
        rows = np.concatenate(
            [
                rng.choice(len(some), size=88, p=often[0]),
                rng.choice(len(more), size=40, p=often[1]) + len(some),
            ]
        )
        face = jittered(wide[rows], rng).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            emb = model.net(face)
        margin = _ARC * min(1.0, step / (0.4 * spec.loop.steps))
        told = _margin_loss(emb, model.centres, torch.from_numpy(label[rows]), margin)
        miss = smooth_l1_loss(
            model.hint(emb.float()), torch.from_numpy(truth[rows]), beta=0.3, reduction="none"
        )
        return told + _HINT * (miss * weight).mean()

    fit(spec.loop, folder, model, loss)
    return model.net


def load_recogniser(which: str, folder: Path) -> Recogniser:
    """The trained recogniser, frozen."""
    spec = RECOGNISERS[which]
    model = _Trainee(spec)
    frozen_average(spec.loop, folder, model)
    return model.net
