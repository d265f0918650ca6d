"""Low-rank matrices beside the frozen weights, addressed by their names in a LoRA file.

Notation
    W       frozen weight of one module            (out, in)
    A, B    LoRA pair (lora_down, lora_up)         (rank, in) and (out, rank), float32
    the module computes (W + strength * alpha / rank * B A) x; B starts at zero, so the first step
    starts from the base exactly
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from vultus.core.errors import WeightsError
from vultus.core.sdxl.lora_keys import LoraModule, lora_modules
from vultus.core.seeds import seed_of
from vultus.training.native.parts import Parts

__all__ = ["Lora", "attach_lora"]

_ADAPTER = "vultus"


@dataclass(frozen=True)
class Lora:
    """All trainable pairs: kohya prefix -> (A, B), in the order of the key table."""

    pairs: Mapping[str, tuple[torch.nn.Parameter, torch.nn.Parameter]]
    modules: Mapping[str, LoraModule]
    rank: int
    alpha: float

    def named_parameters(self) -> list[tuple[str, torch.nn.Parameter]]:
        """Every trained tensor under its name in a LoRA file, always in the same order."""
        named = []
        for prefix, (down, up) in self.pairs.items():
            named += [(f"{prefix}.lora_down.weight", down), (f"{prefix}.lora_up.weight", up)]
        return named


def _path_in(component: Any, row: LoraModule) -> str:
    """The module's path; transformers >= 5.6 dropped `text_model.` from the first encoder."""
    if row.component == "unet" or hasattr(component, "text_model"):
        return row.module
    return row.module.removeprefix("text_model.")


def _rows(parts: Parts, text_encoders: bool) -> list[LoraModule]:
    one = parts.text_encoder.config.to_dict() if text_encoders else None
    two = parts.text_encoder_2.config.to_dict() if text_encoders else None
    return lora_modules(dict(parts.unet.config), one, two)


def _attach(component: Any, paths: list[str], rank: int, alpha: float) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=paths, init_lora_weights=True)
    inject_adapter_in_model(config, component, adapter_name=_ADAPTER)


def _start(
    down: torch.nn.Parameter, up: torch.nn.Parameter, row: LoraModule, seed: int
) -> tuple[torch.nn.Parameter, torch.nn.Parameter]:
    """Give a pair its first values: A uniform as in kohya's LoRA, B zero; both float32.

    Each pair draws from a stream with its own name, so adding or dropping a module elsewhere
    changes nothing here.
    """
    draw = torch.Generator().manual_seed(seed_of("training", seed, "lora", row.kohya_prefix))
    bound = (1.0 / down[0].numel()) ** 0.5
    values = torch.empty(down.shape, dtype=torch.float32).uniform_(-bound, bound, generator=draw)
    with torch.no_grad():
        down.data = values.to(down.device)
        up.data = torch.zeros(up.shape, dtype=torch.float32, device=up.device)
    return down, up


def attach_lora(parts: Parts, *, rank: int, alpha: float, text_encoders: bool, seed: int) -> Lora:
    """Put a fresh LoRA on the UNet (and both text encoders); only its tensors need gradients."""
    rows = _rows(parts, text_encoders)
    components: dict[str, Any] = {
        "unet": parts.unet,
        "text_encoder": parts.text_encoder,
        "text_encoder_2": parts.text_encoder_2,
    }
    for name, component in components.items():
        paths = [_path_in(component, row) for row in rows if row.component == name]
        if paths:
            _attach(component, paths, rank, alpha)
    pairs = {}
    for row in rows:
        component = components[row.component]
        layer = component.get_submodule(_path_in(component, row))
        if not hasattr(layer, "lora_A"):
            raise WeightsError(
                f"has no module {row.component}.{row.module}",
                expected="a UNet of SDXL's shape, with linear projections around its attention",
            )
        down, up = layer.lora_A[_ADAPTER].weight, layer.lora_B[_ADAPTER].weight
        pairs[row.kohya_prefix] = _start(down, up, row, seed)
    trained = {id(p) for pair in pairs.values() for p in pair}
    stray = [
        name
        for component in components.values()
        for name, p in component.named_parameters()
        if p.requires_grad and id(p) not in trained
    ]
    if stray:
        raise WeightsError(f"would train {len(stray)} weights outside the LoRA: {stray[0]}")
    return Lora(pairs, {row.kohya_prefix: row for row in rows}, rank, alpha)
