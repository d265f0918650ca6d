"""Optimizers: what is refused before the start, rates by group, averaging switched around a save."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vultus.core.errors import TrainingError
from vultus.training.checks import refuse_contradictions
from vultus.training.native.lora import Lora, attach_lora
from vultus.training.native.optimizers import (
    make_optimizer,
    parameter_groups,
    set_rate,
    weights_for_use,
)
from vultus.training.native.parts import load_parts
from vultus.training.records import TrainPicture, TrainSpec

SPEC = TrainSpec(rank=2, alpha=2.0, text_encoders=True, dora=True, steps=8)
PICTURE = TrainPicture(Path("a.png"), "a", (64, 64))


@pytest.fixture(scope="module")
def lora(tiny_base: Path) -> Lora:
    return attach_lora(load_parts(tiny_base, torch.float32, torch.device("cpu")), SPEC, seed=1)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"optimizer": "prodigy", "text_learning_rate": 0.5}, "1 and 0.5"),
        ({"optimizer": "prodigy_plus", "schedule": "cosine"}, "averages"),
        ({"optimizer": "prodigy_plus", "warmup_steps": 3}, "averages"),
        ({"slice_p": 11}, "slice_p"),
        ({"d_coef": 2.0}, "d_coef"),
        ({"text_encoders": False, "text_learning_rate": 1e-4}, "text_learning_rate"),
        ({"conv_alpha": 1.0}, "conv_alpha"),
        ({"prior_every": 4}, "no face is weighted"),
        ({"face_weight": 10.0}, "where faces are"),
        ({"views": "added"}, "views needs to know where faces are, and 1 of 1"),
        ({"identity_weight": 0.1}, "without a recogniser"),
        ({"identity_weight": 0.1, "identity_recogniser": "standin:b"}, "identity_weight needs"),
    ],
)
def test_contradictions_are_refused_before_a_base_is_loaded(
    changes: dict[str, object], what: str
) -> None:
    with pytest.raises(TrainingError, match=what):
        refuse_contradictions(replace(SPEC, **changes), [PICTURE])  # type: ignore[arg-type]


def test_what_fits_is_let_pass() -> None:
    seen = [replace(PICTURE, faces=((8, 8, 24, 24),))]
    refuse_contradictions(SPEC, [PICTURE, *seen])
    for spec in (
        SPEC,
        replace(SPEC, optimizer="prodigy", text_learning_rate=1.0, slice_p=11),
        replace(SPEC, optimizer="prodigy_plus", text_learning_rate=0.5),
        replace(SPEC, face_weight=10.0, prior_every=4),
        replace(SPEC, text_learning_rate=5e-5, conv_rank=4, conv_alpha=1.0),
    ):
        refuse_contradictions(spec, seen)


def test_groups_have_their_own_rate_and_lengths_do_not_decay(lora: Lora) -> None:
    spec = replace(SPEC, learning_rate=1e-3, text_learning_rate=1e-4, warmup_steps=1)
    groups = parameter_groups(lora, spec)
    assert [(g["part"], g["weight_decay"]) for g in groups] == [
        ("text", 0.01),
        ("unet", 0.01),
        ("text", 0.0),
        ("unet", 0.0),
    ]
    named = lora.named_parameters()
    assert sum(len(g["params"]) for g in groups) == len(named) == 3 * len(lora.pairs)
    optimizer = make_optimizer(spec, lora)
    assert set_rate(optimizer, spec, 0) == pytest.approx(5e-4)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([5e-5, 5e-4] * 2)


def test_averaged_weights_are_saved_and_training_goes_on_untouched(lora: Lora) -> None:
    """Schedule-free: while saving, the average x; before and after, y, bit for bit."""
    spec = replace(SPEC, optimizer="prodigy_plus")
    optimizer = make_optimizer(spec, lora)
    parameters = [p for _, p in lora.named_parameters()]
    draw = torch.Generator().manual_seed(1)
    for step in range(4):
        set_rate(optimizer, spec, step)
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=draw)
        optimizer.step()
    before = [p.detach().clone() for p in parameters]
    with weights_for_use(optimizer, parameters):
        assert not any(g["train_mode"] for g in optimizer.param_groups)
        inside = [p.detach().clone() for p in parameters]
    moved = sum(not torch.equal(a, b) for a, b in zip(before, inside, strict=True))
    assert moved > len(parameters) * 0.9
    for p, y, x in zip(parameters, before, inside, strict=True):
        assert torch.equal(p, y)
        # y = beta x + (1 - beta) z, the optimizer's own definition
        z = optimizer.state[p]["z"]
        torch.testing.assert_close(y, 0.9 * x + 0.1 * z, rtol=1e-4, atol=1e-7)
    assert all(g["train_mode"] for g in optimizer.param_groups)
    optimizer.step()
