"""The key table by rule, held against the table that kohya's own code gave."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from vultus.core.sdxl.architecture import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from vultus.core.sdxl.lora_keys import (
    LoraModule,
    lora_modules,
    text_encoder_modules,
    unet_modules,
)

SHARED = Path(os.environ.get("VULTUS_SHARED", Path(__file__).resolve().parents[2] / "../shared"))
TABLE = SHARED / "configs" / "sdxl_lora_keys.tsv"


def _all_rows() -> list[LoraModule]:
    return [
        *unet_modules(UNET),
        *text_encoder_modules(TEXT_ENCODER, 1),
        *text_encoder_modules(TEXT_ENCODER_2, 2),
    ]


@pytest.mark.shared
@pytest.mark.skipif(not TABLE.exists(), reason=f"no configs/sdxl_lora_keys.tsv under {SHARED}")
def test_every_row_equals_kohyas_table_in_order() -> None:
    with TABLE.open(encoding="utf-8") as file:
        wanted = list(csv.DictReader(file, delimiter="\t"))
    found = [
        {
            "kohya_prefix": row.kohya_prefix,
            "diffusers_module": f"{row.component}.{row.module}",
            "group": row.group,
            "kind": row.kind,
            "in": str(row.in_features),
            "out": str(row.out_features),
            "kernel": str(row.kernel),
            "params_per_rank": str(row.parameters_per_rank),
            "in_kohya": "default" if row.by_default else "conv_dim only",
        }
        for row in _all_rows()
    ]
    assert len(wanted) == 1052
    assert found == wanted


def test_counts_that_kohyas_loader_reports() -> None:
    rows = lora_modules(UNET, TEXT_ENCODER, TEXT_ENCODER_2)
    assert Counter(row.component for row in rows) == {
        "unet": 722,
        "text_encoder": 72,
        "text_encoder_2": 192,
    }
    assert sum(row.parameters_per_rank for row in rows) == 3_563_008
    others = [row for row in _all_rows() if not row.by_default]
    assert len(others) == 66
    assert sum(row.parameters_per_rank for row in others) == 414_400


def test_names_are_unique_and_sgm() -> None:
    prefixes = [row.kohya_prefix for row in _all_rows()]
    assert len(set(prefixes)) == len(prefixes) == 1052
    assert not [p for p in prefixes if "down_blocks" in p or "up_blocks" in p]
    # the name that diffusers' own exporter gets wrong, and ComfyUI then drops
    assert "lora_te1_text_model_encoder_layers_0_mlp_fc1" in prefixes


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"layers_per_block": 2, "transformer_layers_per_block": (2, 1, 1)},
        {"down_block_types": ("CrossAttnDownBlock2D",) * 3,
         "up_block_types": ("CrossAttnUpBlock2D",) * 3},
        {"use_linear_projection": False},
        {"block_out_channels": (16, 24, 48), "transformer_layers_per_block": 1},
    ],
    ids=["tiny", "deeper", "attention-everywhere", "conv-projection", "other-widths"],
)  # fmt: skip
def test_rule_fits_real_networks_of_other_sizes(changes: dict[str, Any]) -> None:
    """Each row names an existing module of that shape, and no adaptable module is left out."""
    import torch
    from diffusers import UNet2DConditionModel

    from tests.training.tiny_base import UNET as TINY

    with torch.device("meta"):
        net = UNet2DConditionModel(**{**TINY, **changes})
    rows = {row.module: row for row in unet_modules(net.config)}
    layers = {
        name: module
        for name, module in net.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
        and not name.startswith(("time_embedding", "add_embedding", "conv_in", "conv_out"))
    }
    assert len(rows) >= 40
    assert set(rows) == set(layers)
    for name, row in rows.items():
        shape = tuple(layers[name].weight.shape)
        kernel = () if row.kind == "linear" else (row.kernel, row.kernel)
        assert shape == (row.out_features, row.in_features, *kernel), name
