"""The stand-in's detector: five points and the probability that there is a face, from a 128 px frame.

Notation
    frame    float32 (B, 3, 128, 128), RGB, 0..1: a whole picture, or a zoomed square around a face
    heat     float32 (B, 5, 32, 32), softmax over cells; points = its mean position (soft-argmax), 0..1 of the frame
    score    float32 (B,), logit of "one face is here"
The same net runs on the whole picture and again on zoomed squares (faces/engines): alignment error costs more cosine
than anything else in a small face (stand-in-world.md, section 8), so zoomed frames make up most of the training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from vultus.images.geometry import warp
from vultus.standin.build.data import Shards
from vultus.standin.build.loop import LoopSpec, channels_last, fit, frozen_average
from vultus.standin.scenery import draw_background

__all__ = ["LANDMARKS", "LandmarkNet", "load_landmarks", "train_landmarks"]

LANDMARKS: Final = LoopSpec("landmarks", steps=4000, rate=2e-3, decay=0.0)
_BATCH: Final = 24
_SIDE: Final = 128
_FIRST: Final = 0.6


def _conv(c_in: int, c_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(inplace=True),
    )


class LandmarkNet(nn.Module):
    """An hourglass of 0.5 M weights: down to 8 x 8, up to 32 x 32 heat maps."""

    def __init__(self) -> None:
        super().__init__()
        self.d64 = _conv(3, 16, 2)
        self.d32 = nn.Sequential(_conv(16, 32, 2), _conv(32, 32))
        self.d16 = nn.Sequential(_conv(32, 64, 2), _conv(64, 64))
        self.d8 = nn.Sequential(_conv(64, 96, 2), _conv(96, 96), _conv(96, 96))
        self.u16 = nn.Sequential(_conv(160, 64), _conv(64, 64))
        self.u32 = nn.Sequential(_conv(96, 48), _conv(48, 48), nn.Conv2d(48, 5, 1))
        self.score = nn.Linear(96, 1)
        cell = (torch.arange(32, dtype=torch.float32) + 0.5) / 32
        self.register_buffer("cell", cell, persistent=False)

    def forward(self, frame: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a = self.d32(self.d64(frame * 2 - 1))
        b = self.d16(a)
        c = self.d8(b)
        u = self.u16(torch.cat([interpolate(c, scale_factor=2.0, mode="nearest"), b], 1))
        heat = self.u32(torch.cat([interpolate(u, scale_factor=2.0, mode="nearest"), a], 1)).float()
        p = torch.softmax(heat.flatten(2), -1).unflatten(-1, (32, 32))
        x = (p.sum(2) * self.cell).sum(-1)
        y = (p.sum(3) * self.cell).sum(-1)
        score = self.score(c.float().amax((2, 3))).squeeze(-1)
        return torch.stack([x, y], -1), score


def _square(
    points: npt.NDArray[np.float32], rng: np.random.Generator
) -> tuple[float, float, float]:
    """A frame around the face as the engine's second pass cuts it, with the error of a first pass."""
    low, high = points.min(0), points.max(0)
    side = 3.0 * float((high - low).max()) * float(np.exp(rng.uniform(np.log(0.72), np.log(1.4))))
    middle = (low + high) / 2 + rng.normal(0, 0.06, 2) * side
    return float(middle[0]), float(middle[1]), side


def _frame(
    world: Shards, i: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], bool]:
    """One training frame: its picture, its points (0..1), and whether it shows a face."""
    rgb, points = world.rgb([i])[0], world.facts["points"][i]
    draw = rng.random()
    if draw < 0.12:
        return _faceless(world, i, rng), np.zeros((5, 2), np.float32), False
    if draw < 0.42:
        if rng.random() < 0.5:
            return rgb, (points / _SIDE).astype(np.float32), True
        middle_x, middle_y, side = (
            64 + rng.normal(0, 8),
            64 + rng.normal(0, 8),
            128 * rng.uniform(0.85, 1.3),
        )
    else:
        middle_x, middle_y, side = _square(points, rng)
    scale = _SIDE / side
    turn = rng.normal(0, 0.06)
    c, s = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.array([[c, -s], [s, c]])
    shift = 64 - linear @ np.array([middle_x, middle_y])
    affine = np.column_stack([linear, shift])
    moved = points @ linear.T + shift
    return warp(rgb, affine, _SIDE, _SIDE, 128), (moved / _SIDE).astype(np.float32), True


