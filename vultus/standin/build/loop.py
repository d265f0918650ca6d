"""One training loop for every stand-in model: cosine rate, averaged weights, checkpoints that survive a kill.

Notation
    step      0..steps; batch k is drawn from the named stream (name, k), so a resumed run sees the same batches
    average   exponential mean of the weights, decay 0.999: what is exported
One thread per process and OMP_WAIT_POLICY=PASSIVE: on two cores two processes beat two threads (stack.md, section 8).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist

from vultus.core.files import staged
from vultus.core.log import logger
from vultus.core.seeds import seed_of, stream

__all__ = ["LoopSpec", "channels_last", "fit", "frozen_average", "rearranged"]

Net = TypeVar("Net", bound=torch.nn.Module)
Loss = Callable[[np.random.Generator, int], torch.Tensor]


@dataclass(frozen=True)
class LoopSpec:
    """How long and how fast one model learns."""

    name: str
    steps: int
    rate: float
    warmup: int = 100
    decay: float = 0.01
    keep_every: int = 250
    average: float = 0.999
    floor: float = 0.02


def rearranged(model: Net, layout: torch.memory_format) -> Net:
    """The same net with its convolution weights in another memory layout."""
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)
    return model


def channels_last(model: Net) -> Net:
    """The net laid out for CPU convolutions: up to twice as fast."""
    return rearranged(model, torch.channels_last)


def _rate(spec: LoopSpec, step: int) -> float:
    if step < spec.warmup:
        return spec.rate * (step + 1) / spec.warmup
    share = (step - spec.warmup) / max(1, spec.steps - spec.warmup)
    return spec.rate * (spec.floor + (1 - spec.floor) * 0.5 * (1 + math.cos(math.pi * share)))


def _save(path: Path, state: Mapping[str, object]) -> None:
    with staged(path) as beside:
        torch.save(state, beside)


def frozen_average(spec: LoopSpec, folder: Path, model: torch.nn.Module) -> torch.nn.Module:
    """Load the averaged weights of a finished (or running) loop into `model`."""
    state = torch.load(folder / f"{spec.name}.pt", weights_only=True)
    model.load_state_dict(state["average"])
    return model.eval().requires_grad_(False)


def fit(
    spec: LoopSpec, folder: Path, model: torch.nn.Module, loss: Loss, *, rank: int = 0
) -> torch.nn.Module:
    """Train `model` until `spec.steps`, resuming from the last checkpoint in `folder`; returns the averaged model.

    Where a process group is up, every process calls this with its own `rank`: gradients are averaged, rank 0 saves.
    """
    torch.set_num_threads(1)
    log = logger(f"standin.{spec.name}")
    path = folder / f"{spec.name}.pt"
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        params, lr=spec.rate, betas=(0.9, 0.99), weight_decay=spec.decay, foreach=True
    )
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    start = 0
    if path.exists():
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average, start = state["average"], int(state["step"])
    recent, began = 0.0, time.perf_counter()
    for step in range(start, spec.steps):
        for group in optimizer.param_groups:
            group["lr"] = _rate(spec, step)
        torch.manual_seed(seed_of("standin", spec.name, "torch", step, rank))
        value = loss(stream("standin", spec.name, "batch", step, rank), step)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        _average_gradients(params)
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        _follow(average, model, min(spec.average, (step + 1) / (step + 10)))
        recent = 0.98 * recent + 0.02 * float(value.detach()) if recent else float(value.detach())
        if rank == 0 and ((step + 1) % spec.keep_every == 0 or step + 1 == spec.steps):
            took = (time.perf_counter() - began) / (step + 1 - start)
            log.info(
                "%s step %d/%d loss %.4f, %.3f s a step",
                spec.name,
                step + 1,
                spec.steps,
                recent,
                took,
            )
            _save(
                path,
                {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "average": average,
                    "step": step + 1,
                },
            )
    model.load_state_dict(average)
    return model.eval().requires_grad_(False)


def _average_gradients(params: list[torch.nn.Parameter]) -> None:
    if not dist.is_initialized():
        return
    grads = [p.grad for p in params if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in grads])
    dist.all_reduce(flat)
    flat.div_(dist.get_world_size())
    for grad, mean in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
        grad.copy_(mean.view(grad.shape))


def _follow(average: dict[str, torch.Tensor], model: torch.nn.Module, decay: float) -> None:
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                average[key].lerp_(value, 1 - decay)
            else:
                average[key].copy_(value)
