"""How much memory a forward pass keeps for its backward pass, counted without any.

The UNet is built on torch's meta device (shapes without numbers), the LoRA is attached, and every tensor
that autograd saves is counted once. Nothing is computed: SDXL at 1024 px takes seconds on a processor.

Notation
    saved       bytes behind the tensors that autograd keeps, weights excepted
    block       one piece that gradient checkpointing recomputes: only its inputs are kept
Attention is counted as a fused kernel keeps it (q, k, v, the output and a log-sum per row), which is what a
card uses. Everything is counted in one precision; autocast keeps some norms in fp32, so bf16 is a lower
bound. Not compared with a card yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["activation_bytes"]


class _Ledger:
    """Storages seen, each once. Tensors are held, so that no address is used twice."""

    def __init__(self, weights: set[int]) -> None:
        self._weights = weights
        self._held: dict[int, torch.Tensor] = {}

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        place = tensor.untyped_storage()._cdata
        if place not in self._weights:
            self._held.setdefault(place, tensor)
        return tensor

    @property
    def total(self) -> int:
        return sum(tensor.untyped_storage().nbytes() for tensor in self._held.values())


class _Attention(torch.autograd.Function):
    """What a fused attention kernel keeps, without computing anything."""

    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        out = q.new_empty(*q.shape[:-1], v.shape[-1])
        sums = torch.empty(q.shape[:-1], device=q.device, dtype=torch.float32)
        ctx.save_for_backward(q, k, v, out, sums)
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        raise NotImplementedError("shapes have no gradient")


@contextmanager
def _fused_attention() -> Iterator[None]:
    real = torch.nn.functional.scaled_dot_product_attention

    def shapes(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *_: Any, **__: Any) -> Any:
        return _Attention.apply(q, k, v)  # type: ignore[no-untyped-call]

    torch.nn.functional.scaled_dot_product_attention = shapes  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.nn.functional.scaled_dot_product_attention = real


def _network(config: Mapping[str, Any], modules: list[str], rank: int, dtype: torch.dtype) -> Any:
    from diffusers import UNet2DConditionModel
    from peft import LoraConfig, inject_adapter_in_model

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(dict(config)).to(dtype)
        unet.requires_grad_(False)
        inject_adapter_in_model(LoraConfig(r=rank, target_modules=modules), unet)
    return unet.to(dtype)


def _inputs(config: Mapping[str, Any], size: tuple[int, int], batch: int, dtype: Any) -> Any:
    time = 6 * int(config["addition_time_embed_dim"])
    pooled = int(config["projection_class_embeddings_input_dim"]) - time
    new: dict[str, Any] = {"device": "meta", "dtype": dtype}
    x_t = torch.empty(batch, int(config["in_channels"]), size[1], size[0], **new)
    text = torch.empty(batch, 77, int(config["cross_attention_dim"]), **new)
    added = {
        "text_embeds": torch.empty(batch, pooled, **new),
        "time_ids": torch.empty(batch, 6, **new),
    }
    return x_t, text, added


def activation_bytes(
    config: Mapping[str, Any],
    modules: list[str],
    *,
    rank: int,
    size: tuple[int, int],
    batch: int,
    precision: str,
    checkpointing: bool,
) -> int:
    """Bytes that the forward pass of one batch leaves behind at its peak.

    `modules` are the UNet's adapted paths, `size` is (width, height) in latents. With `checkpointing`: the
    inputs of all blocks, and everything in the largest, which is recomputed alone.
    """
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    unet = _network(config, modules, rank, dtype)
    weights = {p.untyped_storage()._cdata for p in unet.parameters()}
    outer, blocks = _Ledger(weights), [0]

    def block(module: Any, *given: Any, **named: Any) -> Any:
        for value in (*given, *named.values()):
            if isinstance(value, torch.Tensor):
                outer.keep(value)
        inner = _Ledger(weights)
        with torch.autograd.graph.saved_tensors_hooks(inner.keep, _same):
            out = module(*given, **named)
        blocks.append(inner.total)
        return out

    if checkpointing:
        unet.enable_gradient_checkpointing(block)
        unet.train()
    x_t, text, added = _inputs(config, size, batch, dtype)
    steps = torch.empty(batch, device="meta", dtype=torch.long)
    with _fused_attention(), torch.autograd.graph.saved_tensors_hooks(outer.keep, _same):
        unet(x_t, steps, encoder_hidden_states=text, added_cond_kwargs=added, return_dict=False)
    return outer.total + max(blocks)


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor
