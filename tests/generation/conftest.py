"""Tiny bases and LoRAs for the renderer, made once per session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vultus.core.sdxl.lora_keys import lora_modules
from vultus.core.seeds import stream
from vultus.core.weights import write_weights

PARTS = ("unet", "text_encoder", "text_encoder_2")


def _config(base: Path, part: str) -> Any:
    import json

    return json.loads((base / part / "config.json").read_text("utf-8"))


def write_random_lora(
    path: Path, base: Path, *, text_encoders: bool, seed: int, conv_rank: int = 0
) -> Path:
    """A strong random LoRA that fits a base; made without a trainer, which this room may not see."""
    configs = [_config(base, part) for part in PARTS[: 3 if text_encoders else 1]]
    draw = stream("tests", "lora", seed)
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    for row in lora_modules(*configs, convolutions=conv_rank > 0):
        rank = conv_rank if row.kind == "conv3" else 2
        kernel = () if row.kind == "linear" else (row.kernel, row.kernel)
        down = draw.normal(size=(rank, row.in_features, *kernel)) * row.in_features**-0.5
        up = draw.normal(size=(row.out_features, rank, *(1 for _ in kernel))) * 0.3
        tensors[f"{row.kohya_prefix}.lora_down.weight"] = down.astype(np.float16)
        tensors[f"{row.kohya_prefix}.lora_up.weight"] = up.astype(np.float16)
        tensors[f"{row.kohya_prefix}.alpha"] = np.asarray(1.0, np.float16)
    write_weights(path, tensors, {})
    return path


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-in shape: AutoencoderTiny with 8 latent channels."""
    from tests.training.tiny_base import write_tiny_base

    return write_tiny_base(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture(scope="session")
def kl_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SDXL shape: AutoencoderKL with 4 latent channels."""
    from tests.training.tiny_base import write_tiny_base

    return write_tiny_base(tmp_path_factory.mktemp("bases") / "kl", "kl")


@pytest.fixture(scope="session")
def loras(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`unet` adapts the UNet alone, `all` both text encoders too, `conv` convolutions as well."""
    folder = tmp_path_factory.mktemp("loras")
    return {
        "unet": write_random_lora(
            folder / "unet.safetensors", tiny_base, text_encoders=False, seed=1
        ),
        "conv": write_random_lora(
            folder / "conv.safetensors", tiny_base, text_encoders=True, seed=3, conv_rank=3
        ),
        "all": write_random_lora(folder / "all.safetensors", tiny_base, text_encoders=True, seed=2),
    }
