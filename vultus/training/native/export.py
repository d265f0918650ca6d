"""From the trained tensors in memory to the tensors of a LoRA file.

Names come from the key table (`core.sdxl.lora_keys`), not from the network, and alpha is written as
it was trained with: two places where exporters of the field are known to go wrong (te1 names
without `text_model_`, alpha set to the rank) and where no loader complains.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vultus.core.sdxl.architecture import UNET
from vultus.training.lora_file import alpha_tensor, cast
from vultus.training.native.lora import Lora

__all__ = ["is_full_size", "kohya_tensors"]


def kohya_tensors(lora: Lora, precision: str = "fp16") -> dict[str, np.ndarray[Any, Any]]:
    """Every tensor of the file; fp16 is half the size, and what loaders of the field expect.

    DoRA's magnitudes are columns (out, 1), and (out, 1, 1, 1) of convolutions: LyCORIS' form.
    """
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    for name, parameter in lora.named_parameters():
        values = parameter.detach().float().cpu().numpy()
        if name.endswith(".dora_scale"):
            row = lora.modules[name.removesuffix(".dora_scale")]
            values = values.reshape(-1, *(1 for _ in range(1 if row.kind == "linear" else 3)))
        tensors[name] = cast(values, precision)
    for prefix, (_, alpha) in lora.scales.items():
        tensors[f"{prefix}.alpha"] = alpha_tensor(alpha, precision)
    return tensors


def is_full_size(unet_config: Any) -> bool:
    """Whether this UNet has SDXL's own shape."""
    keys = ("block_out_channels", "cross_attention_dim", "transformer_layers_per_block")
    return all(
        _listed(unet_config[key]) == _listed(UNET[key]) for key in (*keys, "layers_per_block")
    )


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value
