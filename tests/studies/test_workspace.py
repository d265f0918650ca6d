"""A workspace tells the faults of both its files at once and holds one run at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vultus.core.errors import BusyError, SpecError
from vultus.core.locks import Lock
from vultus.steps.worker_process import WORKERS_LOCK
from vultus.studies.workspace import Workspace
from vultus.testing.planted import PERSONA_TOML, PLAN_TOML


def test_faults_of_both_files_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "persona.toml").write_text(PERSONA_TOML + "\nage = 30\n", encoding="utf-8")
    (tmp_path / "vultus.toml").write_text(
        PLAN_TOML.replace("STEPS", "0") + '\n[gate]\nm10 = "high"\n', encoding="utf-8"
    )
    with pytest.raises(SpecError) as caught:
        Workspace(tmp_path).load()
    told = [fault.line() for fault in caught.value.faults]
    assert len(told) == 3, told
    assert sum("persona.toml" in line for line in told) == 1


def test_a_folder_that_is_no_workspace_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        Workspace(tmp_path).load()
    assert len(caught.value.faults) == 2
    assert "vultus init" in "\n".join(caught.value.lines())


def test_two_runs_in_one_workspace_do_not_meet(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with workspace.at_work(), pytest.raises(BusyError), workspace.at_work():
        raise AssertionError("both runs began")
    with workspace.at_work():
        pass


def test_a_leftover_worker_is_waited_for(tmp_path: Path) -> None:
    """A worker of a killed run still holds its lock: the next run begins when it is gone, not before."""
    lock = tmp_path / ".vultus" / WORKERS_LOCK
    hold = (
        "import sys, pathlib; from vultus.core.locks import held\n"
        "with held(pathlib.Path(sys.argv[1]), shared=True):\n"
        "    print('held', flush=True); sys.stdin.readline()\n"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", hold, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert worker.stdout is not None and worker.stdin is not None
        assert worker.stdout.readline() == "held\n"
        with pytest.raises(BusyError):
            Lock.take(lock)
        worker.stdin.close()  # it goes now, at its own pace
        with Workspace(tmp_path).at_work():
            Lock.take(lock).release()
    finally:
        worker.kill()
        worker.wait()
