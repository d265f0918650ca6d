"""Executors: what scheduling costs, and whether a Ray cluster that loses workers gives the inline result bit for bit.

    python -m bench.jobs.executors [--steps 10000] [--folder DIR] [--only noop|sweep]

Notation
    no-op       an order `render` of no blocks with the fake renderer: through ledger, lock, worker and back
    driver CPU  seconds of the process that writes the ledger (all its threads), divided by the steps
    on disk     the same with the ledger on a disk: two flushed commits per step, slowed by who else uses it
    sweep       (checkpoint x strength) cells of the stand-in, rendered and read, each on a fresh ledger

The ledger of the no-op rows lies in memory (/dev/shm) where there is one, so that they show the program and not the
disk.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.record import record
from vultus.steps.executors import lane_environments
from vultus.steps.orders import Do, Order, Pool, Task, step_of
from vultus.steps.pools import InlinePool, ProcessPool
from vultus.steps.ray_pool import RayPool
from vultus.testing.planted import make_base

SPEC = {
    "steps": 1,
    "guidance": 1.0,
    "width_px": 64,
    "height_px": 64,
    "scheduler": "ddim",
    "negative": "",
    "precision": "auto",
}


def noop(base: Path, number: int) -> Order:
    """An order that asks for nothing."""
    inputs = {
        "renderer": "fake",
        "base": "sha256:" + "0" * 64,
        "lora": "",
        "strength": 0.0,
        "spec": SPEC,
        "blocks": [],
    }
    return Order(step_of("render", inputs, number), {"base": base})


def schedule(make: Callable[[], Pool], base: Path, steps: int) -> dict[str, float]:
    """Time `steps` no-ops on a warm pool."""
    pool = make()
    try:
        pool.run([Task(_one(noop(base, 10**6 + n))) for n in range(8)])  # workers start, kinds load
        tasks = [Task(_one(noop(base, n))) for n in range(steps)]
        began_s, cpu_s = time.perf_counter(), time.process_time()
        done = pool.run(tasks)
        wall_s, spent_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    finally:
        pool.close()
    assert len(done) == steps and not any(one.remembered for one in done)
    return {
        "steps": steps,
        "wall_s": round(wall_s, 2),
        "wall_ms_per_step": round(wall_s / steps * 1e3, 3),
        "driver_cpu_ms_per_step": round(spent_s / steps * 1e3, 3),
    }


def _one(order: Order) -> Callable[[Do], Any]:
    return lambda do: do(order)


def schedule_all(folder: Path, steps: int, *, with_ray: bool) -> dict[str, Any]:
    """The no-op rows: inline, local, ray, and 300 inline steps on the disk."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="vultus-noop-", dir=memory if memory.is_dir() else folder))
    base = make_base(root / "base")
    lanes = len(os.sched_getaffinity(0))
    makes: dict[str, Callable[[], Pool]] = {
        "inline": lambda: InlinePool(root / "inline"),
        f"local:{lanes}": lambda: ProcessPool(
            root / "local", lanes, None, lane_environments(lanes)
        ),
    }
    if with_ray:
        makes["ray"] = lambda: RayPool(root / "ray", lanes=lanes)
    rows: dict[str, Any] = {}
    try:
        for name, make in makes.items():
            rows[name] = schedule(make, base, steps)
            print(f"{name:10} {rows[name]}", flush=True)
        few = min(steps, 300)
        rows["inline, ledger on disk"] = schedule(lambda: InlinePool(folder / "disk"), base, few)
        print(f"on disk    {rows['inline, ledger on disk']}", flush=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return rows


def measure(folder: Path, steps: int, only: str = "") -> dict[str, Any]:
    """Both halves; without Ray its rows are left out, and that is said."""
    for name in ("disk", "ray-sweep"):  # what an earlier call made would only be looked up
        shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    has_ray = importlib.util.find_spec("ray") is not None
    if not has_ray:
        print("SKIPPED: Ray is not installed, its rows are missing: VULTUS_EXTRAS=ray make setup")
    figures: dict[str, Any] = {"ray": version("ray") if has_ray else "not installed"}
    if only != "sweep":
        figures["no_op"] = schedule_all(folder, steps, with_ray=has_ray)
    if only != "noop" and has_ray:
        from bench.jobs.ray_sweep import ray_sweep

        figures["ray_sweep"] = ray_sweep(folder)
    return figures


def main() -> None:
    """Measure and write bench/results/jobs_executors.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000, help="no-op steps per executor")
    parser.add_argument("--folder", type=Path, default=Path("build/bench-jobs"), help="work here")
    parser.add_argument("--only", choices=("noop", "sweep"), default="", help="one half of it")
    args = parser.parse_args()
    began = time.perf_counter()
    figures = measure(args.folder, args.steps, args.only)
    print(record("jobs_executors", figures, seconds=time.perf_counter() - began))


if __name__ == "__main__":
    main()
