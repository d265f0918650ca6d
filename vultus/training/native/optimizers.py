"""Optimizers and the learning rate, each a small function of the spec.

Notation
    factor      multiplier of the peak learning rate at a step, 0..1; a pure function of the step,
                so a resumed training needs no scheduler state
    d           Prodigy's own estimate of the step size; lives in its parameter group and is saved
    groups      UNet, text encoders; DoRA's magnitudes apart, because decaying a length to zero
                would shrink the layer itself
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from vultus.core.errors import MissingExtraError
from vultus.training.native.lora import Lora
from vultus.training.records import TrainSpec

__all__ = ["make_optimizer", "parameter_groups", "rate_factor", "set_rate", "weights_for_use"]

_BETAS = (0.9, 0.99)


def rate_factor(spec: TrainSpec, step: int) -> float:
    """The share of the peak rate that step `step` (the first is 0) trains with."""
    # never 0: Prodigy divides by the rate, and a step that changes nothing is a wasted step
    if step < spec.warmup_steps:
        return (step + 1) / (spec.warmup_steps + 1)
    if spec.schedule == "constant":
        return 1.0
    span = max(spec.steps - spec.warmup_steps, 1)
    return 0.5 * (1.0 + math.cos(math.pi * (step - spec.warmup_steps) / span))


def set_rate(optimizer: torch.optim.Optimizer, spec: TrainSpec, step: int) -> float:
    """Set the learning rates of a step; returns the UNet's."""
    factor = rate_factor(spec, step)
    for group in optimizer.param_groups:
        group["lr"] = factor * (spec.text_rate if group["part"] == "text" else spec.peak_rate)
    return spec.peak_rate * factor


def parameter_groups(lora: Lora, spec: TrainSpec) -> list[dict[str, Any]]:
    """The trained tensors by what their rate and their decay is; empty groups are left out."""
    found: dict[tuple[str, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in lora.named_parameters():
        prefix, _, end = name.partition(".")
        part = "unet" if lora.modules[prefix].component == "unet" else "text"
        found.setdefault((part, end == "dora_scale"), []).append(parameter)
    rates = {"unet": spec.peak_rate, "text": spec.text_rate}
    return [
        {
            "params": params,
            "part": part,
            "lr": rates[part],
            "weight_decay": 0.0 if length else spec.weight_decay,
        }
        for (part, length), params in sorted(found.items(), key=lambda one: one[0][::-1])
    ]


def _prodigy(spec: TrainSpec, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    from prodigyopt import Prodigy

    # what its authors advise for diffusion: bias correction, and d not fooled by the warm-up
    optimizer: torch.optim.Optimizer = Prodigy(
        groups,
        lr=spec.peak_rate,
        betas=_BETAS,
        weight_decay=spec.weight_decay,
        use_bias_correction=True,
        safeguard_warmup=True,
        slice_p=spec.slice_p,
        d_coef=spec.d_coef,
    )
    return optimizer


def _prodigy_plus(spec: TrainSpec, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    from prodigyplus import ProdigyPlusScheduleFree

    # its defaults are meant for LoRA: one d per group, factored second moment, StableAdamW
    optimizer: torch.optim.Optimizer = ProdigyPlusScheduleFree(
        groups,
        lr=spec.peak_rate,
        betas=_BETAS,
        weight_decay=spec.weight_decay,
        d_coef=spec.d_coef,
    )
    return optimizer


def _adamw8bit(spec: TrainSpec, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise MissingExtraError(
            "the 8-bit optimizer's package is not installed",
            where='train.optimizer = "adamw8bit"',
            expected="the package bitsandbytes, or another optimizer",
            next_command="VULTUS_EXTRAS=gpu make setup",
        ) from error
    optimizer: torch.optim.Optimizer = AdamW8bit(
        groups, lr=spec.peak_rate, betas=_BETAS, weight_decay=spec.weight_decay
    )
    return optimizer


def make_optimizer(spec: TrainSpec, lora: Lora) -> torch.optim.Optimizer:
    """The optimizer that the spec names."""
    groups = parameter_groups(lora, spec)
    if spec.optimizer == "adamw":
        # fused: one kernel for hundreds of small tensors, 5x fewer CPU-seconds per step
        return torch.optim.AdamW(groups, lr=spec.peak_rate, betas=_BETAS, fused=True)
    if spec.optimizer == "adafactor":
        return torch.optim.Adafactor(groups, lr=spec.peak_rate)
    makers = {"prodigy": _prodigy, "prodigy_plus": _prodigy_plus, "adamw8bit": _adamw8bit}
    # what they print on stdout is not for our users
    with contextlib.redirect_stdout(io.StringIO()):
        return makers[spec.optimizer](spec, groups)


@contextlib.contextmanager
def weights_for_use(
    optimizer: torch.optim.Optimizer, parameters: Sequence[torch.nn.Parameter]
) -> Iterator[None]:
    """While it lasts the parameters hold what is to be saved or rendered with.

    A schedule-free optimizer trains at y and means x, an average; whoever saves y saves the wrong
    weights. Its own way back from x to y rounds, so y is kept and put back bit for bit: when
    checkpoints are written changes nothing in the training.
    """
    if not any(group.get("use_schedulefree") for group in optimizer.param_groups):
        yield
        return
    kept = [parameter.detach().clone() for parameter in parameters]
    switch: Any = optimizer
    switch.eval()
    try:
        yield
    finally:
        switch.train()
        with torch.no_grad():
            for parameter, values in zip(parameters, kept, strict=True):
                parameter.copy_(values)
