"""Both pools pass the public exam; a worker that dies or crashes is told in words."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from vultus.core.errors import DatasetError, NoPlaceError, StepError, WorkerLostError
from vultus.core.progress import Progress
from vultus.steps.orders import Order, Task, step_of
from vultus.steps.pools import (
    LOST_TRIES,
    Counter,
    InlinePool,
    LanePool,
    ProcessPool,
    perform,
)
from vultus.steps.worker import pack_fault, unpack_fault
from vultus.store.ledger import Ledger
from vultus.testing.planted import make_base, make_pack
from vultus.testing.pool import check_pool

SPEC = {
    "steps": 1,
    "guidance": 1.0,
    "width_px": 64,
    "height_px": 64,
    "scheduler": "ddim",
    "negative": "",
    "precision": "auto",
}


def _render(base: Path, number: int, strength: float = 0.0) -> Order:
    inputs = {
        "renderer": "fake",
        "base": "sha256:" + "0" * 64,
        "lora": "",
        "strength": strength,
        "spec": SPEC,
        "blocks": [[f"photo {number}", number]],
    }
    return Order(
        step_of("render", inputs),
        {"base": base, "lora": base / "nothing.safetensors"},
        {},
        1.0,
        2.0,
    )


def _bad(base: Path) -> Order:
    return _render(base, 7, strength=1.0)  # its LoRA does not exist


@pytest.mark.parametrize("kind", ["inline", "processes"])
def test_pools_pass_the_exam(tmp_path: Path, kind: str) -> None:
    base = make_base(tmp_path / "base")
    make_pack(tmp_path / "pack")
    orders = [_render(base, i) for i in range(5)]

    def make() -> InlinePool | ProcessPool:
        folder = tmp_path / ".vultus"
        return InlinePool(folder) if kind == "inline" else ProcessPool(folder, 2)

    check_pool(make, orders, _bad(base))


def test_progress_counts_every_order_once(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    orders = [_render(base, i) for i in range(4)]
    for remembered in (False, True):
        progress = Progress(8.0, "run", out=io.StringIO(), tty=False)
        pool = InlinePool(tmp_path / ".vultus", progress)
        done = pool.run([Task(lambda do, order=order: do(order)) for order in orders])  # type: ignore[misc]
        pool.close()
        assert [one.remembered for one in done] == [remembered] * 4
        assert progress.done == pytest.approx(8.0)


def test_a_worker_that_dies_is_a_retry(tmp_path: Path) -> None:
    """Killed from outside (out of memory): written down as lost, and done again by a new worker."""
    base = make_base(tmp_path / "base")
    pool = ProcessPool(tmp_path / ".vultus", 1)
    pool.run([Task(lambda do: do(_render(base, 1)))])
    pid = pool.worker_pids()[0]
    os.kill(pid, signal.SIGSTOP)  # it can neither answer nor be asked before it dies
    threading.Timer(0.5, os.kill, (pid, signal.SIGKILL)).start()
    done = pool.run([Task(lambda do: do(_render(base, 2)))])[0]
    assert pool.worker_pids() != [pid]
    pool.close()
    with Ledger.open(tmp_path / ".vultus") as ledger:
        states = [attempt.state.value for attempt in ledger.attempts(done.key)]
        message = ledger.attempts(done.key)[0].message
    assert states == ["lost", "done"]
    assert "died: signal 9" in message and "worker-0.log" in message


class _Mortal:
    """A lane's worker that dies on every order, or finds no place."""

    pid = None

    def __init__(self, fault: Exception) -> None:
        self.fault = fault
        self.asked = 0

    def perform(
        self, order: Order, scratch: Path, advance: Callable[..., None]
    ) -> Mapping[str, Path]:
        self.asked += 1
        raise self.fault

    def end(self) -> None:
        """Nothing to end."""


class _Able(_Mortal):
    def perform(
        self, order: Order, scratch: Path, advance: Callable[..., None]
    ) -> Mapping[str, Path]:
        self.asked += 1
        (scratch / "out.txt").write_text(order.step.key)
        return {"out.txt": scratch / "out.txt"}


