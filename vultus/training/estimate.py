"""How much memory a training takes, told before it starts.

Parameters, gradients and optimizer state are counted exactly, tensor by tensor, from configurations
alone: nothing is loaded. Activations are measured by `native.activations` and handed in.

Notation
    n           numbers in one tensor
    state       bytes that an optimizer keeps between steps, as its own source allocates them
    MiB         2**20 bytes
Sources: torch.optim.AdamW and Adafactor 2.13; prodigyopt 1.1.2; prodigy-plus-schedule-free 2.0.1;
bitsandbytes 0.50.2. All adapter tensors are float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vultus.core.errors import TrainingError
from vultus.core.sdxl.lora_keys import LoraModule, is_unused, text_encoder_modules, unet_modules
from vultus.training.ladder import apply_rungs, next_rung
from vultus.training.records import TrainSpec
from vultus.training.targets import Configs, target_modules, tensor_shapes

__all__ = [
    "MemoryPlan",
    "adapter_parameters",
    "base_parameters",
    "gradient_bytes",
    "optimizer_bytes",
    "plan_memory",
    "refuse_hopeless",
    "text_encoder_parameters",
    "unet_parameters",
]

Shape = tuple[int, ...]

_FLOAT = 4
CUDA_CONTEXT_BYTES = 500 * 2**20
"""What a CUDA process holds before the first tensor: driver, kernels, cuBLAS' work space (assumed)."""


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes by what they are for."""

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    caches: int
    context: int

    @property
    def total(self) -> int:
        return sum(vars(self).values())


def _tensors(spec: TrainSpec, configs: Configs, *, stepped: bool) -> list[tuple[str, Shape]]:
    """(name, shape) of every trained tensor; with `stepped` only those that ever get a gradient."""
    found = []
    for row in target_modules(spec, configs):
        if stepped and is_unused(row, configs["text_encoder"]):
            continue
        found += [(f"{row.kohya_prefix}.{end}", shape) for end, shape in tensor_shapes(row, spec)]
    return found


def adapter_parameters(spec: TrainSpec, configs: Configs) -> int:
    """Trained numbers: rank * (in * k^2 + out) of each module, and out more with DoRA."""
    return sum(math.prod(shape) for _, shape in _tensors(spec, configs, stepped=False))


def gradient_bytes(spec: TrainSpec, configs: Configs) -> int:
    """float32 gradients of everything that gets one."""
    return _FLOAT * sum(math.prod(shape) for _, shape in _tensors(spec, configs, stepped=True))


def _adamw(name: str, shape: Shape, spec: TrainSpec) -> int:
    return 2 * _FLOAT * math.prod(shape) + _FLOAT  # two moments and the step


def _adamw8bit(name: str, shape: Shape, spec: TrainSpec) -> int:
    n = math.prod(shape)
    if n < 4096:  # bitsandbytes keeps small tensors in 32 bits
        return 2 * _FLOAT * n
    return 2 * (n + _FLOAT * -(-n // 256))  # a byte each, and a float per block of 256


def _prodigy(name: str, shape: Shape, spec: TrainSpec) -> int:
    n = math.prod(shape)
    sliced = -(-n // spec.slice_p)
    # a tensor that starts at zero needs no copy of its start
    start = 1 if name.endswith(".lora_up.weight") else sliced
    return _FLOAT * (2 * n + sliced + start)


def _prodigy_plus(name: str, shape: Shape, spec: TrainSpec) -> int:
    n = math.prod(shape)
    sliced = -(-n // 11)
    start = 1 if name.endswith(".lora_up.weight") else sliced
    second = n
    if len(shape) >= 2 and max(shape) >= 32:
        # the second moment is kept as its mean along each of the two longest sides
        longest = sorted(shape)[-2:]
        second = n // longest[0] + n // longest[1]
    return _FLOAT * (n + second) + 2 * (sliced + start)


def _adafactor(name: str, shape: Shape, spec: TrainSpec) -> int:
    n = math.prod(shape)
    second = n // shape[-1] + n // shape[-2] if len(shape) > 1 else n
    return _FLOAT * (second + 1)


_STATE: Mapping[str, Callable[[str, Shape, TrainSpec], int]] = {
    "adamw": _adamw,
    "adamw8bit": _adamw8bit,
    "prodigy": _prodigy,
    "prodigy_plus": _prodigy_plus,
    "adafactor": _adafactor,
}


def _shared_state(spec: TrainSpec, tensors: Sequence[tuple[str, Shape]]) -> int:
    """State that belongs to no single tensor."""
    if spec.optimizer == "adamw8bit" and any(math.prod(shape) >= 4096 for _, shape in tensors):
        return 2 * 256 * _FLOAT  # two quantisation tables
    if spec.optimizer == "prodigy_plus":
        # two running sums for every group that has a d of its own
        texts = {not name.startswith("lora_unet_") for name, _ in tensors}
        lengths = {name.endswith(".dora_scale") for name, _ in tensors}
        return 2 * _FLOAT * len(texts) * len(lengths)
    return 0


def optimizer_bytes(spec: TrainSpec, configs: Configs, *, every: bool = False) -> int:
    """State after the first step. With `every`, as if modules without a gradient were stepped too."""
    tensors = _tensors(spec, configs, stepped=not every)
    count = _STATE[spec.optimizer]
    own = sum(count(name, _as_trained(name, shape), spec) for name, shape in tensors)
    return own + _shared_state(spec, tensors)


def _as_trained(name: str, shape: Shape) -> Shape:
    """The shape in memory: peft keeps DoRA's magnitudes as (out,), or (1, out, 1, 1)."""
    if not name.endswith(".dora_scale"):
        return shape
    return (shape[0],) if len(shape) == 2 else (1, shape[0], 1, 1)


