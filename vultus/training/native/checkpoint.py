"""The whole state of a half-done training in one file, written so that it is never torn.

What is in it: the LoRA in float32, the optimizer's tensors and numbers, the losses so far, the
step, and a fingerprint of everything that the training depends on. What is not: random states and
the place in the data, because both are pure functions of the seed and the step.

Notation
    step            optimizer steps done
    fingerprint     sha256 of spec, seed, base, pictures and captions; another one is refused
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vultus.core.errors import TrainingError, WeightsError
from vultus.core.files import staged
from vultus.core.weights import read_header
from vultus.training.native.lora import Lora

__all__ = ["STATE_NAME", "Resumed", "check_state", "load_state", "save_state"]

STATE_NAME = "state.safetensors"
_FORM = "1"


@dataclass(frozen=True)
class Resumed:
    """Where a training goes on."""

    step: int
    losses: list[float]


def _split(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Move every tensor out of a nested value; what is left is JSON with a mark in its place."""
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().contiguous()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"map": [[k, _split(v, f"{name}.{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        parts = [_split(v, f"{name}.{i}", tensors) for i, v in enumerate(value)]
        return {"list" if isinstance(value, list) else "tuple": parts}
    if value is None or isinstance(value, bool | int | float | str):
        return {"plain": value}
    raise TypeError(f"an optimizer keeps a {type(value).__name__} in {name}: it cannot be saved")


def _joined(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """The inverse of `_split`."""
    ((kind, inner),) = value.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "map":
        return {k: _joined(v, tensors) for k, v in inner}
    if kind in {"list", "tuple"}:
        parts = [_joined(v, tensors) for v in inner]
        return parts if kind == "list" else tuple(parts)
    return inner


def save_state(
    path: Path,
    *,
    lora: Lora,
    optimizer: torch.optim.Optimizer,
    losses: list[float],
    step: int,
    fingerprint: str,
) -> None:
    """Write the state beside, flush it to disk, put it in place of the old one."""
    from safetensors.torch import save_file

    tensors = {f"lora.{name}": p.detach().contiguous() for name, p in lora.named_parameters()}
    held = _split(optimizer.state_dict(), "optimizer", tensors)
    tensors["losses"] = torch.from_numpy(np.asarray(losses, dtype=np.float64))
    about = {
        "form": _FORM,
        "step": str(step),
        "fingerprint": fingerprint,
        # repr of a float is exact, so the numbers survive bit for bit
        "optimizer": json.dumps(held),
    }
    with staged(path) as draft:
        save_file(tensors, draft, metadata=about)


def check_state(path: Path, fingerprint: str) -> None:
    """Refuse another training's state, or an unreadable one, before anything heavy is loaded."""
    if not path.exists():
        return
    try:
        about = read_header(path).metadata
    except WeightsError as error:
        raise TrainingError(
            f"the saved state of this training cannot be read: it {error.what}",
            where=str(path),
            next_command=f"rm '{path}', then start again",
        ) from error
    if about.get("form") != _FORM or about.get("fingerprint") != fingerprint:
        raise TrainingError(
            "the folder holds a half-done training with another spec, base, dataset or seed",
            where=str(path.parent),
            expected="the same training, or an empty folder",
            next_command=f"rm -r '{path.parent}', or give another folder",
        )


def load_state(path: Path, *, lora: Lora, optimizer: torch.optim.Optimizer) -> Resumed | None:
    """Take up a state that `check_state` let pass; None if there is none.

    A file that is there is whole: it only ever appears by a rename of a flushed one.
    """
    from safetensors.torch import load_file

    if not path.exists():
        return None
    about = read_header(path).metadata
    tensors = load_file(path)
    with torch.no_grad():
        for name, parameter in lora.named_parameters():
            parameter.copy_(tensors[f"lora.{name}"])
    optimizer.load_state_dict(_joined(json.loads(about["optimizer"]), tensors))
    return Resumed(int(about["step"]), [float(x) for x in tensors["losses"].tolist()])
