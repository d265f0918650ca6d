"""Pools for tasks: in this process one after the other, or on workers side by side.

Only this process writes the ledger. Each lane is a thread with a ledger connection and, once there is real work, one
worker; the thread does nothing but look up, wait and record, so the lanes do not slow each other.
A worker is started at the first order that is not in the ledger: a run that is wholly remembered starts none.

A worker that dies in the middle of an order (killed, out of memory, its machine gone) is a retry on a new one, not
a failure: the attempt is written down as lost, and asked for again. After LOST_TRIES in a row that got no further than
the ones before, it is told instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from vultus.core.errors import CancelledError, NoPlaceError, StepError, WorkerLostError
from vultus.core.log import logger
from vultus.core.progress import Progress
from vultus.steps.desk import Desk
from vultus.steps.orders import Do, Done, Order, Task
from vultus.steps.run import run_once
from vultus.steps.table import Job, do
from vultus.steps.worker_process import WorkerProcess
from vultus.store.ledger import Ledger

T = TypeVar("T")
Perform = Callable[[Order, Path, Callable[..., None]], Mapping[str, Path]]
POLL_S = 0.2
COSTLY = frozenset({"train"})

PACES = dict.fromkeys(("render", "detail", "read", "inspect"), "looking")
"""Kinds that take turns within a second, and so share one speed."""

LOST_TRIES = 5
"""Attempts at one order, in a row and without getting further, before a dying worker is told as a fault: an order that
kills every worker is out of memory, and one in five workers dying by chance takes all five in 3 of 10,000 orders. A
training that loses its worker once an hour and goes on from its saved state each time is no such order."""


class Counter:
    """Hands the progress of many lanes to one Progress, in the cost of each order."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()

    def advance(
        self, amount: float, note: str = "", *, remembered: bool = False, pace: str = ""
    ) -> None:
        """Add an amount of cost of one kind of work; `remembered` when it was looked up."""
        if self._progress is None or amount <= 0:
            return
        with self._lock:
            self._progress.advance(amount, note, remembered=remembered, pace=pace)


def perform(order: Order, ledger: Ledger, counter: Counter, work: Perform) -> Done:
    """Look an order up, or have it done by `work`, and count its cost once either way."""
    told = here = 0.0
    worked = started = False
    pace = PACES.get(order.step.kind, order.step.kind)

    def advance(n: float = 1, note: str = "", *, remembered: bool = False) -> None:
        nonlocal told, here, started
        if not started:
            started = True
            counter.advance(order.start, pace=pace)
        here += n
        # what an attempt before this one had done was told by it
        step = min(here, order.units) - told
        if step > 0:
            told += step
            counter.advance(step * order.cost, note, remembered=remembered, pace=pace)

    def make(scratch: Path) -> Mapping[str, Path]:
        nonlocal worked, here
        worked, here = True, 0.0
        return work(order, scratch, advance)

    # Blind repetition is refused where it costs: a training that said no. The rest says it again at once, in its
    # own words, which serve better than the ledger's memory of them.
    retry = bool(order.hints.get("retry_failed", False)) or order.step.kind not in COSTLY
    files = _insist(
        order, lambda: run_once(order.step, ledger, make, retry_failed=retry), lambda: told
    )
    ids = ledger.outputs(order.step.key)
    rest = (order.units - told) * order.cost + (0.0 if started else order.start)
    counter.advance(rest, remembered=not worked or told > 0)
    return Done(order.step.key, files, dict(ids or {}), remembered=not worked)


def _insist(
    order: Order, attempt: Callable[[], dict[str, Path]], furthest: Callable[[], float]
) -> dict[str, Path]:
    """Make attempts until one is not lost, at most LOST_TRIES in a row that get no further than the ones before."""
    reached, trial = furthest(), 0
    while True:
        try:
            return attempt()
        except NoPlaceError:
            raise  # waiting again would help nobody: another lane takes the order
        except WorkerLostError as lost:
            trial = 1 if furthest() > reached else trial + 1
            reached = furthest()
            logger(__name__).info("%s lost (%d): %s", order.step.kind, trial, lost.what)
            if trial >= LOST_TRIES:
                raise


class InlinePool:
    """Does every task in this process, in order. For tests, and for machines without room for a second process."""

    def __init__(self, ledger_folder: Path, progress: Progress | None = None) -> None:
        self._ledger = Ledger.open(ledger_folder)
        self._counter = Counter(progress)

    def run(self, tasks: Sequence[Task[T]]) -> list[T]:
        """Do the tasks and return their results in order."""

        def work(order: Order, scratch: Path, advance: Callable[..., None]) -> Mapping[str, Path]:
            step = order.step
            return do(Job(step.kind, step.inputs, order.files, scratch, order.hints, advance))

        def ask(order: Order) -> Done:
            return perform(order, self._ledger, self._counter, work)

        return [task.chain(ask) for task in tasks]

    def close(self) -> None:
        """Let go of what this process keeps loaded."""
        from vultus.steps.kinds.resident import release

        release()
        self._ledger.close()


