"""A base's VAE alone: a picture into the latent space and back, without denoising anything.

Notation
    rgb    one picture     uint8 (H, W, 3), sides multiples of 8
    x      for the VAE     float32 (1, 3, H, W) in [-1, 1]
The latent is the encoder's mean, not a draw: a draw would add the noise that training adds and renders never see.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from vultus.generation.backends.pipeline import load_pipeline
from vultus.generation.records import Codec, RenderSpec, Rgb

__all__ = ["Untouched", "VaeCodec", "encode_picture", "open_codec"]


class VaeCodec:
    """The VAE of one base."""

    def __init__(self, vae: Any, device: torch.device) -> None:
        self._vae = vae
        self._device = device

    def round_trip(self, rgb: Rgb) -> Rgb:
        """The picture as the base could draw it at best."""
        with torch.inference_mode():
            latent = encode_picture(self._vae, rgb, self._device)
            back = self._vae.decode(latent).sample[0]
        pixels = back.permute(1, 2, 0).clamp(-1.0, 1.0).add(1.0).mul(127.5).round()
        return np.asarray(pixels.to("cpu", torch.uint8).numpy())


def encode_picture(vae: Any, rgb: Rgb, device: torch.device) -> torch.Tensor:
    """The latent of a picture as the VAE gives it, float32 (1, C, H / factor, W / factor), not yet scaled."""
    x = torch.from_numpy(rgb.astype(np.float32) / 127.5 - 1.0).permute(2, 0, 1)[None]
    coded = vae.encode(x.to(device))
    dist = getattr(coded, "latent_dist", None)
    latent: torch.Tensor = coded.latents if dist is None else dist.mode()
    return latent


class Untouched:
    """The codec of planted worlds: their renderer loses nothing."""

    def round_trip(self, rgb: Rgb) -> Rgb:
        """The picture itself."""
        return rgb


def open_codec(renderer: str, base: Path, spec: RenderSpec, device: str) -> Codec:
    """The codec of a base for the renderer of that name."""
    if renderer == "fake":
        return Untouched()
    pipe, chosen = load_pipeline(base, spec, device)
    return VaeCodec(pipe.vae, chosen)
