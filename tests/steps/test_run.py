"""Work is done once; whatever breaks is written down, and only what may be repeated is."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from vultus.core.clock import FakeClock
from vultus.core.errors import (
    CancelledError,
    DatasetError,
    DiskError,
    StepError,
    VultusError,
    WorkerLostError,
)
from vultus.core.files import write_text
from vultus.steps.run import Work, is_done, run_once
from vultus.steps.step import Step
from vultus.store.ledger import Ledger

STEP = Step("train", 1, {"rank": 8})
HERE = {"machine": "test"}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / ".vultus", clock=FakeClock()) as opened:
        yield opened


class Worker:
    """Work with planted behaviour; counts how often it was done."""

    def __init__(self, *faults: BaseException | None) -> None:
        self.faults = list(faults)
        self.times = 0

    def __call__(self, scratch: Path) -> Mapping[str, Path]:
        self.times += 1
        (scratch / "lora.bin").write_bytes(b"weights")
        write_text(scratch / "previews" / "a" / "1.txt", "one")
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        return {"lora.bin": scratch / "lora.bin", "previews": scratch / "previews"}


def run(ledger: Ledger, work: Work, **options: bool) -> dict[str, Path]:
    return run_once(STEP, ledger, work, environment=HERE, **options)  # type: ignore[arg-type]


def states(ledger: Ledger) -> list[str]:
    return [attempt.state.value for attempt in ledger.attempts(STEP.key)]


def test_work_is_done_once_and_then_remembered(ledger: Ledger) -> None:
    worker = Worker()
    assert not is_done(STEP, ledger)
    first = run(ledger, worker)
    assert is_done(STEP, ledger)
    assert run(ledger, worker) == first
    assert worker.times == 1
    assert first["lora.bin"].read_bytes() == b"weights"
    assert (first["previews"] / "a" / "1.txt").read_text() == "one"
    assert states(ledger) == ["done"]


def test_outputs_outlive_the_scratch(ledger: Ledger) -> None:
    made = run(ledger, Worker())
    assert not (ledger.folder / "scratch" / STEP.key).exists()
    assert all(path.exists() for path in made.values())
    assert all(path.name == name for name, path in made.items())


def test_the_next_attempt_finds_what_the_last_one_saved_but_no_torn_draft(ledger: Ledger) -> None:
    seen: list[list[str]] = []

    def work(scratch: Path) -> Mapping[str, Path]:
        seen.append(sorted(p.name for p in scratch.rglob("*")))
        write_text(scratch / "state", "round 3")
        if len(seen) == 1:
            (scratch / ".a.0123.staged.bin").write_text("as a killed writer leaves it")
            raise KeyboardInterrupt
        return {"state": scratch / "state"}

    with pytest.raises(KeyboardInterrupt):
        run(ledger, work)
    run(ledger, work)
    assert seen == [[], ["state"]]
    assert states(ledger) == ["cancelled", "done"]


@pytest.mark.parametrize(
    ("fault", "raised", "state"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt, "cancelled"),
        (SystemExit(3), SystemExit, "cancelled"),
        (CancelledError("budget spent"), CancelledError, "cancelled"),
        (DiskError("the disk is full"), DiskError, "cancelled"),
        (OSError(28, "No space left on device"), DiskError, "cancelled"),
        (WorkerLostError("killed by signal 9"), WorkerLostError, "lost"),
    ],
    ids=lambda v: getattr(v, "__name__", None) or repr(v),
)
def test_what_was_stopped_from_outside_is_simply_done_again(
    ledger: Ledger, fault: BaseException, raised: type[BaseException], state: str
) -> None:
    worker = Worker(fault)
    with pytest.raises(raised):
        run(ledger, worker)
    assert states(ledger) == [state]
    assert run(ledger, worker)["lora.bin"].read_bytes() == b"weights"
    assert states(ledger) == [state, "done"]
    assert worker.times == 2


@pytest.mark.parametrize(
    ("fault", "raised"),
    [(DatasetError("too few"), DatasetError), (ValueError("no"), StepError)],
    ids=["ours", "foreign"],
)
def test_what_said_no_is_shown_and_not_repeated_blindly(
    ledger: Ledger, fault: Exception, raised: type[VultusError]
) -> None:
    worker = Worker(fault)
    with pytest.raises(raised):
        run(ledger, worker)
    (attempt,) = ledger.attempts(STEP.key)
    assert attempt.state.value == "failed"
    assert "Traceback" in attempt.message
    with pytest.raises(StepError, match="failed before and nothing has changed") as caught:
        run(ledger, worker)
    assert str(fault) in caught.value.what
    assert "--retry-failed" in caught.value.next_command
    assert worker.times == 1
    run(ledger, worker, retry_failed=True)
    assert states(ledger) == ["failed", "done"]


def test_a_foreign_fault_is_named_and_keeps_its_cause(ledger: Ledger) -> None:
    with pytest.raises(StepError, match="'train' failed: ValueError: odd tensor") as caught:
        run(ledger, Worker(ValueError("odd tensor")))
    assert isinstance(caught.value.__cause__, ValueError)


def test_in_another_environment_a_retry_is_not_blind(ledger: Ledger) -> None:
    worker = Worker(ValueError("no"))
    with pytest.raises(StepError):
        run(ledger, worker)
    run_once(STEP, ledger, worker, environment={"machine": "mended"})
    assert states(ledger) == ["failed", "done"]


def test_a_stop_between_does_not_make_a_failure_forgotten(ledger: Ledger) -> None:
    worker = Worker(ValueError("no"), KeyboardInterrupt())
    with pytest.raises(StepError):
        run(ledger, worker)
    with pytest.raises(KeyboardInterrupt):
        run(ledger, worker, retry_failed=True)
    with pytest.raises(StepError, match="failed before"):
        run(ledger, worker)


@pytest.mark.parametrize("where", ["missing", "outside"])
def test_outputs_lie_in_the_scratch_and_exist(ledger: Ledger, tmp_path: Path, where: str) -> None:
    (tmp_path / "outside").write_text("x")

    def work(scratch: Path) -> Mapping[str, Path]:
        return {"a": scratch / "missing" if where == "missing" else tmp_path / "outside"}

    with pytest.raises(StepError, match=r"is not there|lies outside"):
        run(ledger, work)
    assert states(ledger) == ["failed"]


def test_a_step_that_asks_for_itself_is_our_mistake_and_hangs_nothing(ledger: Ledger) -> None:
    def work(scratch: Path) -> Mapping[str, Path]:
        return run(ledger, work)

    with pytest.raises(StepError, match="asks for itself"):
        run(ledger, work)
    assert states(ledger) == ["failed"]


def test_when_even_the_note_fails_the_fault_is_told_and_the_step_is_free(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise DiskError("the disk is full")

    monkeypatch.setattr(ledger, "_end", full)
    with pytest.raises(DatasetError, match="too few"):
        run(ledger, Worker(DatasetError("too few")))
    monkeypatch.undo()
    assert states(ledger) == ["running"]
    run(ledger, Worker())
    assert states(ledger) == ["lost", "done"]


def test_two_at_the_same_step_share_one_work(tmp_path: Path) -> None:
    inside, go_on = threading.Event(), threading.Event()
    worker = Worker()
    made: dict[str, dict[str, Path]] = {}

    def slow(scratch: Path) -> Mapping[str, Path]:
        inside.set()
        go_on.wait()
        return worker(scratch)

    def lane(name: str, work: Work) -> None:
        with Ledger.open(tmp_path / ".vultus") as mine:
            made[name] = run(mine, work)

    first = threading.Thread(target=lane, args=("first", slow))
    first.start()
    inside.wait()
    second = threading.Thread(target=lane, args=("second", worker))
    second.start()
    go_on.set()
    first.join()
    second.join()
    assert worker.times == 1
    assert made["first"] == made["second"]
    with Ledger.open(tmp_path / ".vultus") as ledger:
        assert states(ledger).count("done") == 1
        assert set(states(ledger)) <= {"done", "cancelled"}


def test_without_being_told_the_environment_is_looked_up(ledger: Ledger) -> None:
    run_once(STEP, ledger, Worker())
    (attempt,) = ledger.attempts(STEP.key)
    assert "python" in attempt.environment
    assert attempt.process == os.getpid()