def _faceless(world: Shards, i: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """An empty place, or a picture whose face is painted over with another part of it."""
    if rng.random() < 0.4:
        names = ("studio", "garden", "city", "room", "beach", "library", "night")
        big = draw_background(names[int(rng.integers(7))], int(rng.integers(2**31)))
        return np.asarray(cv2.resize(big, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    rgb: npt.NDArray[np.uint8] = world.rgb([i])[0]
    if rng.random() < 0.5:
        return np.ascontiguousarray(rgb[::-1])  # upside down: the same colours, no upright face
    x0, y0, x1, y1 = (int(v) for v in np.clip(world.facts["face"][i], 0, 127))
    patch = rgb[y0 : y1 + 1, x0 : x1 + 1]
    smooth = cv2.resize(
        cv2.resize(patch, (2, 2), interpolation=cv2.INTER_AREA), (patch.shape[1], patch.shape[0])
    )
    rgb[y0 : y1 + 1, x0 : x1 + 1] = smooth
    return rgb


def _spoilt(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Light, colour, noise, and for half of the frames lost detail, as latents and small faces lose it."""
    n = len(x)
    gain = torch.from_numpy(np.exp(rng.normal(0, 0.12, (n, 3, 1, 1))).astype(np.float32))
    x = x * gain + torch.from_numpy(rng.normal(0, 0.05, (n, 1, 1, 1)).astype(np.float32))
    kind = rng.random(n)
    for low, high, side in ((0.0, 0.14, 36), (0.14, 0.32, 48), (0.32, 0.5, 72)):
        mask = torch.from_numpy((kind >= low) & (kind < high))
        if bool(mask.any()):
            small = interpolate(x[mask], size=(side, side), mode="area")
            x[mask] = interpolate(small, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)
    return (x + 0.02 * torch.randn_like(x)).clamp(0, 1)


def train_landmarks(worlds: Sequence[Shards], folder: Path) -> LandmarkNet:
    """Train the detector on rendered pictures: three of five of the first population, the rest of the others.

    The others are the two styles: a net that has seen one style only misses one face in ten that
    the other bases paint.
    """
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    model = channels_last(LandmarkNet())
    others = len(worlds) - 1
    share = np.array([_FIRST if others else 1.0] + [(1 - _FIRST) / others] * others)

    def loss(rng: np.random.Generator, step: int) -> torch.Tensor:
        model.train()
        picked = rng.choice(len(worlds), size=_BATCH, p=share)
        made = [_frame(worlds[k], int(rng.integers(len(worlds[k]))), rng) for k in picked]
        x = torch.from_numpy(np.stack([m[0] for m in made])).permute(0, 3, 1, 2).float().div_(255)
        true = torch.from_numpy(np.stack([m[1] for m in made]))
        face = torch.tensor([m[2] for m in made], dtype=torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            points, score = model(_spoilt(x, rng).contiguous(memory_format=torch.channels_last))
        size = (true.amax(1) - true.amin(1)).amax(-1).clamp(min=0.05)
        far = (points.float() - true).abs().sum(-1).mean(-1) / size
        located = (far * face).sum() / face.sum().clamp(min=1)
        total: torch.Tensor = located + 0.25 * binary_cross_entropy_with_logits(score.float(), face)
        return total

    trained = fit(LANDMARKS, folder, model, loss)
    assert isinstance(trained, LandmarkNet)
    return trained


def load_landmarks(folder: Path) -> LandmarkNet:
    """The trained detector, frozen."""
    model = frozen_average(LANDMARKS, folder, LandmarkNet())
    assert isinstance(model, LandmarkNet)
    return model
