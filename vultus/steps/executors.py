"""Who does the work of a run: this process, workers on this machine, or a Ray cluster, by one word.

auto            workers on this machine: one per graphics card; without one, one in all where the bases are of full
                size, else one per core up to four
inline          this process alone
local:N         N workers on this machine, each with a graphics card of its own where there are any
ray             a Ray cluster: the one that RAY_ADDRESS names, else one started here for the run
ray:HOST:PORT   the Ray cluster at this address
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vultus.core.errors import UnknownNameError
from vultus.core.progress import Progress
from vultus.steps.orders import Pool
from vultus.steps.pools import InlinePool, ProcessPool
from vultus.steps.worker_process import QUIET

NVIDIA_CARDS = Path("/proc/driver/nvidia/gpus")
_RAY_ADDRESS = re.compile(r"(ray://)?[\w.-]+:\d+")
MOST_LANES = 64


@dataclass(frozen=True)
class Executor:
    """A parsed executor. `lanes` is 0 where the machine or the cluster decides."""

    kind: str
    lanes: int = 0
    address: str = ""


def parse_executor(words: str) -> Executor:
    """Read the setting. Raises UnknownNameError with the words that are known."""
    kind, _, rest = words.partition(":")
    if words in ("auto", "inline"):
        return Executor(words, 1 if words == "inline" else 0)
    if kind == "local" and rest.isdecimal() and 1 <= int(rest) <= MOST_LANES:
        return Executor("local", int(rest))
    if words == "ray":
        return Executor("ray", 0, os.environ.get("RAY_ADDRESS", ""))
    if kind == "ray" and _RAY_ADDRESS.fullmatch(rest):
        return Executor("ray", 0, rest)
    raise UnknownNameError(
        f"there is no executor {words!r}",
        where="machine.executor",
        expected=f"auto, inline, local:N with N from 1 to {MOST_LANES}, ray, or ray:HOST:PORT",
    )


def open_executor(
    executor: Executor,
    ledger_folder: Path,
    lanes: int,
    progress: Progress | None,
    *,
    threads: int = 0,
) -> Pool:
    """Open the pool that an executor stands for; `lanes` is how many workers this run wants.

    `threads` is what each worker on this machine computes with; 0: its share of the cores.
    """
    if executor.kind == "inline":
        return InlinePool(ledger_folder, progress)
    if executor.kind == "ray":
        from vultus.steps.ray_pool import RayPool

        return RayPool(ledger_folder, progress, address=executor.address)
    return ProcessPool(ledger_folder, lanes, progress, lane_environments(lanes, threads=threads))


def worker_environment(lanes: int, threads: int = 0) -> dict[str, str]:
    """Threads per worker: cores shared out, and no spinning, which makes two pools slower than one."""
    share = threads or max(1, len(os.sched_getaffinity(0)) // lanes)
    return {"OMP_NUM_THREADS": str(share), **QUIET}


def lane_environments(
    lanes: int,
    cards: list[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    threads: int = 0,
) -> list[dict[str, str]]:
    """What each lane's worker gets: its threads and, where there are several cards, one of them.

    With fewer cards than lanes some lanes share one, which is right for small bases only.
    """
    own = [dict(worker_environment(lanes, threads)) for _ in range(lanes)]
    found = visible_cards(environ) if cards is None else cards
    if len(found) > 1:
        for number, environment in enumerate(own):
            environment["CUDA_VISIBLE_DEVICES"] = found[number % len(found)]
    return own


def visible_cards(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The cards that this process may use, as CUDA numbers or names them."""
    if "CUDA_VISIBLE_DEVICES" in environ:
        return [one.strip() for one in environ["CUDA_VISIBLE_DEVICES"].split(",") if one.strip()]
    return [str(i) for i in range(len(list(NVIDIA_CARDS.glob("*"))))]


__all__ = [
    "Executor",
    "lane_environments",
    "open_executor",
    "parse_executor",
    "visible_cards",
    "worker_environment",
]
