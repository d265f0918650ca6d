"""The overhead of a sweep above pure UNet and VAE time, and what reloading the pipeline per cell would cost instead.

    python -m bench.sweep.measure [--folder DIR] [--times N]

Notation
    whole      seconds of a sweep by halving: rendering, reading faces, scoring, ledger, allocation      s, wall clock
    nets       of these, seconds inside the UNet's and the VAE's forward passes                          s, wall clock
    overhead   whole / nets - 1, told with and without the reading of faces
    reload     seconds per cell when each cell opens the pipeline, loads its LoRA and renders its blocks s
    resident   seconds per cell of the sweep for as many blocks                                          s
Everything runs in one process and on one thread, so that the parts can be told apart; all figures are ratios within the
run. The LoRAs are drawn, not trained: their numbers cost as much as learnt ones. What is prepared (the curated dataset)
is kept in DIR, a sweep itself is always made anew in a copy.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.record import record
from vultus.core.keys import file_content_id
from vultus.core.sdxl.lora_keys import lora_modules
from vultus.core.seeds import stream
from vultus.core.weights import write_weights
from vultus.datasets.manifest import read_manifest
from vultus.steps.kinds.resident import release
from vultus.steps.orders import Task
from vultus.steps.pools import InlinePool
from vultus.studies import requests
from vultus.studies.given import Given, gather
from vultus.studies.looking import Run, freeze, look, one
from vultus.studies.requests import Checkpoint
from vultus.studies.start import copy_demo
from vultus.studies.sweeping import sweep
from vultus.studies.workspace import Workspace

PARTS = ("unet", "text_encoder", "text_encoder_2")
RELOADED = 3
"""Cells that are rendered with a pipeline opened for each."""


def draw_lora(path: Path, base: Path, seed: int) -> Path:
    """A weak LoRA of rank 8 that fits a base's UNet, drawn."""
    import json

    config = json.loads((base / "unet" / "config.json").read_text("utf-8"))
    rng = stream("bench sweep", "lora", seed)
    tensors: dict[str, Any] = {}
    for row in lora_modules(config):
        down = rng.normal(size=(8, row.in_features)) * row.in_features**-0.5
        up = rng.normal(size=(row.out_features, 8)) * 0.004
        tensors[f"{row.kohya_prefix}.lora_down.weight"] = down.astype(np.float16)
        tensors[f"{row.kohya_prefix}.lora_up.weight"] = up.astype(np.float16)
        tensors[f"{row.kohya_prefix}.alpha"] = np.asarray(8.0, np.float16)
    write_weights(path, tensors, {})
    return path


def prepare(folder: Path) -> Workspace:
    """The demo's persona with one base, curated."""
    workspace = Workspace(folder)
    if not (folder / "vultus.toml").is_file():
        copy_demo(folder)
        plan = folder / "vultus.toml"
        text = plan.read_text("utf-8")
        plan.write_text(
            text.replace('["standin/plain", "standin/soft", "standin/ink"]', '["standin/plain"]'),
            "utf-8",
        )
    given = gather(workspace)
    pool = InlinePool(workspace.memory)
    at = Run(given, pool, 1)
    pool.run([Task(one(at, requests.curate_order(given)))])
    blocks, base = given.panel, given.training_base
    pool.run([look(at, base, None, 0.0, blocks, given.persona.class_words)])
    pool.close()
    return workspace


