"""The executor on Ray Core: one actor per lane, on whatever machines the cluster has.

Ray starts processes, finds free cards and tells of deaths; nothing else is asked of it. Steps are idempotent and
keyed, so a lost worker, a lost machine and a dead driver cost a retry of the step they were at, and no state of
Ray's is ever needed again: resuming reads the ledger. Known faults of Ray that this is written around: memory held
by idle workers (the actors are ended with the run), orphaned children (2.60 gives every worker a process group of
its own and ends that), telemetry (switched off).

Sources: Ray 2.60 documentation, "Actors" and "Fault tolerance"; ray-project/ray issues 26118, 30414, 31451, 38439.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import vultus
from vultus.core.errors import (
    CancelledError,
    MissingExtraError,
    NoPlaceError,
    StepError,
    VultusError,
    WorkerLostError,
)
from vultus.core.files import write_text
from vultus.core.progress import Progress
from vultus.steps.orders import Order
from vultus.steps.parcels import Packer, Parcel, pieces, place_piece, refuse_large
from vultus.steps.pools import LanePool
from vultus.steps.ray_hand import RayHand
from vultus.steps.run import Made
from vultus.steps.worker import unpack_fault
from vultus.steps.worker_process import QUIET, WORKERS_LOCK, order_message

START_S = 300.0
"""How long a worker may take to start before its lane gives its work to the others; on a machine that is ten times
overcommitted a start took 45 s."""

LOOK_S = 2.0
"""How often a starting worker asks whether the cluster still has room for it."""

STORE_BYTES = 512 * 2**20
"""Room for objects under way on a machine that this program starts Ray on; outputs pass through in pieces."""


class RayPool(LanePool):
    """Does tasks on a Ray cluster; without an address it starts one on this machine and ends it with the run."""

    def __init__(
        self,
        ledger_folder: Path,
        progress: Progress | None = None,
        *,
        address: str = "",
        lanes: int = 0,
        shared_disk: bool = True,
        start_s: float = START_S,
    ) -> None:
        self._cluster = _Cluster(address, ledger_folder, shared_disk)
        try:
            count = lanes or max(1, self._cluster.lanes())
            workers = [RayWorker(self._cluster, number, start_s) for number in range(count)]
        except BaseException:
            self._cluster.close()
            raise
        super().__init__(ledger_folder, workers, progress)

    def close(self) -> None:
        """End the workers, and Ray where this pool started it."""
        super().close()
        self._cluster.close()


class _Cluster:
    """The connection to Ray, made once per pool."""

    def __init__(self, address: str, folder: Path, shared_disk: bool) -> None:
        self.ray = _import_ray()
        self.folder = folder.resolve()
        self.word = secrets.token_hex(16) if shared_disk else ""
        self.probe = f"locks/ray-{os.getpid()}-{secrets.token_hex(4)}"
        self.packer = Packer()
        self._ours = not self.ray.is_initialized()
        if self._ours:
            self._connect(address)
        if shared_disk:
            write_text(self.folder / self.probe, self.word)
        self.uses_gpus = self.ray.cluster_resources().get("GPU", 0) >= 1
        self.living: set[int] = set()
        """lanes that have, or wait for, an actor"""

    def lanes(self) -> int:
        """One per card of the machines that live; one per core where there are no cards."""
        return int(self.ray.cluster_resources().get("GPU" if self.uses_gpus else "CPU", 0))

    def environment(self) -> dict[str, str]:
        """What every worker gets: its share of the cores, and no waiting thread that spins."""
        total = self.ray.cluster_resources()
        share = total.get("CPU", 1) / total["GPU"] if self.uses_gpus else 1
        threads = {"OMP_NUM_THREADS": str(max(1, int(share)))}
        return {**threads, **QUIET}

    def close(self) -> None:
        with suppress(OSError):
            (self.folder / self.probe).unlink(missing_ok=True)
        if self._ours and self.ray.is_initialized():
            self.ray.shutdown()

    def _connect(self, address: str) -> None:
        options: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
        if address:
            options["address"] = address
        else:
            options |= {
                "include_dashboard": False,
                "num_cpus": len(os.sched_getaffinity(0)),
                "object_store_memory": STORE_BYTES,
            }
        try:
            self.ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as fault:
            raise NoPlaceError(
                f"Ray cannot be reached: {fault}",
                where=address or "this machine",
                expected="a running cluster, or room to start one here",
                next_command="ray status, or set `machine.executor` to local in vultus.toml",
            ) from fault


class RayWorker:
    """One lane's actor: made at its first order, and again after it died."""

    def __init__(self, cluster: _Cluster, number: int, start_s: float) -> None:
        self._cluster = cluster
        self._number = number
        self._start_s = start_s
        self._hand: Any = None
        self._about: dict[str, Any] = {}
        self._ended = False
        self._lock = Lock()

    @property
    def pid(self) -> int | None:
        """Process id of the actor, on its own machine."""
        return self._about.get("pid")

    @property
    def log(self) -> Path:
        """Where a crash of this lane is told."""
        return self._cluster.folder / "logs" / f"ray-{self._number}.log"

    def perform(
        self, order: Order, scratch: Path, advance: Callable[..., None]
    ) -> Mapping[str, Path]:
        """Have one order done; a dead actor or machine is a WorkerLostError."""
        ray = self._cluster.ray
        gone = (
            ray.exceptions.RayActorError,
            ray.exceptions.ObjectLostError,
            ray.exceptions.WorkerCrashedError,
        )
        try:
            hand = self._started()
            shared = bool(self._about["shared"])
            parcels = {} if shared else self._sent(hand, order)
            stream = hand.perform.options(num_returns="streaming").remote(
                order_message(order, scratch), parcels
            )
            return self._heard((ray.get(one) for one in stream), order, scratch, advance)
        except gone as fault:
            self._forget()
            if self._ended:
                raise CancelledError(f"the worker was ended during {order.step.kind!r}") from fault
            raise WorkerLostError(
                f"the Ray worker doing {order.step.kind!r} was lost: {type(fault).__name__}",
                where=f"lane {self._number}",
                next_command="run the same command again: it goes on from here",
            ) from fault

    def end(self) -> None:
        """Kill the actor; what it holds on a card goes with its process."""
        with self._lock:
            self._ended = True
            hand, self._hand, self._about = self._hand, None, {}
        self._cluster.living.discard(self._number)
        if hand is not None and self._cluster.ray.is_initialized():
            self._cluster.ray.kill(hand, no_restart=True)

    def _started(self) -> Any:
        if self._hand is not None:
            return self._hand
        cluster = self._cluster
        needs = {"num_cpus": 0, "num_gpus": 1} if cluster.uses_gpus else {"num_cpus": 1}
        actor = cluster.ray.remote(RayHand).options(max_restarts=0, max_task_retries=0, **needs)
        with self._lock:
            if self._ended:
                raise CancelledError("the worker was ended")
            self._hand = actor.remote(
                str(cluster.folder),
                cluster.probe,
                cluster.word,
                WORKERS_LOCK,
                cluster.environment(),
            )
            hand = self._hand
        asked = hand.about.remote()
        self._wait_for(asked)
        about = cluster.ray.get(asked)
        if about["version"] != vultus.__version__:
            self._kill()
            raise StepError(
                f"a machine of the cluster has vultus {about['version']}",
                expected=f"vultus {vultus.__version__} everywhere",
                next_command="install the same commit on every machine",
            )
        self._about = about
        return hand

    def _wait_for(self, asked: Any) -> None:
        """Wait until the actor answers. Raises NoPlaceError where it never will."""
        cluster = self._cluster
        cluster.living.add(self._number)
        waited_s = 0.0
        while not cluster.ray.wait([asked], timeout=LOOK_S)[0]:
            waited_s += LOOK_S
            if len(cluster.living) > cluster.lanes() or waited_s >= self._start_s:
                self._kill()
                raise NoPlaceError(
                    f"Ray has no room for a worker (waited {waited_s:.0f} s)",
                    where=f"lane {self._number}",
                    expected="one free core or card per worker",
                    next_command="ray status",
                )

    def _kill(self) -> None:
        hand = self._hand
        self._forget()
        with suppress(Exception):  # it may be dead already
            self._cluster.ray.kill(hand, no_restart=True)

    def _forget(self) -> None:
        with self._lock:
            self._hand, self._about = None, {}
        self._cluster.living.discard(self._number)

    def _sent(self, hand: Any, order: Order) -> dict[str, Parcel]:
        """Send what the actor's machine lacks; returns every input as a parcel."""
        get = self._cluster.ray.get
        packed = {name: self._cluster.packer.pack(path) for name, path in order.files.items()}
        parcels = {name: parcel for name, parcel in packed.items() if parcel is not None}
        wanted = set(get(hand.lacks.remote(list(parcels.values()))))
        missing = {p.digest: p for p in parcels.values() if p.digest in wanted}
        refuse_large(list(missing.values()))
        for digest, parcel in missing.items():
            for name, first, data in pieces(Path(parcel.path)):
                get(hand.receive.remote(digest, name, first, data, False))
            get(hand.receive.remote(digest, "", False, b"", True))
        return parcels

    def _heard(
        self,
        answers: Iterator[dict[str, Any]],
        order: Order,
        scratch: Path,
        advance: Callable[..., None],
    ) -> Mapping[str, Path]:
        for answer in answers:
            if "advance" in answer:
                remembered = bool(answer["remembered"])
                advance(answer["advance"], answer["note"], remembered=remembered)
            elif "piece" in answer:
                name, inside, first, data = answer["piece"]
                place_piece(scratch / "sent" / name, inside, first, data)
            elif "outputs" in answer:
                return self._kept(answer, scratch)
            else:
                raise self._said_no(answer, order.step.kind)
        raise WorkerLostError(f"the Ray worker stopped answering during {order.step.kind!r}")

    def _kept(self, answer: Mapping[str, Any], scratch: Path) -> Made:
        shared = bool(self._about.get("shared"))
        paths = {
            name: Path(path) if shared else scratch / "sent" / name
            for name, path in answer["outputs"].items()
        }
        return Made(paths, answer["environment"])

    def _said_no(self, answer: Mapping[str, Any], kind: str) -> VultusError:
        if "fault" in answer:
            return unpack_fault(answer["fault"])
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a", encoding="utf-8") as log:
            log.write(answer["crash"])
        last = str(answer["crash"]).strip().splitlines()[-1]
        return StepError(
            f"the step {kind!r} crashed on a Ray worker: {last}",
            where=str(self.log),
            expected="no crash: this is a mistake of Vultus or of a library",
            next_command="run the same command again; if it crashes again, report the log",
        )


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray lowers its workers' priority by 15 so that a driver beside them answers; ours only waits for them, and beside
    # any other work of the machine they would starve.
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.setdefault(
        "RAY_raylet_start_wait_time_s", "300"
    )  # 30 s are too few on a busy machine
    try:
        import ray
    except ModuleNotFoundError as fault:
        raise MissingExtraError(
            "the executor `ray` needs the package 'ray', which is not installed",
            next_command="VULTUS_EXTRAS=ray make setup",
        ) from fault
    return ray


__all__ = ["START_S", "RayPool", "RayWorker"]
