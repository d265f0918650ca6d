"""Optimizers and the learning rate, each a small function of the spec.

Notation
    factor      multiplier of the peak learning rate at a step, 0..1; a pure function of the step,
                so a resumed training needs no scheduler state
    d           Prodigy's own estimate of the step size; lives in its parameter group and is saved
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence

import torch

from vultus.training.records import TrainSpec

__all__ = ["make_optimizer", "rate_factor", "set_rate"]


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
    """Set the learning rate of a step; returns it."""
    rate = spec.peak_rate * rate_factor(spec, step)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def make_optimizer(
    spec: TrainSpec, parameters: Sequence[torch.nn.Parameter]
) -> torch.optim.Optimizer:
    """The optimizer that the spec names."""
    if spec.optimizer == "adamw":
        # fused: one kernel for hundreds of small tensors, 5x fewer CPU-seconds per step
        return torch.optim.AdamW(
            parameters,
            lr=spec.peak_rate,
            betas=(0.9, 0.99),
            weight_decay=spec.weight_decay,
            fused=True,
        )
    from prodigyopt import Prodigy

    # settings that its authors advise for diffusion; its print on stdout is not for our users
    with contextlib.redirect_stdout(io.StringIO()):
        optimizer: torch.optim.Optimizer = Prodigy(
            list(parameters),
            lr=spec.peak_rate,
            betas=(0.9, 0.99),
            weight_decay=spec.weight_decay,
            use_bias_correction=True,
            safeguard_warmup=True,
        )
    return optimizer
