"""Low-rank matrices beside the frozen weights, addressed by their names in a LoRA file.

Notation
    W       frozen weight of one module            (out, in), or (out, in, k, k) of a convolution
    A, B    LoRA pair (lora_down, lora_up)         (rank, in) and (out, rank), float32; of a
            convolution (rank, in, k, k) and (out, rank, 1, 1)
    m       DoRA's magnitudes, one per output      starts at the row norms |W|
    s       alpha / rank
    the module computes (W + strength * s * B A) x; B starts at zero, so the first step starts from the
    base exactly. With DoRA: m * (W + s B A) / |W + s B A|, row by row (arXiv 2402.09353)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from vultus.core.errors import WeightsError
from vultus.core.sdxl.lora_keys import LoraModule, path_in
from vultus.core.seeds import seed_of
from vultus.training.native.parts import Parts
from vultus.training.records import TrainSpec
from vultus.training.targets import Configs, Scale, scale_of, target_modules

__all__ = ["Lora", "attach_lora", "configs_of", "without_lora"]

_ADAPTER = "vultus"


@dataclass(frozen=True)
class Lora:
    """All trainable tensors: kohya prefix -> (A, B) and -> m, in the order of the key table."""

    pairs: Mapping[str, tuple[torch.nn.Parameter, torch.nn.Parameter]]
    magnitudes: Mapping[str, torch.nn.Parameter]
    modules: Mapping[str, LoraModule]
    scales: Mapping[str, Scale]
    layers: tuple[Any, ...]

    def named_parameters(self) -> list[tuple[str, torch.nn.Parameter]]:
        """Every trained tensor under its name in a LoRA file, always in the same order."""
        named = []
        for prefix, (down, up) in self.pairs.items():
            named += [(f"{prefix}.lora_down.weight", down), (f"{prefix}.lora_up.weight", up)]
            if prefix in self.magnitudes:
                named.append((f"{prefix}.dora_scale", self.magnitudes[prefix]))
        return named


def configs_of(parts: Parts) -> Configs:
    """The configurations that decide names and shapes."""
    return {
        "unet": dict(parts.unet.config),
        "text_encoder": parts.text_encoder.config.to_dict(),
        "text_encoder_2": parts.text_encoder_2.config.to_dict(),
    }


def _attach(component: Any, scales: Mapping[str, Scale], dora: bool) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    rank, alpha = next(iter(scales.values()))
    others = {path: scale for path, scale in scales.items() if scale != (rank, alpha)}
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=list(scales),
        rank_pattern={path: r for path, (r, _) in others.items()},
        alpha_pattern={path: a for path, (_, a) in others.items()},
        use_dora=dora,
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


def _magnitude(layer: Any) -> torch.nn.Parameter:
    """DoRA's magnitudes in float32: the row norms of the frozen weight."""
    found: torch.nn.Parameter = layer.lora_magnitude_vector[_ADAPTER].weight
    rows = layer.get_base_layer().weight.detach().float().flatten(1).norm(dim=1)
    with torch.no_grad():
        found.data = rows.reshape(found.shape).clone()
    return found


def attach_lora(parts: Parts, spec: TrainSpec, seed: int) -> Lora:
    """Put a fresh LoRA on the modules that the spec asks for; only its tensors need gradients."""
    rows = target_modules(spec, configs_of(parts))
    components: dict[str, Any] = {
        "unet": parts.unet,
        "text_encoder": parts.text_encoder,
        "text_encoder_2": parts.text_encoder_2,
    }
    for name, component in components.items():
        scales = {
            path_in(component, row): scale_of(row, spec) for row in rows if row.component == name
        }
        if scales:
            _attach(component, scales, spec.dora)
    pairs, magnitudes, layers = {}, {}, []
    for row in rows:
        component = components[row.component]
        layer = component.get_submodule(path_in(component, row))
        if not hasattr(layer, "lora_A"):
            raise WeightsError(
                f"has no module {row.component}.{row.module}",
                expected="a UNet of SDXL's shape, with linear projections around its attention",
            )
        down, up = layer.lora_A[_ADAPTER].weight, layer.lora_B[_ADAPTER].weight
        pairs[row.kohya_prefix] = _start(down, up, row, seed)
        if spec.dora:
            magnitudes[row.kohya_prefix] = _magnitude(layer)
        layers.append(layer)
    lora = Lora(
        pairs=pairs,
        magnitudes=magnitudes,
        modules={row.kohya_prefix: row for row in rows},
        scales={row.kohya_prefix: scale_of(row, spec) for row in rows},
        layers=tuple(layers),
    )
    _refuse_strays(components, lora)
    return lora


def _refuse_strays(components: Mapping[str, Any], lora: Lora) -> None:
    trained = {id(parameter) for _, parameter in lora.named_parameters()}
    stray = [
        name
        for component in components.values()
        for name, p in component.named_parameters()
        if p.requires_grad and id(p) not in trained
    ]
    if stray:
        raise WeightsError(f"would train {len(stray)} weights outside the LoRA: {stray[0]}")


@contextmanager
def without_lora(lora: Lora) -> Iterator[None]:
    """While it lasts the networks are the frozen base. No gradient flag is touched."""
    for layer in lora.layers:
        # peft's own switch also rewrites requires_grad of every adapter
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in lora.layers:
            layer._disable_adapters = False