class Clock:
    """Seconds by part, each counted once: inner parts are taken off outer ones by the reader."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()

    @contextmanager
    def around(self, owner: Any, name: str, part: str) -> Iterator[None]:
        """Count the time inside owner.name as part."""
        inner = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.seconds[part] += time.perf_counter() - began
                self.calls[part] += 1

        setattr(owner, name, timed)
        try:
            yield
        finally:
            setattr(owner, name, inner)


def swept(workspace: Workspace, loras: list[Path]) -> dict[str, Any]:
    """One sweep by halving, timed by part."""
    from diffusers import AutoencoderTiny, UNet2DConditionModel

    from vultus.steps.kinds import read, render
    from vultus.store.ledger import Ledger

    given = gather(workspace)
    pool = InlinePool(workspace.memory)
    at = Run(given, pool, 1)
    frozen = pool.run([Task(one(at, requests.curate_order(given)))])[0]
    base = given.training_base
    shown = pool.run([look(at, base, None, 0.0, given.panel, given.persona.class_words)])[0]
    dataset = read_manifest(frozen.files["dataset"])
    scales = freeze(at, dataset, frozen, [(base, shown)], given.panel)
    sound = {scale.base: (scale, done) for scale, done in scales}
    steps = given.plan.train.checkpoint_steps
    points = [
        Checkpoint(step, file_content_id(path), path)
        for step, path in zip(steps, loras, strict=True)
    ]
    warm(given)
    clock = Clock()
    began = time.perf_counter()
    with (
        clock.around(UNet2DConditionModel, "forward", "nets"),
        clock.around(AutoencoderTiny, "decode", "nets"),
        clock.around(render, "work", "render"),
        clock.around(read, "work", "read"),
        clock.around(Ledger, "commit", "commit"),
        clock.around(Ledger, "begin", "begin"),
    ):
        found = sweep(at, sound, points)
    whole = time.perf_counter() - began
    pool.close()
    renders = sum(len(part.blocks) for parts in found.parts.values() for part in parts)
    return {"whole_s": whole, "renders": renders, "cells": len(found.parts), **dict(clock.seconds)}


def warm(given: Given) -> None:
    """Load the base and the face engine, as every sweep finds them: the impostors were rendered before it."""
    from vultus.steps.kinds.resident import face_engine, renderer

    base = given.training_base
    renderer("diffusers", base.path, base.digest, given.plan.render, given.hints)
    face_engine(given.pack_name, given.pack.digest)


def reloaded(given: Given, loras: list[Path], blocks: int) -> float:
    """Seconds per cell when every cell opens the pipeline anew; rendering alone, nothing read or kept."""
    from vultus.generation.backends.diffusers_backend import open_renderer
    from vultus.generation.records import RenderRequest

    words = given.persona.with_trigger
    began = time.perf_counter()
    for i in range(RELOADED):
        held = open_renderer(given.training_base.path, given.plan.render)
        asked = [
            RenderRequest(block.prompt(words), block.noise_seed, loras[i % len(loras)], 1.0)
            for block in given.panel[:blocks]
        ]
        assert len(list(held.render(asked))) == blocks
        held.close()
    return (time.perf_counter() - began) / RELOADED


def main() -> None:
    """Sweep, reload, compare, and write bench/results/sweep.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/bench-sweep"))
    parser.add_argument("--times", type=int, default=3, help="sweeps; the median is told")
    args = parser.parse_args()
    began = time.perf_counter()
    workspace = prepare(args.folder / "persona")
    given = gather(workspace)
    base = given.training_base.path
    count = len(given.plan.train.checkpoint_steps)
    loras = [draw_lora(args.folder / f"lora_{i}.safetensors", base, i) for i in range(count)]
    rows = []
    for _ in range(args.times):
        with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
            copy = Path(scratch) / "persona"
            shutil.copytree(workspace.folder, copy)
            rows.append(swept(Workspace(copy), loras))
            release()
        print(_line(rows[-1]), flush=True)
    row = sorted(rows, key=lambda one: one["whole_s"] / one["nets"])[len(rows) // 2]
    each = max(1, round(row["renders"] / row["cells"]))
    reload_s = reloaded(given, loras, each)
    resident_s = (row["whole_s"] - row["read"]) / row["renders"] * each
    figures = {
        "overhead": row["whole_s"] / row["nets"] - 1.0,
        "overhead_without_reading_faces": (row["whole_s"] - row["read"]) / row["nets"] - 1.0,
        "reload_over_resident_per_cell": reload_s / resident_s,
        "blocks_per_cell": each,
        "median": row,
        "rows": rows,
    }
    print(f"overhead above UNet and VAE: {figures['overhead']:.1%}", end="")
    print(f" ({figures['overhead_without_reading_faces']:.1%} without the reading of faces)")
    print(
        f"a pipeline opened per cell of {each} renders takes {reload_s / resident_s:.1f} times as long"
    )
    print(record("sweep", figures, seconds=time.perf_counter() - began))


def _line(row: dict[str, Any]) -> str:
    shares = ", ".join(
        f"{part} {row[part] / row['whole_s']:.1%}" for part in ("nets", "read", "commit", "begin")
    )
    return f"{row['renders']} renders of {row['cells']} cells in {row['whole_s']:.1f} s: {shares}"


if __name__ == "__main__":
    main()
