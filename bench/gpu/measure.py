"""Peak memory and seconds per step on a real card, against the plan: error at most 10 %.

    python -m bench.gpu.measure [--cap-gib 24] [--steps 6] [--only prodigy ...]

Random weights of SDXL's full shape, made on the card; 1024 px, batch 1, bf16; {Prodigy, slice_p 11, AdamW8bit,
Prodigy-plus} x {rank 16, 32} x {checkpointing on, off} x {encoders on, off}. Without a card the same code runs to its
end on a toy of SDXL's form: every configuration takes its steps, peaks are not measured and nothing is written.

Notation
    peak      GiB: the allocator's highest mark over the steps, plus what the process holds outside of it
    plan      GiB: `estimate.plan_memory` with the activations that `native.activations` counts
    error     plan / peak - 1
    reserved  GiB the allocator took from the card; what must be free for the step to run
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.record import record
from tests.training.tiny_base import write_tiny_base
from vultus.core.sdxl.architecture import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from vultus.training.estimate import plan_memory
from vultus.training.native.activations import activation_bytes
from vultus.training.native.data import Captions, Text, View, Views
from vultus.training.native.lora import attach_lora, configs_of
from vultus.training.native.optimizers import make_optimizer
from vultus.training.native.order import BatchOrder
from vultus.training.native.parts import Parts, load_parts
from vultus.training.native.step import Bench, train_step
from vultus.training.records import TrainSpec
from vultus.training.targets import target_modules

GIB = 2**30
SIDE_PX, TOY_PX, PICTURES = 1024, 64, 4
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "prodigy": {"optimizer": "prodigy"},
    "prodigy slice_p 11": {"optimizer": "prodigy", "slice_p": 11},
    "adamw8bit": {"optimizer": "adamw8bit", "learning_rate": 1e-4},
    "prodigy_plus": {"optimizer": "prodigy_plus"},
}


def configurations(side_px: int) -> Iterator[tuple[str, TrainSpec]]:
    """Every configuration by its name."""
    for name, changes in OPTIMIZERS.items():
        for rank in (16, 32):
            for checkpointing in (True, False):
                for encoders in (False, True):
                    spec = TrainSpec(
                        rank=rank,
                        alpha=float(rank),
                        batch=1,
                        precision="bf16",
                        gradient_checkpointing=checkpointing,
                        text_encoders=encoders,
                        resolution_px=side_px,
                    )
                    words = f"{name}, rank {rank}, {'' if checkpointing else 'no '}checkpointing"
                    yield (
                        f"{words}, encoders {'on' if encoders else 'off'}",
                        replace(spec, **changes),
                    )


def full_parts(device: torch.device) -> Parts:
    """Random networks of SDXL's full shape in bf16, on the card; no tokenizer and no VAE, which no step needs."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            unet: Any = UNet2DConditionModel.from_config(dict(UNET))
            one: Any = CLIPTextModel(CLIPTextConfig(**TEXT_ENCODER))
            two: Any = CLIPTextModelWithProjection(CLIPTextConfig(**TEXT_ENCODER_2))
    finally:
        torch.set_default_dtype(before)
    for part in (unet, one, two):
        part.requires_grad_(False)
        part.eval()
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    bars = torch.cumprod(1 - betas, 0).float().to(device)
    return Parts(unet, None, one, two, None, None, bars, "epsilon", True, 8)


def make_bench(spec: TrainSpec, parts: Parts, device: torch.device) -> Bench:
    """A step's bench on random latents and tokens."""
    side = spec.resolution_px // 8
    channels = int(parts.unet.config.in_channels)
    ids = torch.tensor(
        [float(spec.resolution_px)] * 2 + [0.0, 0.0] + [float(spec.resolution_px)] * 2
    )
    views = tuple(
        View(
            torch.randn(channels, side, side, device=device),
            torch.ones(channels, side, side, device=device),
            ids.to(device),
            torch.ones(1, side, side, device=device),
            (0.0, 0.0, 1.0),
        )
        for _ in range(PICTURES)
    )
    tokens = torch.randint(1, 300, (PICTURES + 1, 77), device=device) % int(
        parts.text_encoder.config.vocab_size
    )
    cached = None
    if not spec.text_encoders:
        width = int(parts.unet.config.cross_attention_dim)
        pooled = int(parts.text_encoder_2.config.projection_dim)
        cached = Text(
            torch.randn(PICTURES + 1, 77, width, device=device),
            torch.randn(PICTURES + 1, pooled, device=device),
        )
    lora = attach_lora(parts, spec, 1)
    if not spec.text_encoders:
        parts.text_encoder = parts.text_encoder_2 = None
    if spec.gradient_checkpointing:
        parts.unet.enable_gradient_checkpointing()
        parts.unet.train()
    buckets = (tuple(range(PICTURES)),)
    return Bench(
        spec=spec,
        parts=parts,
        views=Views(views, buckets),
        captions=Captions(tokens, tokens, cached, ()),
        order=BatchOrder(buckets, spec.batch, 1),
        lora=lora,
        optimizer=make_optimizer(spec, lora),
        parameters=[p for _, p in lora.named_parameters()],
        device=device,
        seed=1,
    )


def planned(spec: TrainSpec, configs: Any, cuda: bool) -> int:
    """Bytes that the plan says."""
    modules = [row.module for row in target_modules(spec, configs) if row.component == "unet"]
    side = spec.resolution_px // 8
    activations = activation_bytes(
        configs["unet"],
        modules,
        rank=spec.rank,
        size=(side, side),
        batch=spec.batch,
        precision=spec.precision,
        checkpointing=spec.gradient_checkpointing,
    )
    return plan_memory(spec, configs, activations=activations, pictures=PICTURES, cuda=cuda).total


def one(spec: TrainSpec, parts: Parts, device: torch.device, steps: int) -> dict[str, Any]:
    """Run one configuration; a card that is too small is an answer."""
    cuda = device.type == "cuda"
    plan = planned(spec, configs_of(parts), cuda) / GIB
    outside = 0
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
        free, total = torch.cuda.mem_get_info(device)
        outside = total - free - torch.cuda.memory_reserved(device)
    times: list[float] = []
    try:
        bench = make_bench(spec, parts, device)
        for step in range(steps):
            began = time.perf_counter()
            train_step(bench, step)
            if cuda:
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - began)
    except torch.OutOfMemoryError:
        return {"plan_gib": round(plan, 2), "out_of_memory": True}
    row: dict[str, Any] = {
        "plan_gib": round(plan, 2),
        "s_per_step": round(sorted(times)[len(times) // 2], 3),
    }
    if cuda:
        peak = (torch.cuda.max_memory_allocated(device) + outside) / GIB
        row |= {
            "peak_gib": round(peak, 2),
            "reserved_gib": round(torch.cuda.max_memory_reserved(device) / GIB, 2),
            "error": round(plan / peak - 1, 3),
        }
    return row


def measure(device: torch.device, steps: int, only: list[str]) -> dict[str, Any]:
    """Every configuration whose name begins with one of `only` (all without)."""
    side = SIDE_PX if device.type == "cuda" else TOY_PX
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        toy = None if device.type == "cuda" else write_tiny_base(Path(name) / "toy", "kl")
        for words, spec in configurations(side):
            if only and not any(words.startswith(start) for start in only):
                continue
            parts = full_parts(device) if toy is None else load_parts(toy, torch.bfloat16, device)
            try:
                rows[words] = one(spec, parts, device, steps)
            except ImportError as missing:
                rows[words] = {"skipped": str(missing)}
            except Exception as fault:  # noqa: BLE001  one configuration's fault is a row, not the end
                rows[words] = {"failed": f"{type(fault).__name__}: {fault}"}
            print(f"{words:<62} {rows[words]}", flush=True)
            del parts
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
    return rows


def main() -> None:
    """Measure, and write bench/results/gpu.json where there is a card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cap-gib", type=float, default=24.0, help="memory of the card to pretend")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--only", nargs="*", default=[], help="configurations that begin so")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    about: dict[str, Any] = {"side_px": TOY_PX, "card": "none: a toy on the processor, no peaks"}
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        share = min(1.0, args.cap_gib * GIB / card.total_memory)
        torch.cuda.set_per_process_memory_fraction(share, device)
        about = {"side_px": SIDE_PX, "card": card.name, "cap_gib": args.cap_gib}
    began = time.monotonic()
    rows = measure(device, args.steps, args.only)
    errors = [abs(row["error"]) for row in rows.values() if "error" in row]
    if errors:
        print(f"largest error of the plan: {max(errors):.1%} (goal: at most 10 %)")
    whole = {**about, "rows": rows, "largest_error": max(errors, default=None)}
    if device.type == "cuda" and not args.only:
        print(record("gpu", whole, seconds=time.monotonic() - began))
    else:
        print(f"{len(rows)} configurations ran on {about['card']}; nothing was written")


if __name__ == "__main__":
    main()
