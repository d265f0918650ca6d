"""A random base of SDXL's exact shape, small enough for tests: made in a second, no download.

Widths of the two text encoders differ (32 and 48) because libraries tell them apart by width. The
vocabulary is a few dozen words; every other word falls apart into letters, as in CLIP's own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from vultus.core.sdxl.tokenizer import END, START, write_tokenizer_folder

Vae = Literal["tiny", "kl"]

WORDS = (  # split where used
    "a photo of close up half body full woman man smiling neutral surprised looking left right "
    "wearing red blue green striped shirt garden background soft light hat glasses zorblax"
)

UNET: dict[str, Any] = {
    "sample_size": 8,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (16, 32, 32),
    "layers_per_block": 1,
    "transformer_layers_per_block": (1, 1, 2),
    "attention_head_dim": (2, 2, 2),
    "cross_attention_dim": 80,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 16,
    "projection_class_embeddings_input_dim": 48 + 6 * 16,
    "norm_num_groups": 8,
}


def small_vocabulary(words: list[str]) -> tuple[dict[str, int], tuple[tuple[str, str], ...]]:
    """A CLIP vocabulary that knows these words whole and every other word by its letters."""
    letters = [chr(b) for b in range(0x21, 0x7F)]
    tokens = letters + [letter + "</w>" for letter in letters]
    pairs: list[tuple[str, str]] = []
    for word in words:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            parts[:2] = ["".join(pair)]
            if pair not in pairs:
                pairs.append(pair)
            if parts[0] not in tokens:
                tokens.append(parts[0])
    return {token: i for i, token in enumerate([*tokens, START, END])}, tuple(pairs)


def _text_encoders(folder: Path, vocab_size: int) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    shared: dict[str, Any] = {
        "vocab_size": vocab_size,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 77,
        "bos_token_id": vocab_size - 2,
        "eos_token_id": vocab_size - 1,
        "pad_token_id": vocab_size - 1,
    }
    one = CLIPTextConfig(hidden_size=32, intermediate_size=64, projection_dim=32, **shared)
    two = CLIPTextConfig(
        hidden_size=48, intermediate_size=96, projection_dim=48, hidden_act="gelu", **shared
    )
    CLIPTextModel(one).save_pretrained(folder / "text_encoder")
    CLIPTextModelWithProjection(two).save_pretrained(folder / "text_encoder_2")


def _vae(kind: Vae) -> Any:
    from diffusers import AutoencoderKL, AutoencoderTiny

    if kind == "tiny":
        vae = AutoencoderTiny(
            latent_channels=8,
            encoder_block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8, 8),
            num_encoder_blocks=(1, 1, 1, 1),
            num_decoder_blocks=(1, 1, 1, 1),
        )
        _make_it_show(vae)
        return vae
    return AutoencoderKL(
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        scaling_factor=0.13025,
        sample_size=64,
    )


def _make_it_show(vae: Any) -> None:
    """Scale the last layer so that latents become mid-grey pictures with contrast.

    A random decoder shows black whatever it is given, and tests of renders would compare nothing.
    """
    last = vae.decoder.layers[-1]
    with torch.no_grad():
        shown = vae.decoder.layers(torch.randn(4, 8, 8, 8))
        factor = 0.25 / shown.std(0).mean()
        last.weight.mul_(factor)
        last.bias.copy_((last.bias - shown.mean((0, 2, 3))) * factor + 0.5)


def write_tiny_base(folder: Path, vae: Vae = "tiny", seed: int = 0, **unet: Any) -> Path:
    """Write a diffusers folder of a random base; the same seed gives the same weights."""
    from diffusers import DDIMScheduler, UNet2DConditionModel

    torch.manual_seed(seed)
    channels = 8 if vae == "tiny" else 4
    config = {**UNET, "in_channels": channels, "out_channels": channels, **unet}
    UNet2DConditionModel(**config).save_pretrained(folder / "unet")
    _vae(vae).save_pretrained(folder / "vae")
    vocab, pairs = small_vocabulary(WORDS.split())
    _text_encoders(folder, len(vocab))
    for name, pad in (("tokenizer", END), ("tokenizer_2", "!")):
        write_tokenizer_folder(folder / name, pad_token=pad, vocab=vocab, pairs=pairs)
    DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        clip_sample=False,
        set_alpha_to_one=False,
    ).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "force_zeros_for_empty_prompt": True,
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderTiny" if vae == "tiny" else "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index), "utf-8")
    return folder


def write_pictures(folder: Path, count: int, size: tuple[int, int] = (64, 64)) -> list[Path]:
    """Smooth random pictures (PNG), the same ones every time."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(count):
        rng = np.random.default_rng(i)
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        path = folder / f"{i:02d}.png"
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths
