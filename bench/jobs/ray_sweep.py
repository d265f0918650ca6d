"""A stand-in sweep on a loopback Ray cluster that loses workers and a machine, against the same sweep inline.

    python -m bench.jobs.executors --only sweep

Both start from one training of the demo's persona (so short that its LoRA is worth nothing: what is compared is
bytes, not likeness) and ask for the same cells: checkpoints x strengths, each rendered and read. Every chosen
order's worker gets SIGKILL while it is at work, one machine of the cluster is taken away halfway, and then every
output of every step is compared.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vultus.core import specs
from vultus.core.files import write_text
from vultus.datasets.manifest import read_manifest
from vultus.steps.orders import Do, Done, Order, Pool, Task
from vultus.steps.pools import InlinePool, LanePool
from vultus.steps.ray_pool import RayWorker, _Cluster, _import_ray
from vultus.store.census import spent_on
from vultus.store.ledger import Ledger
from vultus.studies import requests
from vultus.studies.given import gather
from vultus.studies.plan import PLAN_FILE, load_plan
from vultus.studies.start import copy_demo
from vultus.studies.workspace import Workspace

KILLED_EVERY = 4
"""One order in so many loses its worker. Counted, not drawn by key: of 20 orders chance once took one, once seven."""
NODES = 4
STORE_BYTES = 100 * 2**20
"""Ray's object store per machine of the loopback cluster: outputs lie on the shared disk, only messages pass."""

STRENGTHS = (0.0, 0.4, 0.7, 1.0, 1.3)
TRAIN_STEPS = 16


class _Doomed(RayWorker):
    """A lane whose actor is killed on every KILLED_EVERY-th order of all lanes, while it is at it."""

    def __init__(
        self, cluster: _Cluster, number: int, start_s: float, asked: list[str], killed: list[str]
    ) -> None:
        super().__init__(cluster, number, start_s)
        self._asked, self._killed = asked, killed

    def perform(
        self, order: Order, scratch: Path, advance: Callable[..., None]
    ) -> Mapping[str, Path]:
        """Do an order; one in so many loses its worker, once."""
        key = order.step.key
        fresh = key not in self._asked
        if fresh:
            self._asked.append(key)
        if fresh and len(self._asked) % KILLED_EVERY == 0:
            self._started()
            self._killed.append(key)
            assert self.pid is not None
            threading.Timer(0.2, _kill, (self.pid,)).start()
        return super().perform(order, scratch, advance)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


class _DoomedPool(LanePool):
    """A Ray pool on a cluster that is there already, with mortal workers."""

    def __init__(self, folder: Path, lanes: int, killed: list[str]) -> None:
        self.cluster = _Cluster("", folder, True)
        asked: list[str] = []
        workers = [_Doomed(self.cluster, n, 300.0, asked, killed) for n in range(lanes)]
        super().__init__(folder, workers)

    def close(self) -> None:
        """End the actors; the cluster is ended by who made it."""
        super().close()
        self.cluster.close()


def ray_sweep(folder: Path) -> dict[str, Any]:
    """Run both sweeps and compare them."""
    workspace = _workspace(folder / "ray-sweep")
    tasks = _tasks(workspace)
    _timed(InlinePool(folder / "ray-sweep" / "inline"), tasks)
    inline_s = _work_s(folder / "ray-sweep" / "inline")
    print(f"inline: {len(tasks)} cells, {inline_s:.1f} s of work", flush=True)
    ray = _import_ray()

    from ray.cluster_utils import Cluster

    cluster = Cluster()
    nodes = [
        cluster.add_node(
            num_cpus=1, num_gpus=0, object_store_memory=STORE_BYTES, include_dashboard=False
        )
        for _ in range(NODES)
    ]
    killed: list[str] = []
    try:
        ray.init(address=cluster.address, logging_level="error", log_to_driver=False)
        pool = _DoomedPool(folder / "ray-sweep" / "ray", NODES, killed)
        half = len(tasks) // 2
        ray_s = _timed(pool, tasks[:half], close=False)
        cluster.remove_node(nodes[-1], allow_graceful=False)
        ray_s += _timed(pool, tasks[half:])
    finally:
        ray.shutdown()
        cluster.shutdown()
    return {
        "cells": len(tasks),
        "nodes": NODES,
        "machines_taken_away": 1,
        "inline_work_s": round(inline_s, 1),
        "ray_work_s": round(_work_s(folder / "ray-sweep" / "ray"), 1),
        "ray_wall_s": round(ray_s, 1),
        **_compared(folder / "ray-sweep", killed),
    }


