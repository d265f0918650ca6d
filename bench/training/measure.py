"""What the trainer claims, measured: overhead of a step, kills, bytes, merged weights.

    python -m bench.training.measure [--kills 50] [--pairs 40] [--parts NAME ...]

Notation
    ratio      CPU seconds of our step / of the bare one (the same UNet with the same LoRA, forward, backward,
               optimizer on tensors that lie ready), taken in turns in one process
    interval   2.5 % and 97.5 % quantile of the median ratio over 2000 bootstrap samples of the pairs
The ladder of levers is in `rungs`, identity per training second against a peer in `peers`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.record import RESULTS, record, tree
from bench.training.kills import kill_and_compare
from bench.training.merged import merged_differences
from vultus.core.sdxl.architecture import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from vultus.core.seeds import stream
from vultus.images.write import save_png
from vultus.training.estimate import adapter_parameters, optimizer_bytes, plan_memory
from vultus.training.native import recipe
from vultus.training.native.activations import activation_bytes
from vultus.training.native.data import captions_of
from vultus.training.native.step import Bench, train_step
from vultus.training.presets import preset, preset_names
from vultus.training.records import TrainPicture, TrainSpec
from vultus.training.targets import target_modules

BASE = Path(__file__).resolve().parents[2] / "vultus" / "standin" / "weights" / "bases" / "plain"
SDXL = {"unet": UNET, "text_encoder": TEXT_ENCODER, "text_encoder_2": TEXT_ENCODER_2}


def some_pictures(folder: Path, count: int, side_px: int) -> list[TrainPicture]:
    """Smooth random pictures: what they show does not change what a step costs."""
    draw = stream("bench", "training", "pictures")
    found = []
    for i in range(count):
        coarse = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        path = folder / f"{i:02d}.png"
        wide = np.kron(coarse, np.ones((side_px // 8, side_px // 8, 1), np.uint8))
        save_png(path, wide, xmp_ai=False)
        found.append(TrainPicture(path, f"photo of woman {i}", (side_px, side_px)))
    return found


def _bare(bench: Bench) -> Any:
    """A step with nothing around it: the same networks and optimizer, inputs drawn once."""
    rows = list(bench.order.at(0))
    x_0 = torch.stack([bench.views.views[i].latents for i in rows])
    eps = torch.randn(x_0.shape)
    t = torch.linspace(50, 950, len(rows)).long()
    a_t = bench.parts.alphas_bar[t][:, None, None, None]
    x_t = a_t.sqrt() * x_0 + (1 - a_t).sqrt() * eps
    text = captions_of(bench.parts, bench.captions, rows)
    ids = torch.stack([bench.views.views[i].time_ids for i in rows])

    def step() -> None:
        bench.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bench.spec.precision != "fp32"):
            guess = bench.parts.unet(
                x_t,
                t,
                encoder_hidden_states=text.text,
                added_cond_kwargs={"text_embeds": text.pooled, "time_ids": ids},
                return_dict=False,
            )[0]
        torch.nn.functional.mse_loss(guess.float(), eps).backward()
        bench.optimizer.step()

    return step


def overhead(pairs: int) -> dict[str, Any]:
    """Our step against the bare one on the stand-in base, in turns."""
    spec = TrainSpec(rank=8, alpha=4.0, batch=4, resolution_px=128, steps=1000)
    with tempfile.TemporaryDirectory() as name:
        pictures = some_pictures(Path(name), 16, 128)
        bench = recipe._prepare(spec, BASE, pictures, 1, torch.device("cpu"))
    return _in_turns(bench, pairs)


def full_overhead(pairs: int) -> dict[str, Any]:
    """The same with SDXL's full shape at 256 px, random weights in bf16: minutes, and 8 GiB."""
    from bench.gpu.measure import full_parts, make_bench

    spec = TrainSpec(
        rank=16,
        alpha=16.0,
        batch=1,
        resolution_px=256,
        precision="bf16",
        gradient_checkpointing=True,
    )
    device = torch.device("cpu")
    return _in_turns(make_bench(spec, full_parts(device), device), pairs, warm=1)