def _weights_of(row: LoraModule, *, bias: bool) -> int:
    return row.in_features * row.kernel**2 * row.out_features + (row.out_features if bias else 0)


def unet_parameters(config: Mapping[str, Any]) -> int:
    """Numbers in a UNet of SDXL's shape (SDXL: 2,567,463,684)."""
    first = int(config["block_out_channels"][0])
    time = 4 * first
    adm = int(config["projection_class_embeddings_input_dim"])
    total = (first + 1) * time + (time + 1) * time  # the timestep's two layers
    total += (adm + 1) * time + (time + 1) * time  # the added conditions' two
    total += (int(config["in_channels"]) * 9 + 1) * first  # conv_in
    total += 2 * first + (first * 9 + 1) * int(config["out_channels"])  # norm and conv_out
    for row in unet_modules(config):
        tail = row.module.rsplit(".", 2)
        bare = tail[-1] in {"to_q", "to_k", "to_v"}
        total += _weights_of(row, bias=not bare)
        if tail[-1] in {"conv1", "conv2", "proj_in"}:
            total += 2 * row.in_features  # the group norm before it
        if row.module.endswith("attn1.to_q"):
            total += 6 * row.in_features  # three layer norms of the block
    return total


def text_encoder_parameters(config: Mapping[str, Any], number: int) -> int:
    """Numbers in a text encoder (SDXL: 123,060,480 and 694,659,840)."""
    width, layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
    words = int(config["vocab_size"]) + int(config["max_position_embeddings"])
    rows = text_encoder_modules(config, 1 if number == 1 else 2)
    inner = sum(_weights_of(row, bias=True) for row in rows) + layers * 4 * width
    projection = width * int(config["projection_dim"]) if number == 2 else 0
    return words * width + inner + 2 * width + projection


def base_parameters(configs: Configs) -> tuple[int, int]:
    """Numbers in the UNet and in both text encoders."""
    texts = text_encoder_parameters(configs["text_encoder"], 1)
    texts += text_encoder_parameters(configs["text_encoder_2"], 2)
    return unet_parameters(configs["unet"]), texts


def _unet_width(spec: TrainSpec) -> int:
    """Bytes of one frozen number of the UNet; with fp8 norms and biases (less than 0.1 % of SDXL's) stay at two."""
    return {"fp32": _FLOAT, "bf16": 2, "fp8": 1}[spec.precision]


def plan_memory(
    spec: TrainSpec, configs: Configs, *, activations: int, pictures: int, cuda: bool
) -> MemoryPlan:
    """What a step takes at its peak. Frozen text encoders leave before the first step."""
    unet, texts = base_parameters(configs)
    width = _FLOAT if spec.precision == "fp32" else 2
    config = configs["unet"]
    latents = int(config["in_channels"]) * (spec.resolution_px // 8) ** 2
    # latents and their spread, and 77 embeddings a picture where the encoders are frozen
    words = 0 if spec.text_encoders else 77 * int(config["cross_attention_dim"])
    return MemoryPlan(
        weights=_unet_width(spec) * unet + (width * texts if spec.text_encoders else 0),
        adapter=_FLOAT * adapter_parameters(spec, configs),
        gradients=gradient_bytes(spec, configs),
        optimizer=optimizer_bytes(spec, configs),
        activations=activations,
        caches=_FLOAT * pictures * (2 * latents + words),
        context=CUDA_CONTEXT_BYTES if cuda else 0,
    )


def refuse_hopeless(spec: TrainSpec, configs: Configs, *, pictures: int, free: int) -> None:
    """Raise TrainingError, with the numbers, when not even the ladder's end can fit beside the base.

    `free` is what the card has left once the base is on it. Only what is known exactly counts (adapter,
    gradients, optimizer, caches), so nothing that could run is refused.
    """
    smallest = spec
    while (rung := next_rung(smallest)) is not None:
        smallest = apply_rungs(smallest, [rung.name])
    plan = plan_memory(smallest, configs, activations=0, pictures=pictures, cuda=False)
    needed = plan.total - plan.weights
    # what a coarser base would give back
    free += (_unet_width(spec) - _unet_width(smallest)) * base_parameters(configs)[0]
    if needed > free:
        parts = ("adapter", "gradients", "optimizer", "caches")
        shares = ", ".join(f"{part} {getattr(plan, part) / 2**20:.0f}" for part in parts)
        raise TrainingError(
            f"the training needs at least {needed / 2**20:.0f} MiB beside the base ({shares})",
            where=f"rank {spec.rank}, {spec.optimizer}",
            expected=f"at most the {free / 2**20:.0f} MiB that the card has left",
            next_command="lower train.rank in vultus.toml, or stop what else uses the card",
        )
