"""Two pools for tasks: in this process one after the other, or on worker processes side by side.

Only this process writes the ledger. Each lane is a thread with a ledger connection and, once there is real work, one
worker process; the thread does nothing but look up, wait and record, so the lanes do not slow each other.
A worker is started at the first order that is not in the ledger: a run that is wholly remembered starts none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from vultus.core.errors import CancelledError, StepError
from vultus.core.progress import Progress
from vultus.steps.orders import Do, Done, Order, Task
from vultus.steps.run import run_once
from vultus.steps.table import Job, do
from vultus.steps.worker_process import WorkerProcess
from vultus.store.ledger import Ledger

T = TypeVar("T")
Perform = Callable[[Order, Path, Callable[..., None]], Mapping[str, Path]]
POLL_S = 0.2
COSTLY = frozenset({"train"})


class Counter:
    """Hands the progress of many lanes to one Progress, in the cost of each order."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()

    def advance(self, amount: float, note: str = "", *, remembered: bool = False) -> None:
        """Add an amount of cost; `remembered` when it was looked up."""
        if self._progress is None or amount <= 0:
            return
        with self._lock:
            self._progress.advance(amount, note, remembered=remembered)


def perform(order: Order, ledger: Ledger, counter: Counter, work: Perform) -> Done:
    """Look an order up, or have it done by `work`, and count its cost once either way."""
    told = 0.0
    worked = started = False

    def advance(n: float = 1, note: str = "", *, remembered: bool = False) -> None:
        nonlocal told, started
        if not started:
            started = True
            counter.advance(order.start)
        step = min(n, order.units - told)  # a resumed training may tell less, a chatty one more
        if step > 0:
            told += step
            counter.advance(step * order.cost, note, remembered=remembered)

    def make(scratch: Path) -> Mapping[str, Path]:
        nonlocal worked
        worked = True
        return work(order, scratch, advance)

    # Blind repetition is refused where it costs: a training that said no. The rest says it again at once, in its
    # own words, which serve better than the ledger's memory of them.
    retry = order.hints.get("retry_failed", False) or order.step.kind not in COSTLY
    files = run_once(order.step, ledger, make, retry_failed=bool(retry))
    ids = ledger.outputs(order.step.key)
    rest = (order.units - told) * order.cost + (0.0 if started else order.start)
    counter.advance(rest, remembered=not worked or told > 0)
    return Done(order.step.key, files, dict(ids or {}), remembered=not worked)


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


class ProcessPool:
    """Does tasks on worker processes, one per lane."""

    def __init__(
        self,
        ledger_folder: Path,
        lanes: int,
        progress: Progress | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = ledger_folder
        self._counter = Counter(progress)
        self._workers = [
            WorkerProcess(ledger_folder, i, dict(environment or {})) for i in range(lanes)
        ]

    def run(self, tasks: Sequence[Task[T]]) -> list[T]:
        """Do the tasks on all lanes and return their results in order.

        Ctrl-C, or the first fault of any task, ends the workers and is raised when all lanes have come to rest.
        """
        desk = _Desk(tasks, len(self._workers))
        threads = [
            threading.Thread(target=self._lane, args=(i, desk), daemon=True)
            for i in range(min(len(self._workers), len(tasks)))
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

    def _lane(self, number: int, desk: _Desk[T]) -> None:
        worker = self._workers[number]

        def work(order: Order, scratch: Path, advance: Callable[..., None]) -> Mapping[str, Path]:
            if desk.stopped:
                raise CancelledError("stopped before this step began")
            return worker.perform(order, scratch, advance)

        try:
            ledger = Ledger.open(self._folder)
        except BaseException as fault:  # noqa: BLE001  raised again in the caller's thread
            desk.fail(fault)
            return

        def ask(order: Order) -> Done:
            if desk.stopped:
                raise CancelledError("stopped before this step began")
            return perform(order, ledger, self._counter, work)

        try:
            self._serve(number, desk, ask)
        finally:
            ledger.close()

    def _serve(self, number: int, desk: _Desk[T], ask: Do) -> None:
        while (position := desk.take(number)) is not None:
            try:
                desk.put(position, desk.tasks[position].chain(ask))
            except BaseException as fault:  # noqa: BLE001  raised again in the caller's thread
                first = desk.fail(fault)
                if first:  # whatever the other lanes are at, nobody will use it in this call
                    for other, worker in enumerate(self._workers):
                        if other != number:
                            worker.end()
                return


class _Desk(Generic[T]):
    """What the lanes share: which task goes to whom, results, and the first fault."""

    def __init__(self, tasks: Sequence[Task[T]], lanes: int) -> None:
        self.tasks = tasks
        self.faults: list[BaseException] = []
        self._waiting = list(range(len(tasks)))
        self._places: list[str | None] = [None] * lanes
        self._results: dict[int, Any] = {}
        self._stop = threading.Event()
        self._lock = threading.Lock()

    @property
    def stopped(self) -> bool:
        """True when no new order may begin."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Let no new order begin."""
        self._stop.set()

    def take(self, lane: int) -> int | None:
        """Give a lane its next task: of its own place if there is one, else of a place nobody is at."""
        with self._lock:
            if self.stopped or not self._waiting:
                return None
            taken = {place for i, place in enumerate(self._places) if i != lane and place}
            position = min(self._waiting, key=lambda i: (self._rank(lane, i, taken), i))
            self._waiting.remove(position)
            self._places[lane] = self.tasks[position].place or self._places[lane]
            return position

    def _rank(self, lane: int, position: int, taken: set[str]) -> int:
        place = self.tasks[position].place
        if place and place == self._places[lane]:
            return 0
        return 2 if place in taken else 1

    def put(self, position: int, result: T) -> None:
        """Keep a task's result."""
        with self._lock:
            self._results[position] = result

    def fail(self, fault: BaseException) -> bool:
        """Keep the first fault and stop; true for the first."""
        with self._lock:
            first = not self._stop.is_set()
            self._stop.set()
            if first:
                self.faults.append(fault)
            return first

    def results(self) -> list[T]:
        """All results, in the order of the tasks."""
        return [self._results[i] for i in range(len(self.tasks))]


__all__ = ["Counter", "InlinePool", "LookUpPool", "ProcessPool", "perform"]
