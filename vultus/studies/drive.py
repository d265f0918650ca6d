"""Run a workspace with everything a run needs around it: the lock, the workers, the progress line.

with open_pool(given, progress) as (pool, lanes):
    outcome = run(given, pool, lanes)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from vultus.core.errors import CardBusyError, MissingExtraError, ToolError, VultusError
from vultus.core.progress import Progress
from vultus.datasets.manifest import read_manifest
from vultus.datasets.records import Dataset
from vultus.jobs.foreground import on_card
from vultus.steps.executors import Executor, open_executor, parse_executor, visible_cards
from vultus.steps.orders import Pool, Task
from vultus.steps.pools import LookUpPool
from vultus.studies.bases import threads_for
from vultus.studies.foresight import refuse_hopeless
from vultus.studies.given import Given, gather
from vultus.studies.outcome import Outcome
from vultus.studies.requests import curate_order, total_cost
from vultus.studies.run import run
from vultus.studies.workspace import Workspace

AUTO_LANES = 4
NVIDIA_DRIVER = Path("/proc/driver/nvidia")


def drive(
    workspace: Workspace,
    *,
    retry_failed: bool = False,
    inline: bool = False,
    quiet: bool = False,
) -> Outcome:
    """Run a workspace from its files to its outcome, or look all of it up.

    `inline` keeps all work in this process. Raises a VultusError that says what to do next; BusyError when another
    run is at work in this workspace.
    """
    given = gather(workspace, retry_failed=retry_failed)
    try:
        return _drive(given, inline=inline, quiet=quiet)
    except (CardBusyError, MissingExtraError, ToolError):
        # A run that is finished needs no card, no package and no tool.
        remembered = _remembered(given)
        if remembered is None:
            raise
        return remembered


def _remembered(given: Given) -> Outcome | None:
    """The outcome where all of it is in the ledger already."""
    if not given.workspace.was_begun:
        return None
    try:
        return _looked_up(given)
    except VultusError:
        return None


def _drive(given: Given, *, inline: bool, quiet: bool) -> Outcome:
    refuse_hopeless(given)
    workspace = given.workspace
    lanes = 1 if inline else count_lanes(given)
    with (
        workspace.at_work(),
        lease(given, "run", lanes),
        Progress(total_cost(given, lanes), "run", quiet=quiet) as progress,
        open_pool(given, lanes, progress, inline=inline) as pool,
    ):
        outcome = run(
            given,
            pool,
            lanes,
            lambda left: progress.retotal(progress.done + left),
            lambda words: progress.advance(0, words),
        )
        progress.retotal(progress.done)  # the estimate was one; what is done is all there was
        return outcome


def look_up(workspace: Workspace) -> Outcome:
    """The outcome of a run that is finished; nothing is made. Raises StepError when something is missing."""
    return _looked_up(gather(workspace))


def _looked_up(given: Given) -> Outcome:
    with given.workspace.at_work():
        pool = LookUpPool(given.workspace.memory)
        try:
            return run(given, pool, count_lanes(given))
        finally:
            pool.close()


def curate_only(workspace: Workspace, *, inline: bool = False, quiet: bool = False) -> Dataset:
    """Curate a workspace and return the frozen dataset; nothing is trained or rendered."""
    given = gather(workspace)
    order = curate_order(given)
    total = order.units * order.cost
    with (
        workspace.at_work(),
        Progress(total, "curate", quiet=quiet) as progress,
        open_pool(given, 1, progress, inline=inline) as pool,
    ):
        frozen = pool.run([Task(lambda do: do(order))])[0]
    return read_manifest(frozen.files["dataset"])


def lease(given: Given, verb: str, lanes: int) -> AbstractContextManager[str]:
    """The cards of a run, for as long as it lasts; memory is not asked of a card that the renderer shares."""
    about = f"vultus {verb} in {given.workspace.folder.name}"
    shared = given.plan.renderer == "comfyui"
    return on_card(given.plan.machine.device, about, lanes=lanes, shared=shared)


@contextmanager
def open_pool(
    given: Given, lanes: int, progress: Progress | None, *, inline: bool = False
) -> Iterator[Pool]:
    """Open a pool for a run and end its workers whatever happens."""
    executor = Executor("inline", 1) if inline else parse_executor(given.plan.machine.executor)
    threads = threads_for(given.bases.values())
    pool = open_executor(executor, given.workspace.memory, lanes, progress, threads=threads)
    try:
        yield pool
    finally:
        pool.close()


def count_lanes(given: Given) -> int:
    """How many workers serve this run best.

    `local:N` says it. Otherwise one per graphics card (two bases would not fit on one), or one in all where the bases
    are of full size (each worker holds one in memory); elsewhere one per core, up to four: the stand-in nets run best
    on one thread.
    """
    executor = parse_executor(given.plan.machine.executor)
    if executor.lanes:
        return executor.lanes
    if given.plan.machine.device == "cuda" or (
        given.plan.machine.device == "auto" and NVIDIA_DRIVER.exists()
    ):
        return max(1, len(visible_cards()))
    if any(base.is_large for base in given.bases.values()):
        return 1
    return max(1, min(AUTO_LANES, len(os.sched_getaffinity(0))))


__all__ = ["count_lanes", "curate_only", "drive", "lease", "look_up", "open_pool"]