class LookUpPool:
    """Does nothing: what is not in the ledger is a fault that says how it comes there."""

    def __init__(self, ledger_folder: Path) -> None:
        self._ledger = Ledger.open(ledger_folder)
        self._counter = Counter(None)

    def run(self, tasks: Sequence[Task[T]]) -> list[T]:
        """Look the tasks up and return their results in order."""

        def work(order: Order, scratch: Path, advance: Callable[..., None]) -> Mapping[str, Path]:
            raise AssertionError(f"{order.step.kind} is in the ledger and needs no work")

        def ask(order: Order) -> Done:
            if self._ledger.outputs(order.step.key) is None:
                raise StepError(
                    f"this run is not finished: no {order.step.kind} of this plan was made yet",
                    expected="a run that ended with a report",
                    next_command="vultus run WORKSPACE",
                )
            return perform(order, self._ledger, self._counter, work)

        return [task.chain(ask) for task in tasks]

    def close(self) -> None:
        """Let go of the ledger."""
        self._ledger.close()


class LaneWorker(Protocol):
    """What does the orders of one lane. It starts with its first order, and anew after it died."""

    @property
    def pid(self) -> int | None:
        """Process id of the living worker, if it lives on some machine."""

    def perform(
        self, order: Order, scratch: Path, advance: Callable[..., None]
    ) -> Mapping[str, Path]:
        """Do one order; raises WorkerLostError when the worker dies on it, NoPlaceError when none can be started."""

    def end(self) -> None:
        """End the worker, now and for good."""


class LanePool:
    """Does tasks on workers, one per lane; who the workers are is up to the executor."""

    def __init__(
        self, ledger_folder: Path, workers: Sequence[LaneWorker], progress: Progress | None = None
    ) -> None:
        self._folder = ledger_folder
        self._counter = Counter(progress)
        self._workers = list(workers)

    def run(self, tasks: Sequence[Task[T]]) -> list[T]:
        """Do the tasks on all lanes and return their results in order.

        Ctrl-C, or the first fault of any task, ends the workers and is raised when all lanes have come to rest.
        """
        lanes = min(len(self._workers), len(tasks))
        desk = Desk(tasks, lanes)
        threads = [
            threading.Thread(target=self._lane, args=(i, desk), daemon=True) for i in range(lanes)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(POLL_S)
        except BaseException:
            desk.stop()
            self._end_workers()
            for thread in threads:
                thread.join()
            raise
        if desk.faults:
            self._end_workers()
            raise desk.faults[0]
        return desk.results()

    def worker_pids(self) -> list[int]:
        """Process ids of the workers that were started and not ended."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    def close(self) -> None:
        """End the workers."""
        self._end_workers()

    def _end_workers(self) -> None:
        for worker in self._workers:
            worker.end()

    def _lane(self, number: int, desk: Desk[T]) -> None:
        worker = self._workers[number]

        def work(order: Order, scratch: Path, advance: Callable[..., None]) -> Mapping[str, Path]:
            if desk.stopped:
                raise CancelledError("stopped before this step began")
            return worker.perform(order, scratch, advance)

        try:
            ledger = Ledger.open(self._folder)
        except BaseException as fault:  # noqa: BLE001  raised again in the caller's thread
            self._fail(number, desk, fault)
            return

        def ask(order: Order) -> Done:
            if desk.stopped:
                raise CancelledError("stopped before this step began")
            return perform(order, ledger, self._counter, work)

        try:
            self._serve(number, desk, ask)
        finally:
            ledger.close()

    def _serve(self, number: int, desk: Desk[T], ask: Do) -> None:
        while (position := desk.take(number)) is not None:
            try:
                desk.put(position, desk.tasks[position].chain(ask))
            except BaseException as fault:  # noqa: BLE001  raised again in the caller's thread
                if isinstance(fault, NoPlaceError) and desk.give_back(number, position):
                    return  # fewer lanes, all of the work: what this chain had done is looked up
                self._fail(number, desk, fault)
                return

    def _fail(self, number: int, desk: Desk[T], fault: BaseException) -> None:
        """Keep a lane's fault; whatever the other lanes are at, nobody will use it in this call."""
        if desk.fail(fault):
            for other, worker in enumerate(self._workers):
                if other != number:
                    worker.end()


class ProcessPool(LanePool):
    """Does tasks on worker processes of this machine, one per lane; `environments` holds what each lane's worker
    gets on top of this process's environment (which graphics card is its own, how many threads)."""

    def __init__(
        self,
        ledger_folder: Path,
        lanes: int,
        progress: Progress | None = None,
        environments: Sequence[Mapping[str, str]] = (),
    ) -> None:
        workers = [
            WorkerProcess(ledger_folder, i, dict(environments[i]) if environments else {})
            for i in range(lanes)
        ]
        super().__init__(ledger_folder, workers, progress)


__all__ = [
    "LOST_TRIES",
    "Counter",
    "InlinePool",
    "LanePool",
    "LaneWorker",
    "LookUpPool",
    "ProcessPool",
    "perform",
]
