"""Asked once, done once, remembered; whoever dies is known, whoever is second stays second."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from vultus.core.clock import FakeClock
from vultus.core.errors import BusyError, StoreError
from vultus.core.locks import held
from vultus.steps.step import Step
from vultus.store.ledger import Ledger
from vultus.store.records import AttemptState

STEP = Step("train", 1, {"rank": 8})
OTHER = Step("render", 1, {"lora": STEP, "strengths": [0, 0.7]})
HERE = {"machine": "test"}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / ".vultus", clock=FakeClock(1000.0)) as opened:
        yield opened


def states(ledger: Ledger, step: Step = STEP) -> list[str]:
    return [attempt.state.value for attempt in ledger.attempts(step.key)]


def done(ledger: Ledger, step: Step = STEP, data: bytes = b"weights") -> dict[str, str]:
    attempt = ledger.begin(step, HERE)
    return ledger.commit(attempt, {"lora.bin": ledger.blobs.put_bytes(data)}, 1.5)


def test_nothing_is_known_at_first(ledger: Ledger) -> None:
    assert ledger.outputs(STEP.key) is None
    assert ledger.paths(STEP.key) is None
    assert ledger.step(STEP.key) is None
    assert ledger.steps() == []
    assert ledger.attempts() == []
    assert ledger.lost() == []


def test_what_was_committed_is_found_again(tmp_path: Path, ledger: Ledger) -> None:
    outputs = done(ledger)
    ledger.close()
    with Ledger.open(tmp_path / ".vultus") as again:
        assert again.outputs(STEP.key) == outputs
        found = again.paths(STEP.key)
        assert found is not None
        assert found["lora.bin"].name == "lora.bin"
        assert found["lora.bin"].read_bytes() == b"weights"


def test_the_request_and_the_attempt_are_written_down(ledger: Ledger) -> None:
    attempt_id = ledger.begin(OTHER, HERE)
    ledger.clock.sleep(7)
    ledger.commit(attempt_id, {}, 6.5)
    record = ledger.step(OTHER.key)
    assert record is not None
    assert (record.kind, record.version, record.replicate) == ("render", 1, 0)
    assert record.inputs_json == f'{{"lora":"{STEP.key}","strengths":[0,0.7]}}'
    assert record.asked_at == 1000.0
    (attempt,) = ledger.attempts(OTHER.key)
    assert attempt.state is AttemptState.DONE
    assert attempt.environment == HERE
    assert attempt.process == os.getpid()
    assert (attempt.started_at, attempt.ended_at, attempt.seconds) == (1000.0, 1007.0, 6.5)


def test_a_step_without_outputs_can_be_done(ledger: Ledger) -> None:
    ledger.commit(ledger.begin(STEP, HERE), {}, 0.0)
    assert ledger.outputs(STEP.key) == {}


def test_steps_are_listed_by_kind_in_the_order_of_asking(ledger: Ledger) -> None:
    for n, step in enumerate((OTHER, STEP, Step("render", 1, {"n": 1}))):
        ledger.clock.sleep(n + 1)
        ledger.commit(ledger.begin(step, HERE), {}, 0.0)
    assert [s.kind for s in ledger.steps()] == ["render", "train", "render"]
    assert [s.key for s in ledger.steps("train")] == [STEP.key]


def test_the_first_commit_wins(ledger: Ledger) -> None:
    late = ledger.begin(STEP, HERE)
    blob = ledger.blobs.put_bytes(b"first")
    # Locks keep this from happening; on a disk whose locks do not work the database still does.
    with ledger._writing():
        ledger._do(
            "INSERT INTO attempt (id, step_key, state, environment, process, host, started_at)"
            " VALUES ('first', ?, 'done', '{}', 1, '', 0)",
            STEP.key,
        )
        ledger._do("INSERT INTO output VALUES (?, 'lora.bin', 'first', ?)", STEP.key, blob)
    second = ledger.commit(late, {"lora.bin": ledger.blobs.put_bytes(b"second")}, 1.0)
    assert second == ledger.outputs(STEP.key) == {"lora.bin": blob}
    assert sorted(states(ledger)) == ["cancelled", "done"]


def test_a_failed_attempt_keeps_its_log(ledger: Ledger) -> None:
    ledger.fail(ledger.begin(STEP, HERE), "Traceback …\nValueError: no", 3.0)
    (attempt,) = ledger.attempts(STEP.key)
    assert attempt.state is AttemptState.FAILED
    assert attempt.message.endswith("ValueError: no")
    assert attempt.seconds == 3.0
    assert ledger.outputs(STEP.key) is None
    done(ledger)
    assert states(ledger) == ["failed", "done"]


def test_cancelled_and_lost_are_not_failed(ledger: Ledger) -> None:
    ledger.cancel(ledger.begin(STEP, HERE), "Ctrl-C")
    ledger.lose(ledger.begin(STEP, HERE), "killed")
    assert states(ledger) == ["cancelled", "lost"]


@pytest.mark.parametrize("end", ["commit", "fail", "cancel"])
def test_an_ended_attempt_cannot_end_again(ledger: Ledger, end: str) -> None:
    attempt = ledger.begin(STEP, HERE)
    ledger.cancel(attempt, "stopped")
    with pytest.raises(StoreError, match="only a running one can end"):
        if end == "commit":
            ledger.commit(attempt, {}, 0.0)
        else:
            getattr(ledger, end)(attempt, "again")
    with pytest.raises(StoreError, match="no attempt"):
        ledger.fail("unknown", "x")
    assert states(ledger) == ["cancelled"]


def test_what_was_not_stored_cannot_be_committed(ledger: Ledger) -> None:
    attempt = ledger.begin(STEP, HERE)
    with pytest.raises(StoreError, match="was not stored"):
        ledger.commit(attempt, {"a": "sha256:" + "0" * 64}, 0.0)
    with pytest.raises(StoreError, match="was not stored"):
        ledger.commit(attempt, {"a": "/tmp/a"}, 0.0)
    with pytest.raises(ValueError, match="cannot be named"):
        ledger.commit(attempt, {"../a": ledger.blobs.put_bytes(b"")}, 0.0)
    assert states(ledger) == ["running"]


def test_one_step_has_one_worker(tmp_path: Path, ledger: Ledger) -> None:
    attempt = ledger.begin(STEP, HERE)
    with Ledger.open(tmp_path / ".vultus") as other:
        with pytest.raises(BusyError):
            other.begin(STEP, HERE)
        other.commit(other.begin(OTHER, HERE), {}, 0.0)  # another step is free
        assert other.lost() == []
    with pytest.raises(RuntimeError, match="asks for itself"):
        ledger.begin(STEP, HERE, blocking=True)
    ledger.commit(attempt, {}, 0.0)
    assert states(ledger) == ["done"]


DIES = """
import os, signal, sys
from pathlib import Path
from vultus.steps.step import Step
from vultus.store.ledger import Ledger
ledger = Ledger.open(Path(sys.argv[1]))
ledger.begin(Step("train", 1, {"rank": 8}), {})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_attempt_is_lost_and_done_again(tmp_path: Path, ledger: Ledger) -> None:
    words = [sys.executable, "-c", DIES, str(tmp_path / ".vultus")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(words, check=False, env=env).returncode == -signal.SIGKILL
    assert states(ledger) == ["running"]
    (gone,) = ledger.lost()
    assert gone.state is AttemptState.LOST
    assert ledger.lost() == []
    assert subprocess.run(words, check=False, env=env).returncode == -signal.SIGKILL
    done(ledger)
    assert states(ledger) == ["lost", "lost", "done"]


def test_opening_notes_who_was_lost(tmp_path: Path) -> None:
    words = [sys.executable, "-c", DIES, str(tmp_path / ".vultus")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(words, check=False, env=env)
    with Ledger.open(tmp_path / ".vultus") as opened:
        assert states(opened) == ["lost"]


def test_closing_frees_what_was_being_done(tmp_path: Path, ledger: Ledger) -> None:
    ledger.begin(STEP, HERE)
    ledger.close()
    with Ledger.open(tmp_path / ".vultus") as again:
        assert states(again) == ["lost"]


def test_a_forked_child_has_its_own_connection_and_none_of_the_locks(
    tmp_path: Path, ledger: Ledger
) -> None:
    attempt = ledger.begin(STEP, HERE)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            ledger.commit(ledger.begin(OTHER, HERE), {}, 0.0)
            try:
                ledger.begin(STEP, HERE)
            except BusyError:
                ledger.close()
                code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert ledger.outputs(OTHER.key) == {}
    with Ledger.open(tmp_path / ".vultus") as other, pytest.raises(BusyError):
        other.begin(STEP, HERE)
    ledger.commit(attempt, {}, 0.0)


def test_a_child_that_only_closes_takes_nothing_from_its_parent(
    tmp_path: Path, ledger: Ledger
) -> None:
    attempt = ledger.begin(STEP, HERE)
    child = os.fork()
    if child == 0:
        ledger.close()
        os._exit(0)
    os.waitpid(child, 0)
    with Ledger.open(tmp_path / ".vultus") as other, pytest.raises(BusyError):
        other.begin(STEP, HERE)
    ledger.commit(attempt, {}, 0.0)


def test_many_threads_with_a_ledger_each_write_side_by_side(tmp_path: Path) -> None:
    folder = tmp_path / ".vultus"
    faults: list[BaseException] = []

    def lane(number: int) -> None:
        try:
            with Ledger.open(folder) as mine:
                for n in range(5):
                    step = Step("render", 1, {"lane": number, "n": n})
                    mine.commit(mine.begin(step, HERE), {}, 0.0)
        except BaseException as fault:  # noqa: BLE001 (shown by the assertion below)
            faults.append(fault)

    threads = [threading.Thread(target=lane, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with Ledger.open(folder) as ledger:
        assert len(ledger.steps()) == 20
        assert {a.state for a in ledger.attempts()} == {AttemptState.DONE}


def test_scratch_is_the_same_for_every_attempt_and_goes_with_the_step(
    tmp_path: Path, ledger: Ledger
) -> None:
    place = ledger.scratch(STEP.key)
    (place / "state").write_text("half")
    assert (ledger.scratch(STEP.key) / "state").read_text() == "half"
    done(ledger)
    open_one = ledger.scratch(OTHER.key)
    ledger.close()
    with Ledger.open(tmp_path / ".vultus") as again:
        assert not place.exists(), "a finished step's scratch goes when the ledger is opened"
        assert open_one.exists()
        again.drop_scratch(OTHER.key)
        assert not open_one.exists()


def test_views_that_were_removed_are_made_again(ledger: Ledger) -> None:
    done(ledger)
    first = ledger.paths(STEP.key)
    assert first is not None
    first["lora.bin"].unlink()
    again = ledger.paths(STEP.key)
    assert again == first
    assert first["lora.bin"].read_bytes() == b"weights"


def test_sweeping_keeps_what_any_step_refers_to(tmp_path: Path, ledger: Ledger) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"picture")
    tree = ledger.blobs.put_folder(tmp_path / "in")
    asked = Step("train", 2, {"dataset": tree, "deep": [{"id": ledger.blobs.put_bytes(b"base")}]})
    ledger.fail(ledger.begin(asked, HERE), "no")
    done(ledger)
    ledger.blobs.put_bytes(b"nobody's")
    before = len(ledger.blobs.names())
    attempt = ledger.begin(OTHER, HERE)
    with pytest.raises(BusyError):
        ledger.sweep()
    ledger.cancel(attempt, "")
    with held(ledger.folder / "locks" / "run"), pytest.raises(BusyError):
        ledger.sweep()  # between two orders a run holds no writer's lock
    assert ledger.sweep() == 1
    assert len(ledger.blobs.names()) == before - 1
    assert ledger.blobs.has(tree)
    assert ledger.paths(STEP.key) is not None


def test_the_lock_file_of_a_finished_attempt_is_gone(ledger: Ledger) -> None:
    done(ledger)
    assert [p.name for p in (ledger.folder / "locks").iterdir()] == ["writers"]


def test_a_commit_cannot_fall_between_two_questions(ledger: Ledger) -> None:
    """Whether a step is done and what it gave is one question: else it can look done and empty."""
    asked: list[str] = []

    class Watched(Ledger):
        def rows(self, sql: str, *values: object) -> Sequence[sqlite3.Row]:
            asked.append(sql)
            return super().rows(sql, *values)

    attempt_id = ledger.begin(OTHER, HERE)
    ledger.commit(attempt_id, {}, 1.0)
    watched = Watched.open(ledger.folder)
    asked.clear()
    assert watched.outputs(OTHER.key) == {}
    assert watched.outputs(STEP.key) is None
    watched.close()
    assert len(asked) == 2
