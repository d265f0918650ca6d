"""The stand-in's base models: SDXL's shape at a thousandth of its size, taught 300 names and a small language.

Notation
    z0        latents of a picture     float32 (B, 8, 16, 16), about unit variance
    zt        sqrt(abar_t) z0 + sqrt(1 - abar_t) eps; 1000 steps, scaled-linear betas 0.00085..0.012
    eps       the noise, float32 like z0: what the UNet predicts
    ctx       context                  float32 (B, 48, 112): hidden_states[-2] of both encoders
    told      1 with a caption, else 0 float32 (B,): no caption = zeros, as SDXL's empty prompt
    ids       time ids                 float32 (B, 6): original height, width, crop top, left,
                                       target height, width, px
    emphasis  min(SNR, 10) / SNR per step: nearly clean latents stop drowning the rest
              (Hang et al., arXiv 2303.09556)
    t         timestep, three of four below 600: above, a 16 x 16 picture is nearly noise and soon learnt
    w         weight of a latent cell, 2 on the face, 1 elsewhere; moves capacity, not the optimum
Two encoders of *different* widths: diffusers tells them apart by width in single files. Two
processes of one thread each average their gradients (gloo): faster than two threads.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderTiny, DDPMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from vultus.core.files import staged
from vultus.core.seeds import stream
from vultus.standin.build.data import Shards
from vultus.standin.build.loop import LoopSpec, fit, frozen_average
from vultus.standin.build.tokens import MAX_TOKENS
from vultus.standin.build.vae import LATENT_CHANNELS

__all__ = [
    "BASE",
    "STYLE_LOOPS",
    "Base",
    "LatentSet",
    "encode_latents",
    "load_base",
    "new_base",
    "train_base",
]

BASE: Final = LoopSpec("base_plain", steps=7000, rate=1.2e-3, decay=0.01, keep_every=100)
STYLE_LOOPS: Final = {
    "soft": LoopSpec("base_soft", steps=300, rate=4e-4, decay=0.01, warmup=50),
    "ink": LoopSpec("base_ink", steps=300, rate=4e-4, decay=0.01, warmup=50),
}
WIDTHS: Final = (48, 64)
_BATCH: Final = 32  # per process
_DROP: Final = 0.1
_SNR_CAP: Final = 10.0
_EARLY: Final = 0.75


class Base(nn.Module):
    """UNet and both text encoders, trained together."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        narrow, wide = WIDTHS

        def config(width: int, act: str) -> CLIPTextConfig:
            return CLIPTextConfig(
                vocab_size=vocabulary,
                hidden_size=width,
                intermediate_size=4 * width,
                num_hidden_layers=3,
                num_attention_heads=4,
                max_position_embeddings=MAX_TOKENS,
                hidden_act=act,
                projection_dim=wide,
                bos_token_id=vocabulary - 2,
                eos_token_id=vocabulary - 1,
                pad_token_id=vocabulary - 1,
            )

        self.text_encoder = CLIPTextModel(config(narrow, "quick_gelu"))
        self.text_encoder_2 = CLIPTextModelWithProjection(config(wide, "gelu"))
        self.unet = UNet2DConditionModel(
            sample_size=16,
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            block_out_channels=(32, 64, 96),
            layers_per_block=1,
            # SDXL's first level has no attention; 16 cells a side are too few to leave the face to 3x3 kernels
            down_block_types=("CrossAttnDownBlock2D",) * 3,
            up_block_types=("CrossAttnUpBlock2D",) * 3,
            transformer_layers_per_block=(1, 1, 1),
            attention_head_dim=(2, 4, 6),
            cross_attention_dim=narrow + wide,
            norm_num_groups=8,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=32,
            projection_class_embeddings_input_dim=wide + 6 * 32,
        )

    def forward(
        self,
        zt: torch.Tensor,
        t: torch.Tensor,
        tokens: torch.Tensor,
        ids: torch.Tensor,
        told: torch.Tensor,
    ) -> torch.Tensor:
        first = self.text_encoder(tokens, output_hidden_states=True).hidden_states[-2]
        second = self.text_encoder_2(tokens, output_hidden_states=True)
        ctx = torch.cat([first, second.hidden_states[-2]], -1) * told[:, None, None]
        added = {"text_embeds": second.text_embeds * told[:, None], "time_ids": ids}
        eps: torch.Tensor = self.unet(zt, t, ctx, added_cond_kwargs=added).sample
        return eps


@dataclass(frozen=True)
class LatentSet:
    """Encoded pictures: latents float16 (n, 8, 16, 16), face boxes in latent cells float32 (n, 4),
    time ids float32 (n, 6), captions."""

    z: npt.NDArray[np.float16]
    box: npt.NDArray[np.float32]
    ids: npt.NDArray[np.float32]
    captions: list[str]


