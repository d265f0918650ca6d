"""Which modules a training adapts, and at which rank: the spec read against the key table.

Notation
    scale       (rank, alpha) of one module; its LoRA counts alpha / rank times
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from vultus.core.sdxl.lora_keys import LoraModule, text_encoder_modules, unet_modules
from vultus.training.records import TrainSpec

__all__ = ["Configs", "Scale", "scale_of", "target_modules", "tensor_shapes"]

Configs = Mapping[str, Mapping[str, Any]]
"""Configurations of the three networks: `unet`, `text_encoder`, `text_encoder_2`."""

Scale = tuple[int, float]

_UNET_GROUPS = {
    "kohya": {"attn", "ff", "proj"},
    "attention_ff": {"attn", "ff"},
    "attention": {"attn"},
    "cross_attention": {"attn"},
}
_CONVOLUTIONS = {"conv3x3", "res_lin_1x1"}


def target_modules(spec: TrainSpec, configs: Configs) -> list[LoraModule]:
    """The modules that a training adapts, in the order of the key table."""
    groups = _UNET_GROUPS[spec.targets] | (_CONVOLUTIONS if spec.conv_rank else set())
    found = [row for row in unet_modules(configs["unet"]) if row.group in groups]
    if spec.targets == "cross_attention":
        found = [row for row in found if row.group != "attn" or ".attn2." in row.module]
    if not spec.text_encoders:
        return found
    rows: list[LoraModule] = []
    if spec.encoders != "second":
        rows += text_encoder_modules(configs["text_encoder"], 1)
    if spec.encoders != "first":
        rows += text_encoder_modules(configs["text_encoder_2"], 2)
    return found + [
        row for row in rows if spec.encoder_targets == "kohya" or row.group.endswith("_attn")
    ]


def scale_of(row: LoraModule, spec: TrainSpec) -> Scale:
    """The scale of a module, as it stands in the file.

    kohya gives only 3x3 convolutions a rank of their own. rsLoRA (arXiv 2312.03732) divides by the
    root of the rank; files know only alpha / rank, so their alpha is alpha * sqrt(rank).
    """
    rank, alpha = spec.rank, spec.alpha
    if row.kind == "conv3":
        rank, alpha = spec.conv_rank, spec.scaled_conv_alpha
    return rank, alpha * math.sqrt(rank) if spec.rslora else alpha


def tensor_shapes(row: LoraModule, spec: TrainSpec) -> list[tuple[str, tuple[int, ...]]]:
    """(end of its name, shape) of every trained tensor of a module."""
    rank, _ = scale_of(row, spec)
    kernel = () if row.kind == "linear" else (row.kernel, row.kernel)
    flat = tuple(1 for _ in kernel)
    shapes = [
        ("lora_down.weight", (rank, row.in_features, *kernel)),
        ("lora_up.weight", (row.out_features, rank, *flat)),
    ]
    if spec.dora:
        shapes.append(("dora_scale", (row.out_features, 1, *flat)))
    return shapes
