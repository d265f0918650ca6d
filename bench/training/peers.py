"""Identity per training second against a plain peft loop with kohya's recipe: same base, data, seeds, machine, run.

    python -m bench.training.peers [--personas 6] [--seeds 3] [--steps 300] [--lanes 2] [--folder DIR]

The peer is the loop that everyone writes: latents and text encoded once, uniform timesteps, mean squared error, AdamW
at the same rate, LoRA of peft on kohya's modules. Ours is the ladder's rung that costs nothing: views, face weight,
ramp. diffusers' own script is not here: it wants torchvision and a source build of diffusers.

Notation
    seconds    CPU seconds from the first line of a training (loading included) to a checkpoint; renders are not counted
    oracle     as in `rungs`: how much nearer to the truth than the base alone, mean over framings
    ratio      seconds after which ours reaches the peer's *last* oracle / the peer's seconds for all its steps, between
               checkpoints by a straight line; above 1 when it never does. Interval: personas drawn again, 2,000 times
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.record import record
from bench.training.rungs import (
    FIRST,
    FRAMINGS,
    PLAIN,
    RAMP,
    World,
    _values,
    add_options,
    folder_of,
)
from vultus.core.files import write_json
from vultus.core.seeds import stream
from vultus.training.records import TrainSpec

MARKS = 6
NEVER = 1.5
"""The ratio that stands for "not within this training"."""


class _Watch:
    """Notes the processor time at which each checkpoint was there."""

    def __init__(self, spec: TrainSpec) -> None:
        self._marks, self._done, self._began = spec.checkpoint_steps, 0, time.process_time()
        self.seconds: list[float] = []

    def advance(self, n: float = 1.0, note: str = "", *, remembered: bool = False) -> None:
        self._done += int(n)
        if n and self._done in self._marks:
            self.seconds.append(time.process_time() - self._began)


def ours(world: World, spec: TrainSpec, seed: int, out: Path) -> list[tuple[float, Path]]:
    """Our recipe: (seconds, file) of every checkpoint."""
    from bench.standin.generated import WEIGHTS
    from vultus.training.native.recipe import train

    watch = _Watch(spec)
    done = train(spec, WEIGHTS / "bases" / "plain", world.pictures, out, seed, watch, device="cpu")
    return list(zip(watch.seconds, [one.path for one in done.checkpoints], strict=True))


def plain_peft(world: World, spec: TrainSpec, seed: int, out: Path) -> list[tuple[float, Path]]:
    """The loop that everyone writes. Its files are written by our exporter, off the clock."""
    import torch

    from bench.standin.generated import WEIGHTS
    from vultus.training.lora_file import LoraFacts, checkpoint_path, lora_metadata, write_lora
    from vultus.training.native.data import encode_captions, encode_pictures
    from vultus.training.native.export import kohya_tensors
    from vultus.training.native.lora import attach_lora
    from vultus.training.native.parts import load_parts

    out.mkdir(parents=True, exist_ok=True)
    began, off = time.process_time(), 0.0
    device = torch.device("cpu")
    parts = load_parts(WEIGHTS / "bases" / "plain", torch.float32, device)
    views = encode_pictures(parts, world.pictures, spec.resolution_px, device).views
    captions = encode_captions(parts, world.pictures, cache=True, device=device)
    assert captions.cached is not None
    lora = attach_lora(parts, spec, seed)
    parameters = [p for _, p in lora.named_parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=spec.peak_rate, betas=(0.9, 0.99), weight_decay=0.01
    )
    torch.manual_seed(seed)
    queue: list[int] = []
    found = []
    for step in range(1, spec.steps + 1):
        while len(queue) < spec.batch:
            queue += torch.randperm(len(views)).tolist()
        rows, queue = queue[: spec.batch], queue[spec.batch :]
        x_0 = torch.stack([views[i].latents for i in rows])
        eps = torch.randn_like(x_0)
        t = torch.randint(0, len(parts.alphas_bar), (len(rows),))
        a = parts.alphas_bar[t][:, None, None, None]
        optimizer.zero_grad(set_to_none=True)
        guess = parts.unet(
            a.sqrt() * x_0 + (1 - a).sqrt() * eps,
            t,
            encoder_hidden_states=captions.cached.text[rows],
            added_cond_kwargs={
                "text_embeds": captions.cached.pooled[rows],
                "time_ids": torch.stack([views[i].time_ids for i in rows]),
            },
            return_dict=False,
        )[0]
        torch.nn.functional.mse_loss(guess, eps).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step in spec.checkpoint_steps:
            stopped = time.process_time()
            found.append((stopped - began - off, checkpoint_path(out, step)))
            facts = LoraFacts("peer", "plain", False, "epsilon", len(views), seed, step, 1)
            write_lora(checkpoint_path(out, step), kohya_tensors(lora), lora_metadata(spec, facts))
            off += time.process_time() - stopped
    return found


Trainer = Callable[[World, TrainSpec, int, Path], list[tuple[float, Path]]]
ARMS: dict[str, tuple[Trainer, TrainSpec]] = {
    "ours": (ours, RAMP),
    "ours, plain loss": (ours, PLAIN),
    "peft loop": (plain_peft, PLAIN),
}


def _path(folder: Path, persona: int, seed: int, arm: str) -> Path:
    name = arm.replace(",", "").replace(" ", "-")
    return folder / f"persona-{persona}" / f"peer-seed-{seed}-{name}.json"


def work(args: argparse.Namespace, lane: int) -> None:
    """One lane's share of the personas."""
    folder = folder_of(args)
    for persona in range(FIRST + lane, FIRST + args.personas, args.lanes):
        world: World | None = None
        alone = folder / f"persona-{persona}" / "alone.json"
        for seed in range(1, args.seeds + 1):
            for arm, (trainer, spec) in ARMS.items():
                path = _path(folder, persona, seed, arm)
                if path.exists() and alone.exists():
                    continue
                world = world or World(persona, folder)
                if not alone.exists():
                    genuine = {name: world.genuine(name) for name in "ab"}
                    write_json(alone, {"genuine": genuine, "renders": world.render(None)})
                if path.exists():
                    continue
                out = folder / f"persona-{persona}" / f"{path.stem}-training"
                asked = replace(spec, steps=args.steps, checkpoints=MARKS)
                marks = trainer(world, asked, seed, out)
                rows = [{"seconds": s, "renders": world.render(file)} for s, file in marks]
                write_json(path, rows)
                print(f"persona {persona}, seed {seed}, {arm}", flush=True)


def _curves(
    args: argparse.Namespace, arm: str
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(personas, seeds, marks) of seconds and of oracle."""
    folder = folder_of(args)
    seconds, oracle = [], []
    for persona in range(FIRST, FIRST + args.personas):
        alone = json.loads((folder / f"persona-{persona}" / "alone.json").read_text("utf-8"))
        for seed in range(1, args.seeds + 1):
            rows = json.loads(_path(folder, persona, seed, arm).read_text("utf-8"))
            seconds.append([row["seconds"] for row in rows])
            oracle.append([_values(row, alone, "")["oracle"] for row in rows])
    shape = (args.personas, args.seeds, -1)
    return np.array(seconds).reshape(shape), np.array(oracle).reshape(shape)


def _ratio(mine: tuple[Any, Any], theirs: tuple[Any, Any], rows: Any) -> float:
    """Of the mean curves over these personas."""
    seconds, oracle = (one[rows].mean(axis=(0, 1)) for one in mine)
    end_s, goal = (float(one[rows].mean(axis=(0, 1))[-1]) for one in theirs)
    before_s, before = 0.0, 0.0
    for now_s, now in zip(seconds, oracle, strict=True):
        if now >= goal:
            share = (goal - before) / max(now - before, 1e-9)
            return float((before_s + max(0.0, share) * (now_s - before_s)) / end_s)
        before_s, before = float(now_s), float(now)
    return NEVER


def summarise(args: argparse.Namespace) -> dict[str, Any]:
    """Mean curves of every arm, and how soon ours is where the peer ends."""
    curves = {arm: _curves(args, arm) for arm in ARMS}
    table: dict[str, Any] = {
        "personas": args.personas,
        "seeds": args.seeds,
        "steps": args.steps,
        "goal": 0.6,
    }
    for arm, (seconds, oracle) in curves.items():
        table[arm] = {
            "seconds": [round(float(v), 1) for v in seconds.mean(axis=(0, 1))],
            "oracle": [round(float(v), 4) for v in oracle.mean(axis=(0, 1))],
        }
    draw = stream("bench", "training", "peers")
    people = args.personas
    for arm in ("ours", "ours, plain loss"):
        drawn = [
            _ratio(curves[arm], curves["peft loop"], draw.integers(0, people, people))
            for _ in range(2000)
        ]
        table[f"{arm}: seconds to the peer's last identity / the peer's"] = {
            "ratio": round(_ratio(curves[arm], curves["peft loop"], np.arange(people)), 3),
            "interval": [round(float(q), 3) for q in np.quantile(drawn, (0.025, 0.975))],
            "never": NEVER,
        }
    table["diffusers_script"] = "not run: needs torchvision and diffusers from source"
    return table


def peers(args: argparse.Namespace) -> dict[str, Any]:
    """Run what is missing in `lanes` processes, then read everything."""
    words = [sys.executable, "-m", "bench.training.peers", "--folder", str(args.folder)]
    for name in ("personas", "seeds", "steps", "lanes"):
        words += [f"--{name}", str(getattr(args, name))]
    lanes = [
        subprocess.Popen([*words, "--lane", str(i)], env=os.environ) for i in range(args.lanes)
    ]
    failed = [lane.wait() for lane in lanes]
    if any(failed):
        raise SystemExit("a lane broke off; the same command goes on")
    return summarise(args)


def main() -> None:
    """Run the comparison alone and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--lane", type=int, default=None, help="(one lane's work, no table)")
    args = parser.parse_args()
    if args.lane is not None:
        work(args, args.lane)
        return
    began = time.monotonic()
    table = peers(args)
    for key, value in table.items():
        print(f"{key:<60} {value}")
    print(f"framings weigh the same: {', '.join(FRAMINGS)}")
    if args.personas >= 6 and args.seeds >= 3:
        print(record("training-peers", table, seconds=time.monotonic() - began))


if __name__ == "__main__":
    main()
