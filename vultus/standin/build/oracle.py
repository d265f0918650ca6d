"""The oracle: from a picture back to the truth of the stand-in world, for judging and never for training.

Notation
    face    float32 (B, 3, 56, 56), RGB, -1..1          -> z, float32 (B, N_IDENTITY): who it is
    small   float32 (B, 3, 64, 64), RGB, -1..1          -> logits (B, 3 + 3): framing; hat, glasses, dye
A dimension that a picture cannot show (a mole on the far side, hair under a hat) is answered with its mean.
Trained on rendered pictures spoilt by blur and light, because what it judges comes out of a latent space.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    interpolate,
    smooth_l1_loss,
)

from vultus.standin.build.data import Shards
from vultus.standin.build.faces import aligned, jittered
from vultus.standin.build.loop import LoopSpec, channels_last, fit, frozen_average
from vultus.standin.build.recogniser import Recogniser
from vultus.standin.identity import N_IDENTITY
from vultus.standin.nuisance import FRAMINGS

__all__ = [
    "ORACLE",
    "SCENE",
    "FaceOracle",
    "SceneOracle",
    "load_oracle",
    "load_scene_oracle",
    "train_oracle",
    "train_scene",
]

ORACLE: Final = LoopSpec("oracle", steps=800, rate=2e-3, decay=0.01)
SCENE: Final = LoopSpec("oracle_scene", steps=500, rate=2e-3, decay=0.01)
_WIDTHS: Final = (32, 64, 96, 160)


class FaceOracle(nn.Module):
    """The recognisers' body with a head that names the identity parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Recogniser(_WIDTHS).body
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(_WIDTHS[3] * 16, 160), nn.ReLU(), nn.Linear(160, N_IDENTITY)
        )

    def forward(self, face: torch.Tensor) -> torch.Tensor:
        z: torch.Tensor = self.head(self.body(face))
        return z


class SceneOracle(nn.Module):
    """Framing and accessories of a whole picture."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Recogniser((16, 32, 48, 64)).body
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(64 * 16, 48), nn.ReLU(), nn.Linear(48, len(FRAMINGS) + 3)
        )

    def forward(self, small: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.body(small))
        return logits


def train_oracle(crowd: Shards, named: Shards, folder: Path) -> FaceOracle:
    """Learn identity parameters from aligned faces of the crowd and of the named people."""
    torch.manual_seed(0)
    model = channels_last(FaceOracle())
    wide = np.concatenate([aligned(w, np.arange(len(w))) for w in (crowd, named)])
    truth = np.concatenate([crowd.facts["z"], named.facts["z"]]).astype(np.float32)

    def loss(rng: np.random.Generator, step: int) -> torch.Tensor:
        model.train()
        rows = rng.integers(len(wide), size=96)
        face = jittered(wide[rows], rng, colour=0.5).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            z = model(face)
        return smooth_l1_loss(z.float(), torch.from_numpy(truth[rows]), beta=0.3)

    fit(ORACLE, folder, model, loss)
    return model


def train_scene(crowd: Shards, folder: Path) -> SceneOracle:
    """Learn framing and accessories from whole pictures."""
    torch.manual_seed(0)
    model = channels_last(SceneOracle())
    framing = crowd.facts["framing"].astype(np.int64)
    worn = np.stack([crowd.facts[k] for k in ("hat", "glasses", "dye")], 1).astype(np.float32)

    def loss(rng: np.random.Generator, step: int) -> torch.Tensor:
        model.train()
        rows = rng.integers(len(crowd), size=48)
        x = torch.from_numpy(crowd.rgb(rows)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        side = int(rng.choice([32, 48, 64]))
        small = interpolate(
            interpolate(x, size=(side, side), mode="area"),
            size=(64, 64),
            mode="bilinear",
            align_corners=False,
        )
        gain = torch.from_numpy(
            np.exp(rng.normal(0, 0.08, (len(rows), 3, 1, 1))).astype(np.float32)
        )
        small = ((small + 1) * gain - 1 + 0.03 * torch.randn_like(small)).contiguous(
            memory_format=torch.channels_last
        )
        logits = model(small).float()
        where = cross_entropy(logits[:, : len(FRAMINGS)], torch.from_numpy(framing[rows]))
        return where + binary_cross_entropy_with_logits(
            logits[:, len(FRAMINGS) :], torch.from_numpy(worn[rows])
        )

    fit(SCENE, folder, model, loss)
    return model


def load_oracle(folder: Path) -> FaceOracle:
    """The trained face oracle, frozen."""
    model = FaceOracle()
    frozen_average(ORACLE, folder, model)
    return model


def load_scene_oracle(folder: Path) -> SceneOracle:
    """The trained scene oracle, frozen."""
    model = SceneOracle()
    frozen_average(SCENE, folder, model)
    return model