def _in_turns(bench: Bench, pairs: int, warm: int = 3) -> dict[str, Any]:
    bare = _bare(bench)
    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    for i in range(pairs + warm):
        order = ("ours", "bare") if i % 2 else ("bare", "ours")
        for which in order:
            began = time.process_time()
            train_step(bench, i) if which == "ours" else bare()
            if i >= warm:  # the first ones warm caches
                seconds[which].append(time.process_time() - began)
    ratios = np.array(seconds["ours"]) / np.array(seconds["bare"])
    draw = stream("bench", "training", "bootstrap")
    medians = np.median(ratios[draw.integers(0, pairs, (2000, pairs))], axis=1)
    return {
        "ratio": round(float(np.median(ratios)), 4),
        "interval": [round(float(q), 4) for q in np.quantile(medians, (0.025, 0.975))],
        "pairs": pairs,
        "ours_cpu_s": round(float(np.median(seconds["ours"])), 4),
        "bare_cpu_s": round(float(np.median(seconds["bare"])), 4),
        "goal": 1.05,
    }


def predicted_bytes() -> dict[str, Any]:
    """Parameters, and MiB of state if every module is stepped, at SDXL's full size."""
    spec = TrainSpec(rank=16, alpha=16.0)
    sets = {
        "UNet": spec,
        "UNet + conv": replace(spec, conv_rank=16),
        "UNet + TEs": replace(spec, text_encoders=True),
        "UNet + TEs + conv": replace(spec, text_encoders=True, conv_rank=16),
        "UNet, DoRA": replace(spec, dora=True),
    }
    optimizers = (
        ("adamw", 1),
        ("adamw8bit", 1),
        ("prodigy", 1),
        ("prodigy", 11),
        ("prodigy_plus", 1),
        ("adafactor", 1),
    )
    return {
        name: {
            "parameters": adapter_parameters(one, SDXL),
            **{
                f"{optimizer} slice_p {p}" if p > 1 else optimizer: round(
                    optimizer_bytes(replace(one, optimizer=optimizer, slice_p=p), SDXL, every=True)
                    / 2**20,
                    1,
                )
                for optimizer, p in optimizers
            },
        }
        for name, one in sets.items()
    }


def preset_plans() -> dict[str, Any]:
    """GiB that each full-size preset is planned to take at 1024 px; not compared with a card yet."""
    told = {}
    for name in preset_names():
        spec = preset(name)
        if spec.resolution_px < 1024:
            continue
        modules = [row.module for row in target_modules(spec, SDXL) if row.component == "unet"]
        activations = activation_bytes(
            UNET,
            modules,
            rank=spec.rank,
            size=(spec.resolution_px // 8, spec.resolution_px // 8),
            batch=-(-spec.batch // spec.split),
            precision=spec.precision,
            checkpointing=spec.gradient_checkpointing,
        )
        plan = plan_memory(spec, SDXL, activations=activations, pictures=36, cuda=True)
        parts = {key: round(value / 2**30, 2) for key, value in vars(plan).items()}
        told[name] = {**parts, "total": round(plan.total / 2**30, 2)}
    return told


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50, help="kills in all")
    parser.add_argument("--pairs", type=int, default=40, help="pairs of steps timed")
    parts: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "step_overhead_standin": lambda args: overhead(args.pairs),
        "step_overhead_full_size": lambda args: full_overhead(args.full_pairs),
        "kills": lambda args: kill_and_compare(args.kills),
        "merged_relative_difference_fp32": lambda args: merged_differences(),
        "sdxl_rank_16": lambda args: predicted_bytes(),
        "preset_plans_gib": lambda args: preset_plans(),
    }
    parser.add_argument("--full-pairs", type=int, default=4, help="pairs of full-size steps timed")
    usual = [name for name in parts if name != "step_overhead_full_size"]
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=parts,
        default=usual,
        help="only these, others stay; step_overhead_full_size (8 GiB, minutes) is asked for by name",
    )
    args = parser.parse_args()
    began = time.monotonic()
    commit = tree()["commit"]  # of the code that is in memory, whatever is committed meanwhile
    for name in args.parts:
        found = {**parts[name](args), "commit": commit}
        print(name)
        for key, value in found.items():
            print(f"  {key:<28} {value}")
        figures = {**_known(), name: found}
        ordered = {key: figures[key] for key in parts if key in figures}
        record("training", ordered, seconds=time.monotonic() - began)
    print(RESULTS / "training.json")


def _known() -> dict[str, Any]:
    """The figures of earlier parts, each with its own commit."""
    try:
        whole = json.loads((RESULTS / "training.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return dict(whole["figures"])


if __name__ == "__main__":
    main()
