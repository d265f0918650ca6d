"""The whole state of a half-done training in one file, written so that it is never torn.

What is in it: the LoRA in float32, the optimizer's tensors and numbers, the losses so far, the
step, and everything that the training depends on. What is not: random states and the place in the
data, because both are pure functions of the seed and the step.

Notation
    step            optimizer steps done
    request         spec, seed, base, pictures and captions, as plain JSON; another one is refused,
                    and the difference shown
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
from vultus.core.keys import key_of
from vultus.core.weights import read_header
from vultus.training.native.lora import Lora

__all__ = ["STATE_NAME", "Resumed", "check_state", "load_state", "save_state"]

STATE_NAME = "state.safetensors"
_FORM = "2"


@dataclass(frozen=True)
class Resumed:
    """Where a training goes on."""

    step: int
    losses: list[float]


def _split(value: Any, name: str, tensors: dict[str, torch.Tensor], seen: dict[int, str]) -> Any:
    """Move every tensor out of a nested value; what is left is JSON with a mark in its place."""
    if isinstance(value, torch.Tensor):
        # 8-bit optimizers share one table among all parameters: written once, shared again
        if id(value) not in seen:
            seen[id(value)] = name
            tensors[name] = value.detach().contiguous()
        return {"tensor": seen[id(value)], "device": value.device.type}
    if isinstance(value, Mapping):
        return {"map": [[k, _split(v, f"{name}.{k}", tensors, seen)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        parts = [_split(v, f"{name}.{i}", tensors, seen) for i, v in enumerate(value)]
        return {"list" if isinstance(value, list) else "tuple": parts}
    if value is None or isinstance(value, bool | int | float | str):
        return {"plain": value}
    raise TypeError(f"an optimizer keeps a {type(value).__name__} in {name}: it cannot be saved")


def _joined(value: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], device: Any) -> Any:
    """The inverse of `_split`; what lay on the training device goes there again."""
    kind, inner = next(iter(value.items()))
    if kind == "tensor":
        return tensors[inner] if value["device"] == "cpu" else tensors[inner].to(device)
    if kind == "map":
        return {k: _joined(v, tensors, device) for k, v in inner}
    if kind in {"list", "tuple"}:
        parts = [_joined(v, tensors, device) for v in inner]
        return parts if kind == "list" else tuple(parts)
    return inner


def _held(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """All that an optimizer remembers, parameters by number.

    Not its own state_dict: reading one back casts every tensor to the parameter's type (16-bit
    states would change) and wraps 8-bit ones.
    """
    flat = [p for group in optimizer.param_groups for p in group["params"]]
    state = {str(i): dict(optimizer.state[p]) for i, p in enumerate(flat) if p in optimizer.state}
    groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    return {"state": state, "groups": groups}


def _take_up(optimizer: torch.optim.Optimizer, held: Mapping[str, Any]) -> None:
    flat = [p for group in optimizer.param_groups for p in group["params"]]
    for place, state in held["state"].items():
        optimizer.state[flat[int(place)]] = state
    for group, saved in zip(optimizer.param_groups, held["groups"], strict=True):
        wanted = group.get("slice_p", 1)
        group.update(saved)
        if wanted != saved.get("slice_p", 1):
            _slice(optimizer, group, wanted)


def _slice(optimizer: torch.optim.Optimizer, group: dict[str, Any], slice_p: int) -> None:
    """Keep every n-th number of what Prodigy estimates its step from (a rung of the memory ladder)."""
    group["slice_p"] = slice_p
    for parameter in group["params"]:
        state = optimizer.state[parameter]
        for key in ("s", "p0"):
            if key in state and state[key].dim():
                state[key] = state[key][::slice_p].clone()


def save_state(
    path: Path,
    *,
    lora: Lora,
    optimizer: torch.optim.Optimizer,
    losses: list[float],
    step: int,
    request: Mapping[str, Any],
) -> None:
    """Write the state beside, flush it to disk, put it in place of the old one."""
    from safetensors.torch import save_file

    tensors = {f"lora.{name}": p.detach().contiguous() for name, p in lora.named_parameters()}
    held = _split(_held(optimizer), "optimizer", tensors, {})
    tensors["losses"] = torch.from_numpy(np.asarray(losses, dtype=np.float64))
    about = {
        "form": _FORM,
        "step": str(step),
        "request": json.dumps(request, sort_keys=True),
        # repr of a float is exact, so the numbers survive bit for bit
        "optimizer": json.dumps(held),
    }
    with staged(path) as draft:
        save_file(tensors, draft, metadata=about)


def _differences(one: Any, two: Any, name: str = "") -> list[str]:
    """Where two requests differ: `spec.rank: 8, here 16`."""
    if isinstance(one, dict) and isinstance(two, dict):
        keys = sorted({*one, *two})
        parts = [_differences(one.get(k), two.get(k), f"{name}.{k}".lstrip(".")) for k in keys]
        return [difference for part in parts for difference in part]
    if one == two:
        return []
    if isinstance(one, list) and isinstance(two, list):
        return [f"{name}: {len(one)} of them, here {len(two)}, or others"]
    return [f"{name}: {_short(one)}, here {_short(two)}"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:16]}..."


def check_state(path: Path, request: Mapping[str, Any]) -> None:
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
    form = about.get("form")
    saved = json.loads(about.get("request", "{}")) if form == _FORM else {}
    if form == _FORM and key_of("request", 1, saved) == key_of("request", 1, dict(request)):
        return
    told = _differences(saved, json.loads(json.dumps(request))) if saved else ["an older format"]
    more = f" and {len(told) - 5} more" if len(told) > 5 else ""
    raise TrainingError(
        "the folder holds a half-done training with another spec, base, dataset or seed"
        f" ({'; '.join(told[:5])}{more})",
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
    device = lora.named_parameters()[0][1].device
    with torch.no_grad():
        for name, parameter in lora.named_parameters():
            parameter.copy_(tensors[f"lora.{name}"])
    _take_up(optimizer, _joined(json.loads(about["optimizer"]), tensors, device))
    return Resumed(int(about["step"]), [float(x) for x in tensors["losses"].tolist()])
