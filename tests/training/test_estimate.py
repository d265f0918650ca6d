"""Bytes predicted from configurations alone: SDXL's published counts, and real optimizers stepped."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.test_merged import random_lora
from vultus.core.errors import MissingExtraError, TrainingError
from vultus.core.sdxl.architecture import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from vultus.core.sdxl.lora_keys import unet_modules
from vultus.training.estimate import (
    adapter_parameters,
    base_parameters,
    gradient_bytes,
    optimizer_bytes,
    plan_memory,
    refuse_hopeless,
    text_encoder_parameters,
    unet_parameters,
)
from vultus.training.native.lora import configs_of
from vultus.training.native.memory import state_bytes
from vultus.training.native.optimizers import make_optimizer
from vultus.training.records import TrainSpec

SDXL = {"unet": UNET, "text_encoder": TEXT_ENCODER, "text_encoder_2": TEXT_ENCODER_2}
SPEC = TrainSpec(rank=16, alpha=16.0)
BOTH = replace(SPEC, text_encoders=True)


def test_the_base_is_counted_to_the_unit() -> None:
    assert unet_parameters(UNET) == 2_567_463_684
    assert text_encoder_parameters(TEXT_ENCODER, 1) == 123_060_480
    assert text_encoder_parameters(TEXT_ENCODER_2, 2) == 694_659_840


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (replace(SPEC, targets="cross_attention"), 12_574_720),
        (replace(SPEC, targets="attention"), 23_224_320),
        (replace(SPEC, targets="attention_ff"), 41_861_120),
        (SPEC, 42_557_440),
        (replace(SPEC, conv_rank=16), 49_187_840),
        (replace(BOTH, encoders="first"), 45_211_648),
        (BOTH, 57_008_128),
        (replace(BOTH, conv_rank=16), 63_638_528),
    ],
)
def test_target_sets_have_kohyas_counts(spec: TrainSpec, wanted: int) -> None:
    assert adapter_parameters(spec, SDXL) == wanted
    doubled = replace(spec, rank=32, conv_rank=2 * spec.conv_rank)
    assert adapter_parameters(doubled, SDXL) == 2 * wanted


def test_encoder_sets_have_kohyas_counts() -> None:
    whole = adapter_parameters(SPEC, SDXL)
    for encoders, targets, wanted in (
        ("first", "attention", 1_179_648),
        ("first", "kohya", 2_654_208),
        ("second", "attention", 5_242_880),
        ("second", "kohya", 11_796_480),
    ):
        spec = replace(BOTH, encoders=encoders, encoder_targets=targets)
        assert adapter_parameters(spec, SDXL) - whole == wanted


@pytest.mark.parametrize(
    ("spec", "mib"),
    [  # AdamW, AdamW8bit, Prodigy, Prodigy slice_p 11, Prodigy-plus; None: not in the table
        (SPEC, (325, 82, 562, 346, 183)),
        (replace(SPEC, rank=32), (649, 165, 1123, 692, 357)),
        (replace(BOTH, rank=8), (217, 55, 377, 232, None)),
        (BOTH, (435, 110, 755, 464, 246)),
        (replace(BOTH, rank=32), (870, 221, 1509, 928, 478)),
        (replace(BOTH, rank=64), (1740, 442, 3019, 1856, None)),
        (replace(BOTH, rank=128), (3480, 883, 6037, 3712, 1871)),
        (replace(BOTH, rank=32, conv_rank=32), (971, 247, 1705, 1038, 534)),
    ],
)
def test_optimizer_state_equals_the_published_table(
    spec: TrainSpec, mib: tuple[int | None, ...]
) -> None:
    """Whole MiB of states that were made by stepping the real optimizers on the real shapes."""
    optimizers = [("adamw", 1), ("adamw8bit", 1), ("prodigy", 1), ("prodigy", 11)]
    optimizers.append(("prodigy_plus", 1))
    compared = 0
    for (name, slice_p), wanted in zip(optimizers, mib, strict=True):
        if wanted is None:
            continue
        one = replace(spec, optimizer=name, slice_p=slice_p)
        found = optimizer_bytes(one, SDXL, every=True) / 2**20
        assert abs(found - wanted) <= 0.61, (name, slice_p, found)
        compared += 1
    assert compared >= 4


TARGETS = {
    "unet": TrainSpec(rank=4, alpha=4.0),
    "cross": TrainSpec(rank=3, alpha=4.0, targets="cross_attention"),
    "all": TrainSpec(rank=16, alpha=4.0, conv_rank=20, text_encoders=True),
    "dora": TrainSpec(rank=4, alpha=4.0, conv_rank=4, text_encoders=True, dora=True),
    "second": TrainSpec(
        rank=40, text_encoders=True, encoders="second", encoder_targets="attention"
    ),
}
OPTIMIZERS = [("adamw", 1), ("prodigy", 1), ("prodigy", 11), ("prodigy_plus", 1), ("adafactor", 1)]


@pytest.mark.parametrize("name", list(TARGETS))
def test_real_optimizers_hold_exactly_what_was_predicted(tiny_base: Path, name: str) -> None:
    """Stepped once with a gradient wherever training gives one: SDXL skips an encoder's last layer."""
    from vultus.training.native.lora import attach_lora
    from vultus.training.native.parts import load_parts

    parts = load_parts(tiny_base, torch.float32, torch.device("cpu"))
    configs = configs_of(parts)
    lora = attach_lora(parts, TARGETS[name], seed=1)
    found, wanted = {}, {}
    for optimizer_name, slice_p in [*OPTIMIZERS, ("adamw8bit", 1)]:
        spec = replace(TARGETS[name], optimizer=optimizer_name, slice_p=slice_p)
        try:
            optimizer = make_optimizer(spec, lora)
        except MissingExtraError as missing:
            assert optimizer_name == "adamw8bit", missing
            continue
        kept = {n: p.detach().clone() for n, p in lora.named_parameters()}
        numbers = gradients = 0
        for parameter_name, parameter in lora.named_parameters():
            numbers += parameter.numel()
            unused = parameter_name.startswith("lora_te1_text_model_encoder_layers_1_")
            parameter.grad = None if unused else torch.full_like(parameter, 1e-3)
            gradients += 0 if unused else 4 * parameter.numel()
        optimizer.step()
        key = f"{optimizer_name} {slice_p}"
        found[key], wanted[key] = state_bytes(optimizer), optimizer_bytes(spec, configs)
        assert numbers == adapter_parameters(spec, configs)
        assert gradients == gradient_bytes(spec, configs)
        with torch.no_grad():
            for n, p in lora.named_parameters():
                p.copy_(kept[n])
    assert len(found) >= len(OPTIMIZERS)
    assert found == wanted