def _compared(root: Path, killed: Sequence[str]) -> dict[str, Any]:
    with Ledger.open(root / "inline") as one, Ledger.open(root / "ray") as other:
        keys = [step.key for step in one.steps()]
        same = sum(one.outputs(key) == other.outputs(key) for key in keys)
        lost = sum(a.state.value == "lost" for a in other.attempts())
        done = [a.step_key for a in other.attempts() if a.state.value == "done"]
        sound = other.rows("PRAGMA integrity_check")[0][0] == "ok"
        more = len(other.steps()) - len(keys)
    row = {
        "steps": len(keys),
        "steps_with_equal_outputs": same,
        "steps_only_on_ray": more,
        "workers_killed": len(killed),
        "attempts_lost": lost,
        "done_twice": len(done) - len(set(done)),
        "ledger_sound": sound,
    }
    print(row, flush=True)
    return row


def _work_s(folder: Path) -> float:
    """Seconds that the finished attempts of a sweep took, whenever that was."""
    with Ledger.open(folder) as ledger:
        keys = [s.key for kind in ("render", "read") for s in ledger.steps(kind)]
        return sum(one.seconds for one in spent_on(ledger, keys))


def _timed(pool: Pool, tasks: Sequence[Task[Any]], *, close: bool = True) -> float:
    began = time.perf_counter()
    try:
        pool.run(tasks)
    finally:
        if close:
            pool.close()
    return time.perf_counter() - began


def _workspace(root: Path) -> Workspace:
    """A demo workspace, trained and curated; both ledgers begin as copies of its own."""
    workspace = Workspace(root / "workspace")
    copy_demo(workspace.folder)
    path = workspace.folder / PLAN_FILE
    plan = load_plan(path)
    short = replace(
        plan,
        bases=plan.bases[:1],
        train=replace(plan.train, steps=TRAIN_STEPS, warmup_steps=2, checkpoints=2),
        render=replace(plan.render, steps=4),
    )
    write_text(path, specs.dumps(short))
    shutil.rmtree(root / "ray", ignore_errors=True)
    _prepare(workspace)
    for name in ("inline", "ray"):
        if not (root / name).exists():  # the inline sweep of an earlier call is kept, and looked up
            shutil.copytree(workspace.memory, root / name)
    return workspace


def _prepare(workspace: Workspace) -> tuple[list[requests.Checkpoint], Any]:
    """Curate and train, or look both up."""
    given = gather(workspace)
    pool = InlinePool(workspace.memory)
    try:
        frozen = pool.run([Task(lambda do: do(requests.curate_order(given)))])[0]
        dataset = read_manifest(frozen.files["dataset"])
        train = requests.train_order(given, dataset, frozen)
        trained: Done = pool.run([Task(lambda do: do(train))])[0]
    finally:
        pool.close()
    return requests.checkpoints_of(trained), given


def _tasks(workspace: Workspace) -> list[Task[Any]]:
    """One task per cell: render its blocks, read the faces."""
    checkpoints, given = _prepare(workspace)
    base = given.bases[given.plan.bases[0]]

    def cell(checkpoint: requests.Checkpoint, strength: float) -> Callable[[Do], Done]:
        words = given.persona.with_trigger
        order = requests.render_order(given, base, checkpoint, strength, given.panel, words)
        return lambda do: do(requests.read_order(given, do(order)))

    return [Task(cell(one, s), place=base.name) for one in checkpoints for s in STRENGTHS]
