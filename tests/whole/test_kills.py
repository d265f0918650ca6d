"""Ctrl-C and kill -9 in the middle of a run: nothing is done twice, nothing is torn, no worker stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from vultus.core.errors import BusyError
from vultus.core.locks import Lock
from vultus.steps.worker_process import WORKERS_LOCK
from vultus.store.ledger import Ledger
from vultus.testing.planted import make_workspace

PATIENCE_S = 300.0


def _start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "vultus", "run", str(folder), "--json", "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal's Ctrl-C reaches the whole group, and only this one
    )


def _done(folder: Path) -> Counter[str]:
    """How often each step was finished, by key."""
    if not (folder / ".vultus" / "ledger.sqlite").exists():
        return Counter()
    with Ledger.open(folder / ".vultus") as ledger:
        return Counter(a.step_key for a in ledger.attempts() if a.state.value == "done")


def _wait_for(folder: Path, steps: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while sum(_done(folder).values()) < steps:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run does not get on"
        time.sleep(0.05)


def _workers_gone(folder: Path) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            Lock.take(folder / ".vultus" / WORKERS_LOCK).release()
        except BusyError:
            time.sleep(0.05)
        else:
            return True
    return False


def _finish(folder: Path) -> dict[str, object]:
    process = _start(folder)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (0, 1), err
    said = json.loads(out)
    assert isinstance(said, dict)
    return said


def _comparable(said: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in said.items() if key not in ("seconds", "lora", "report")}


@pytest.mark.slow
def test_killed_and_stopped_it_goes_on_where_it_was(tmp_path: Path) -> None:
    smooth = make_workspace(tmp_path / "smooth", pictures=18)
    rough = make_workspace(tmp_path / "rough", pictures=18)
    expected = _finish(smooth)

    stops = 0
    for steps, number in ((1, signal.SIGKILL), (4, signal.SIGINT), (12, signal.SIGKILL)):
        process = _start(rough)
        _wait_for(rough, steps, process)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.kill()
        _, err = process.communicate(timeout=PATIENCE_S)
        if number == signal.SIGINT:
            assert process.returncode == 130, err
            assert "resume with: vultus run" in err
            assert "Traceback" not in err
        assert _workers_gone(rough), "a worker outlived its run"
        stops += 1
    assert stops == 3

    said = _finish(rough)
    assert _comparable(said) == _comparable(expected)
    done = _done(rough)
    assert set(done) == set(_done(smooth)), "the same questions were asked"
    assert len(done) > 60 and set(done.values()) == {1}, "a step was finished twice"
    with Ledger.open(rough / ".vultus") as ledger:
        assert ledger.blobs.verify() == []
        states = Counter(attempt.state.value for attempt in ledger.attempts())
    assert states["running"] == 0 and states["failed"] == 0


@pytest.mark.slow
def test_a_second_run_in_the_same_workspace_is_refused(tmp_path: Path) -> None:
    folder = make_workspace(tmp_path / "ada", pictures=18)
    first = _start(folder)
    _wait_for(folder, 1, first)
    second = _start(folder)
    _, err = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 2 and "another process is at work here" in err
    os.killpg(first.pid, signal.SIGINT)
    first.communicate(timeout=PATIENCE_S)