def test_the_plan_adds_up(tiny_base: Path) -> None:
    parts, _ = random_lora(tiny_base, TARGETS["unet"])
    configs = configs_of(parts)
    # the LoRA is on the UNet by now: count the frozen numbers only
    frozen = sum(p.numel() for p in parts.unet.parameters() if not p.requires_grad)
    texts = sum(
        p.numel() for te in (parts.text_encoder, parts.text_encoder_2) for p in te.parameters()
    )
    assert base_parameters(configs) == (frozen, texts)
    plan = plan_memory(TARGETS["unet"], configs, activations=1000, pictures=5, cuda=False)
    assert plan.weights == 4 * frozen
    assert plan.activations == 1000
    assert plan.total == sum(vars(plan).values()) > plan.weights
    sdxl = plan_memory(
        replace(BOTH, rank=32, optimizer="prodigy", precision="bf16"),
        SDXL,
        activations=0,
        pictures=36,
        cuda=True,
    )
    assert sdxl.weights == 2 * (2_567_463_684 + 123_060_480 + 694_659_840)


def test_what_cannot_fit_is_refused_with_its_numbers() -> None:
    """Rank 128 with both encoders and Prodigy: frozen encoders and slices are tried on paper first."""
    spec = replace(BOTH, rank=128, optimizer="prodigy")
    smallest = replace(spec, text_encoders=False, slice_p=11)
    # weights, gradients and 346 MiB of state at rank 16, eight times over; the captions of 36 pictures
    exact = 8 * (4 * 2 * 42_557_440 + optimizer_bytes(replace(smallest, rank=16), SDXL))
    refuse_hopeless(spec, SDXL, pictures=36, free=int(1.05 * exact))
    with pytest.raises(TrainingError, match="at least") as caught:
        refuse_hopeless(spec, SDXL, pictures=36, free=int(0.95 * exact))
    told = [float(n) for n in re.findall(r"(\d+)", str(caught.value.what))]
    assert told[0] == pytest.approx(sum(told[1:]), abs=3)
    assert told[0] == pytest.approx(exact / 2**20, rel=0.05)


def test_activations_grow_with_what_is_seen_and_shrink_with_checkpointing() -> None:
    """Counted on shapes alone, so the sizes are exact multiples."""
    from tests.training.tiny_base import UNET as TINY
    from vultus.training.native.activations import activation_bytes

    config = {**TINY, "in_channels": 8, "out_channels": 8}
    modules = [row.module for row in unet_modules(config) if row.by_default]
    given: dict[str, Any] = {"rank": 4, "precision": "fp32"}

    def count(size: tuple[int, int], batch: int, checkpointing: bool = False) -> int:
        return activation_bytes(
            config, modules, size=size, batch=batch, checkpointing=checkpointing, **given
        )

    one = count((8, 8), 1)
    # all that a picture brings doubles with it; what belongs to no picture is next to nothing
    assert count((8, 8), 2) == pytest.approx(2 * one, rel=0.02)
    assert 2.5 * one < count((16, 16), 1) < 4.2 * one
    assert count((16, 8), 1) == count((8, 16), 1)
    assert 0 < count((8, 8), 1, checkpointing=True) < 0.6 * one