def test_an_order_that_kills_every_worker_is_told_in_the_end(tmp_path: Path) -> None:
    worker = _Mortal(WorkerLostError("out of memory"))
    pool = LanePool(tmp_path / ".vultus", [worker])
    order = Order(step_of("render", {"blocks": []}))
    with pytest.raises(WorkerLostError):
        pool.run([Task(lambda do: do(order))])
    assert worker.asked == LOST_TRIES


class _Slow(_Mortal):
    """Dies at every attempt, each a unit further than the last, as a training does that goes on from its state."""

    def perform(
        self, order: Order, scratch: Path, advance: Callable[..., None]
    ) -> Mapping[str, Path]:
        self.asked += 1
        advance(self.asked - 1, "resumed", remembered=True)
        advance(1)
        if self.asked < order.units:
            raise self.fault
        (scratch / "out.txt").write_text("done")
        return {"out.txt": scratch / "out.txt"}


def test_an_order_that_gets_on_may_lose_any_number_of_workers(tmp_path: Path) -> None:
    worker = _Slow(WorkerLostError("killed"))
    progress = Progress(3 * LOST_TRIES, "run", quiet=True)
    pool = LanePool(tmp_path / ".vultus", [worker], progress)
    order = Order(step_of("train", {"steps": 1}), units=3 * LOST_TRIES)
    (done,) = pool.run([Task(lambda do: do(order))])
    assert done.files["out.txt"].read_text() == "done"
    assert worker.asked == 3 * LOST_TRIES
    assert progress.done == 3 * LOST_TRIES  # what was told again counts once


def test_a_lane_without_a_place_gives_its_work_to_the_others(tmp_path: Path) -> None:
    homeless, able = _Mortal(NoPlaceError("no node")), _Able(NoPlaceError("unused"))
    orders = [Order(step_of("render", {"blocks": [], "n": n})) for n in range(12)]
    pool = LanePool(tmp_path / ".vultus", [homeless, able])
    done = pool.run([Task(lambda do, order=order: do(order)) for order in orders])  # type: ignore[misc]
    assert [one.key for one in done] == [order.step.key for order in orders]
    assert homeless.asked == 1 and able.asked == 12
    alone = LanePool(tmp_path / ".vultus2", [homeless])
    with pytest.raises(NoPlaceError):
        alone.run([Task(lambda do: do(orders[0]))])


def test_a_crash_in_a_worker_names_its_log(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    broken = Order(step_of("render", {"renderer": "fake"}), {"base": base})
    pool = ProcessPool(tmp_path / ".vultus", 1)
    with pytest.raises(StepError) as caught:
        pool.run([Task(lambda do: do(broken))])
    pool.close()
    assert "crashed" in caught.value.what
    assert "Traceback" in (tmp_path / ".vultus" / "logs" / "worker-0.log").read_text(
        encoding="utf-8"
    )


def test_faults_survive_the_pipe() -> None:
    fault = DatasetError("what", where="where", expected="expected", next_command="next")
    again = unpack_fault(pack_fault(fault))
    assert type(again) is DatasetError and again.lines() == fault.lines()


def test_steps_of_a_killed_attempt_do_not_count_as_speed(tmp_path: Path) -> None:
    """What a resumed training says it had done before reaches the progress line as remembered."""
    heard: list[tuple[float, bool]] = []

    class _Counter(Counter):
        def advance(
            self, amount: float, note: str = "", *, remembered: bool = False, pace: str = ""
        ) -> None:
            heard.append((amount, remembered))

    def work(order: Order, scratch: Path, advance: Callable[..., None]) -> Mapping[str, Path]:
        advance(3, remembered=True)
        advance(1)
        (scratch / "out.txt").write_text("done")
        return {"out.txt": scratch / "out.txt"}

    order = Order(step_of("render", {"blocks": []}), units=4.0, cost=2.0)
    with Ledger.open(tmp_path / ".vultus") as ledger:
        perform(order, ledger, _Counter(None), work)
    assert [one for one in heard if one[0] > 0] == [(6.0, True), (2.0, False)]