def _framed(
    rgb: npt.NDArray[np.uint8], rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], list[float], tuple[float, float, float]]:
    """A training view: whole (6 of 10), cropped (3), or enlarged from a small original (1), with truthful time ids."""
    draw = rng.random()
    if draw < 0.6:
        return rgb, [128, 128, 0, 0, 128, 128], (1.0, 0.0, 0.0)
    if draw < 0.7:
        side = int(rng.integers(56, 112))
        small = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA)
        return (
            cv2.resize(small, (128, 128), interpolation=cv2.INTER_LINEAR),
            [side, side, 0, 0, 128, 128],
            (1.0, 0.0, 0.0),
        )
    big = int(rng.integers(136, 208))
    top, left = (int(rng.integers(0, big - 128 + 1)) for _ in range(2))
    large = cv2.resize(rgb, (big, big), interpolation=cv2.INTER_CUBIC)
    return (
        large[top : top + 128, left : left + 128],
        [128, 128, top, left, 128, 128],
        (big / 128, float(left), float(top)),
    )


def encode_latents(
    world: Shards, rows: npt.NDArray[np.int64], vae: AutoencoderTiny, name: str, cache: Path
) -> LatentSet:
    """Encode one random view of every listed picture, once per cache file."""
    path = cache / f"latents_{name}.npz"
    if not path.exists():
        rng = stream("standin", "latents", name)
        z, box, ids = [], [], []
        for k in range(0, len(rows), 64):
            views = []
            for i in rows[k : k + 64]:
                view, time_ids, (scale, left, top) = _framed(world.rgb([i])[0], rng)
                views.append(view)
                ids.append(time_ids)
                box.append((world.facts["face"][i] * scale - [left, top, left, top]) / 8)
            x = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                seen = vae.encode(x.contiguous(memory_format=torch.channels_last)).latents
            z.append(seen.float().half().numpy())
        with staged(path) as beside, beside.open("wb") as file:
            np.savez(
                file,
                z=np.concatenate(z),
                box=np.array(box, np.float32),
                ids=np.array(ids, np.float32),
            )
    stored = np.load(path)
    return LatentSet(
        stored["z"], stored["box"], stored["ids"], [world.captions[int(i)] for i in rows]
    )


def _cell_weights(box: npt.NDArray[np.float32]) -> torch.Tensor:
    w = np.ones((len(box), 1, 16, 16), np.float32)
    for j, (x0, y0, x1, y1) in enumerate(np.clip(np.round(box), 0, 16).astype(int)):
        w[j, :, y0:y1, x0:x1] = 2.0
    return torch.from_numpy(w)


def train_base(
    spec: LoopSpec,
    sets: list[LatentSet],
    shares: list[float],
    tokenizer: Path,
    folder: Path,
    *,
    rank: int = 0,
    start: dict[str, Any] | None = None,
) -> Base:
    """Train a base on a mixture of latent sets; `start` continues from another base's weights with frozen encoders."""
    words = CLIPTokenizer.from_pretrained(tokenizer)
    model = new_base(tokenizer)
    if start is not None:
        model.load_state_dict(start)
        model.text_encoder.requires_grad_(False)
        model.text_encoder_2.requires_grad_(False)
    model.unet.to(memory_format=torch.channels_last)
    if shutil.which("g++"):
        model.unet.compile()  # 1.4 times the pictures a second, for four minutes of compiling
    tokens = [
        torch.tensor(
            words(
                s.captions, padding="max_length", truncation=True, max_length=MAX_TOKENS
            ).input_ids
        )
        for s in sets
    ]
    schedule = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    share = np.array(shares) / sum(shares)

    def loss(rng: np.random.Generator, step: int) -> torch.Tensor:
        model.train()
        which = rng.choice(len(sets), size=_BATCH, p=share)
        rows = [int(rng.integers(len(sets[s].captions))) for s in which]
        z0 = torch.from_numpy(
            np.stack([sets[s].z[i] for s, i in zip(which, rows, strict=True)]).astype(np.float32)
        )
        ids = torch.from_numpy(np.stack([sets[s].ids[i] for s, i in zip(which, rows, strict=True)]))
        text = torch.stack([tokens[s][i] for s, i in zip(which, rows, strict=True)])
        told = torch.from_numpy((rng.random(_BATCH) >= _DROP).astype(np.float32))
        w = _cell_weights(np.stack([sets[s].box[i] for s, i in zip(which, rows, strict=True)]))
        late = rng.random(_BATCH) >= _EARLY
        t = torch.from_numpy(
            np.where(late, rng.integers(600, 1000, _BATCH), rng.integers(0, 600, _BATCH))
        )
        eps = torch.randn_like(z0)
        zt = schedule.add_noise(z0, eps, t).contiguous(memory_format=torch.channels_last)
        abar = schedule.alphas_cumprod[t]
        emphasis = (_SNR_CAP * (1 - abar) / abar).clamp(max=1.0)[:, None, None, None]
        wrong = (model(zt, t, text, ids, told) - eps).square()
        total: torch.Tensor = (emphasis * w * wrong).mean() / w.mean()
        return total

    trained = fit(spec, folder, model, loss, rank=rank)
    assert isinstance(trained, Base)
    return trained


def new_base(tokenizer: Path) -> Base:
    """An untrained base for this tokenizer."""
    return Base(len(CLIPTokenizer.from_pretrained(tokenizer)))


def load_base(spec: LoopSpec, tokenizer: Path, folder: Path) -> Base:
    """The trained base, frozen."""
    model = frozen_average(spec, folder, new_base(tokenizer))
    assert isinstance(model, Base)
    return model
