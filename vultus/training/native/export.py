"""From the trained pairs in memory to the tensors of a LoRA file.

Names come from the key table (`core.sdxl.lora_keys`), not from the network, and alpha is written as
it was trained with: two places where exporters of the field are known to go wrong (te1 names
without `text_model_`, alpha set to the rank) and where no loader complains.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from vultus.core.sdxl.architecture import UNET
from vultus.training.native.lora import Lora

__all__ = ["is_full_size", "kohya_tensors"]


def kohya_tensors(lora: Lora) -> dict[str, np.ndarray[Any, Any]]:
    """Every tensor of the file, float16: half the size, and what loaders of the field expect."""
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    for name, parameter in lora.named_parameters():
        tensors[name] = parameter.detach().to("cpu", torch.float16).numpy()
    for prefix, (_, alpha) in lora.scales.items():
        tensors[f"{prefix}.alpha"] = np.asarray(alpha, dtype=np.float16)
    return tensors


def is_full_size(unet_config: Any) -> bool:
    """Whether this UNet has SDXL's own shape."""
    keys = ("block_out_channels", "cross_attention_dim", "transformer_layers_per_block")
    return all(
        _listed(unet_config[key]) == _listed(UNET[key]) for key in (*keys, "layers_per_block")
    )


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value
