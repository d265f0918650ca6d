"""How much memory is held, told by the tensors themselves.

Notation
    storage     the bytes behind one or several tensors; counted once however many share it
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["state_bytes"]


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors(inner)


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of every tensor that an optimizer keeps between steps, parameters excepted."""
    groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    held = {}
    for tensor in _tensors([list(optimizer.state.values()), groups]):
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(held.values())
