"""Low-rank matrices beside the frozen weights, addressed by their names in a LoRA file.

Notation
    W       frozen weight of one module            (out, in), or (out, in, k, k) of a convolution
    A, B    LoRA pair (lora_down, lora_up)         (rank, in) and (out, rank), float32; of a
            convolution (rank, in, k, k) and (out, rank, 1, 1)
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
from vultus.training.records import TrainSpec

__all__ = ["Lora", "Scale", "attach_lora", "scale_of"]

_ADAPTER = "vultus"


# (rank, alpha) of one module
Scale = tuple[int, float]


@dataclass(frozen=True)
class Lora:
    """All trainable pairs: kohya prefix -> (A, B), in the order of the key table."""

    pairs: Mapping[str, tuple[torch.nn.Parameter, torch.nn.Parameter]]
    modules: Mapping[str, LoraModule]
    scales: Mapping[str, Scale]

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


def _rows(parts: Parts, spec: TrainSpec) -> list[LoraModule]:
    one = parts.text_encoder.config.to_dict() if spec.text_encoders else None
    two = parts.text_encoder_2.config.to_dict() if spec.text_encoders else None
    unet = dict(parts.unet.config)
    return lora_modules(unet, one, two, convolutions=spec.conv_rank > 0)


def scale_of(row: LoraModule, spec: TrainSpec) -> Scale:
    """The (rank, alpha) of a module, as kohya gives them: only 3x3 convolutions have their own."""
    if row.kind == "conv3":
        return spec.conv_rank, spec.scaled_conv_alpha
    return spec.rank, spec.alpha


def _attach(component: Any, scales: Mapping[str, Scale], spec: TrainSpec) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    usual = (spec.rank, spec.alpha)
    others = {path: scale for path, scale in scales.items() if scale != usual}
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        target_modules=list(scales),
        rank_pattern={path: rank for path, (rank, _) in others.items()},
        alpha_pattern={path: alpha for path, (_, alpha) in others.items()},
        init_lora_weights=True,
    )
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


def attach_lora(parts: Parts, spec: TrainSpec, seed: int) -> Lora:
    """Put a fresh LoRA on the modules that the spec asks for; only its tensors need gradients."""
    rows = _rows(parts, spec)
    components: dict[str, Any] = {
        "unet": parts.unet,
        "text_encoder": parts.text_encoder,
        "text_encoder_2": parts.text_encoder_2,
    }
    for name, component in components.items():
        scales = {
            _path_in(component, row): scale_of(row, spec) for row in rows if row.component == name
        }
        if scales:
            _attach(component, scales, spec)
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
    return Lora(
        pairs=pairs,
        modules={row.kohya_prefix: row for row in rows},
        scales={row.kohya_prefix: scale_of(row, spec) for row in rows},
    )
