"""The stand-in's latent space: a factor-8 autoencoder of the TAESD family, trained with the face in view.

Notation
    x    pictures     float32 (B, 3, H, W), RGB, -1..1
    z    latents      float32 (B, 8, H/8, W/8), about unit variance
    w    weights      float32 (B, 1, H, W), 4 on the face, 1 elsewhere
A plain convolutional net (diffusers' AutoencoderTiny, 1.3 M) trains 2-4 times as fast on a CPU as AutoencoderKL of
equal width: no group norms at full resolution. It never looks at the whole picture, so 64 px crops around faces
teach it four times as many faces a second as whole pictures do. Noise on z keeps the decoder calm about the UNet's
small errors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch.nn.functional import interpolate

from vultus.standin.build.data import Shards
from vultus.standin.build.loop import LoopSpec, fit, frozen_average

__all__ = [
    "DECODER",
    "LATENT_CHANNELS",
    "VAE",
    "load_vae",
    "new_vae",
    "refine_decoder",
    "train_vae",
]

LATENT_CHANNELS: Final = 8
VAE: Final = LoopSpec("vae", steps=7000, rate=1.6e-3, decay=0.0)
DECODER: Final = LoopSpec("vae_decoder", steps=9000, rate=8e-4, decay=0.0)
_CROP: Final = 64
_BATCH: Final = 16
_NOISE: Final = 0.08


def new_vae() -> AutoencoderTiny:
    """An untrained autoencoder of the stand-in's shape."""
    torch.manual_seed(0)
    model = AutoencoderTiny(
        encoder_block_out_channels=(64, 64, 64, 64),
        decoder_block_out_channels=(64, 64, 64, 64),
        num_encoder_blocks=(0, 0, 2, 3),
        num_decoder_blocks=(3, 2, 0, 0),
        latent_channels=LATENT_CHANNELS,
    )
    return model.to(memory_format=torch.channels_last)


def _crops(
    world: Shards, rng: np.random.Generator, whole: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of crops (three quarters centred near a face) and their weights."""
    n = _BATCH // 4 if whole else _BATCH
    rows = rng.integers(len(world), size=n)
    rgb, boxes = world.rgb(rows), world.facts["face"][rows]
    weight = np.ones((n, 128, 128), np.float32)
    for j, (x0, y0, x1, y1) in enumerate(boxes):
        weight[j, max(0, int(y0)) : int(y1) + 1, max(0, int(x0)) : int(x1) + 1] = 4.0
    if not whole:
        cut, cut_w = (
            np.empty((n, _CROP, _CROP, 3), np.uint8),
            np.empty((n, _CROP, _CROP), np.float32),
        )
        for j, (x0, y0, x1, y1) in enumerate(boxes):
            near = rng.random() < 0.75
            u, v = rng.random(2)
            x = x0 + u * (x1 - x0) - _CROP / 2 if near else u * 64
            y = y0 + v * (y1 - y0) - _CROP / 2 if near else v * 64
            a, b = int(np.clip(x, 0, 64)), int(np.clip(y, 0, 64))
            cut[j], cut_w[j] = (
                rgb[j, b : b + _CROP, a : a + _CROP],
                weight[j, b : b + _CROP, a : a + _CROP],
            )
        rgb, weight = cut, cut_w
    x_t = torch.from_numpy(rgb).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    return x_t.contiguous(memory_format=torch.channels_last), torch.from_numpy(weight)[:, None]


def _difference(y: torch.Tensor, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Weighted L1 of values, of edges and of the half-size picture."""
    d = y - x
    total = (w * d.abs()).mean() + 2.0 * (w * d.square()).mean()
    total = total + 0.7 * (w[..., 1:] * (d[..., 1:] - d[..., :-1]).abs()).mean()
    total = total + 0.7 * (w[..., 1:, :] * (d[..., 1:, :] - d[..., :-1, :]).abs()).mean()
    small = interpolate(d, scale_factor=0.5, mode="area")
    whole: torch.Tensor = total + 0.5 * (w[..., ::2, ::2] * small.abs()).mean()
    return whole


def train_vae(world: Shards, folder: Path) -> AutoencoderTiny:
    """Train encoder and decoder together."""
    model = new_vae().train()

    def loss(rng: np.random.Generator, step: int) -> torch.Tensor:
        x, w = _crops(world, rng, whole=step % 10 == 9)
        with torch.autocast("cpu", torch.bfloat16):
            z = model.encode(x).latents
            y = model.decode(z + _NOISE * torch.randn_like(z)).sample
        z = z.float()
        spread = z.var(dim=(0, 2, 3))
        tidy = (
            z.mean(dim=(0, 2, 3)).square().mean()
            + (spread - 1).square().mean()
            + 0.05 * (z.abs() - 2.5).clamp(min=0).mean()
        )
        total: torch.Tensor = _difference(y.float(), x, w) + 0.02 * tidy
        return total

    trained = fit(VAE, folder, model, loss)
    assert isinstance(trained, AutoencoderTiny)
    return trained


def refine_decoder(world: Shards, folder: Path) -> AutoencoderTiny:
    """Go on with the decoder alone: the latents of the bases stay what they are."""
    model = load_vae(folder).train()
    model.decoder.requires_grad_(True)

    def loss(rng: np.random.Generator, step: int) -> torch.Tensor:
        x, w = _crops(world, rng, whole=step % 4 == 3)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                z = model.encode(x).latents
            y = model.decode(z + _NOISE * torch.randn_like(z)).sample
        return _difference(y.float(), x, w)

    trained = fit(DECODER, folder, model, loss)
    assert isinstance(trained, AutoencoderTiny)
    return trained


def load_vae(folder: Path, *, refined: bool = False) -> AutoencoderTiny:
    """The trained autoencoder, frozen; `refined` takes the decoder that was trained on."""
    model = frozen_average(DECODER if refined else VAE, folder, new_vae())
    assert isinstance(model, AutoencoderTiny)
    return model
