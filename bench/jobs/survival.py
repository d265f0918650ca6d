"""The survival matrix: what is left of a training and of a sweep when something is killed.

Each trial has a terminal of its own (a pty with bash), into which one line is typed. When the work
is well under way, one thing happens to it. Judged for Vultus: the work comes to its end without
anybody's help (after a reboot: with the one line of the boot hook), and at most one step was
redone. The others (nohup, tmux, submitit) are judged more kindly: they survive if the work still
lives, or has ended well, some seconds later; whether they would start it again is never asked.
"""

from __future__ import annotations

import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.jobs.workload import OPTIMIZER_STEPS, diary, plant, prepare, sweep_attempts
from vultus.jobs.folder import JobFolder
from vultus.jobs.processes import PROC, Process, identify, read_stats, send
from vultus.tools.build import find_uv

__all__ = ["EVENTS", "LAUNCHERS", "matrix"]

EVENTS = (
    "terminal closed",
    "shell killed",
    "session TERM",
    "supervisor killed",
    "worker killed",
    "machine rebooted",
)
LAUNCHERS = ("vultus", "nohup", "tmux", "submitit")
MARK = "VULTUS_DRILL"
PATIENCE_S = 1800.0
ALIVE_AFTER_S = 5.0
SUBMITIT = "submitit==1.5.4"


@dataclass
class Scene:
    """One trial: its terminal, its command and where it works."""

    launcher: str
    kind: str
    folder: Path
    mark: str
    shell_pid: int = 0
    terminal: int = -1

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def processes(self) -> list[Process]:
        """Everything that was started in this trial, the shell included."""
        found = []
        for stat in read_stats():
            with suppress(OSError):
                raw = (PROC / str(stat.pid) / "environ").read_bytes()
                if f"{MARK}={self.mark}".encode() in raw.split(b"\0"):
                    process = identify(stat.pid)
                    if process is not None:
                        found.append(process)
        return found

    def workers(self) -> list[Process]:
        """The processes that do the work: those whose command line names this trial's folder."""
        found = []
        for process in self.processes():
            with suppress(OSError):
                words = (PROC / str(process.pid) / "cmdline").read_bytes().split(b"\0")
                at_it = b"vultus" in words and str(self.work).encode() in words
                if at_it and b"-m" in words and b"tmux" not in words[0]:
                    found.append(process)
        return found

    def done(self) -> int:
        """How far the work is, in its own steps."""
        if self.kind == "training":
            return len(diary(self.work))
        return len(sweep_attempts(self.work))

    def is_finished(self) -> bool:
        """Say whether the work has come to its end."""
        return (self.work / "finished").exists()

    def redone(self) -> int:
        """How many steps were done (or begun) more than once."""
        if self.kind == "training":
            return sum(diary(self.work).values()) - OPTIMIZER_STEPS
        return sum(count - 1 for count in sweep_attempts(self.work).values())


def matrix(
    launchers: tuple[str, ...] = LAUNCHERS,
    kinds: tuple[str, ...] = ("training", "sweep"),
    *,
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run every trial and return the table: launcher -> "kind / event" -> outcome."""
    table: dict[str, dict[str, Any]] = {}
    for launcher in launchers:
        rows: dict[str, Any] = {}
        # What is tried of the others is the launcher, not the work: the cheaper one does.
        for kind in kinds if launcher == "vultus" else ("sweep",):
            for event in EVENTS:
                rows[f"{kind} / {event}"] = row = _trial(launcher, kind, event)
                tell(f"{launcher:<9} {kind:<9} {event:<18} {row}")
        table[launcher] = rows
    return {"table": table, "survived": {name: _survived(rows) for name, rows in table.items()}}


def _survived(rows: dict[str, Any]) -> dict[str, str]:
    found = {}
    for kind in ("training", "sweep"):
        mine = [row for name, row in rows.items() if name.startswith(kind)]
        asked = [row for row in mine if row["survived"] is not None]
        if not mine:
            continue
        found[kind] = f"{sum(bool(row['survived']) for row in asked)}/{len(asked)}"
    return found


def _trial(launcher: str, kind: str, event: str) -> dict[str, Any]:
    if launcher == "tmux" and shutil.which("tmux") is None:
        return {"survived": None, "why": "tmux is not installed"}
    if event == "supervisor killed" and launcher == "nohup":
        return {"survived": None, "why": "it has no supervisor"}
    with tempfile.TemporaryDirectory(prefix="vultus-survival-") as place:
        scene = Scene(launcher, kind, Path(place), os.urandom(6).hex())
        try:
            return _played(scene, event)
        except AssertionError as fault:
            return {"survived": False, "finished": False, "redone": None, "why": str(fault)}
        finally:
            _end(scene)


def _played(scene: Scene, event: str) -> dict[str, Any]:
    _begin(scene)
    began = time.monotonic()
    at_least = 3 if scene.kind == "training" else 20
    while scene.done() < at_least:
        assert time.monotonic() < began + PATIENCE_S, "the work does not get on"
        assert not scene.is_finished(), "it was over before anything happened"
        time.sleep(0.05)
    _happen(scene, event)
    if scene.launcher != "vultus":
        return _others(scene)
    until_s = time.monotonic() + PATIENCE_S
    while not scene.is_finished() and time.monotonic() < until_s:
        time.sleep(0.2)
    redone = scene.redone()
    survived = scene.is_finished() and redone <= 1
    return {"survived": survived, "finished": scene.is_finished(), "redone": redone}


def _others(scene: Scene) -> dict[str, Any]:
    time.sleep(ALIVE_AFTER_S)
    alive = bool(scene.workers()) or scene.is_finished()
    return {"survived": alive, "finished": scene.is_finished(), "redone": None}


def _begin(scene: Scene) -> None:
    """Open a terminal with a shell in it and type one line."""
    python = plant(scene.folder / "bin")
    words = prepare(scene.kind, scene.work)
    line = _line(scene, python, words)
    environment = {
        **os.environ,
        MARK: scene.mark,
        "VULTUS_HOME": str(scene.folder / "home"),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PS1": "$ ",
        "TMUX": "",
    }
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(scene.folder)
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], environment)
    scene.shell_pid, scene.terminal = pid, terminal
    time.sleep(0.3)
    os.write(terminal, (line + "\n").encode())


def _line(scene: Scene, python: Path, words: list[str]) -> str:
    command = shlex.join([str(python), "-m", "vultus", *words])
    if scene.launcher == "vultus":
        # the drill is no command of vultus, so its job is made by what `--detach` calls
        return shlex.join([sys.executable, "-m", "bench.jobs.detach", str(python), *words])
    if scene.launcher == "nohup":
        return f"nohup {command} > out.log 2>&1 &"
    if scene.launcher == "tmux":
        return (
            f"tmux -L drill-{scene.mark} new-session -d {shlex.quote(command + ' > out.log 2>&1')}"
        )
    submit = scene.folder / "submit.py"
    submit.write_text(
        "import shlex, submitit, sys\n"
        f"executor = submitit.LocalExecutor(folder={str(scene.folder / 'submitit')!r})\n"
        "executor.update_parameters(timeout_min=60)\n"
        f"function = submitit.helpers.CommandFunction({shlex.split(command)!r})\n"
        "print(executor.submit(function).job_id)\n"
    )
    return shlex.join([str(_submitit_python()), str(submit)])


def _submitit_python() -> Path:
    """An environment with submitit, outside the project's; made once."""
    place = Path(tempfile.gettempdir()) / "vultus-bench-submitit"
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([find_uv(), "venv", "-q", str(place)], check=True)
        subprocess.run(
            [find_uv(), "pip", "install", "-q", "--python", str(python), SUBMITIT], check=True
        )
    return python


def _happen(scene: Scene, event: str) -> None:
    if event == "terminal closed":
        os.close(scene.terminal)
        scene.terminal = -1
    elif event == "shell killed":
        os.kill(scene.shell_pid, signal.SIGKILL)
        os.waitpid(scene.shell_pid, 0)
    elif event == "session TERM":
        for stat in read_stats():
            if stat.session == scene.shell_pid:
                os.kill(stat.pid, signal.SIGTERM)
    elif event == "supervisor killed":
        for process in _supervisors(scene):
            send(process, signal.SIGKILL)
    elif event == "worker killed":
        for process in scene.workers():
            if process.pid not in {one.pid for one in _supervisors(scene)}:
                send(process, signal.SIGKILL)
    else:
        _kill_everything(scene)
        if scene.launcher == "vultus":
            environment = {**os.environ, "VULTUS_HOME": str(scene.folder / "home")}
            environment[MARK] = scene.mark
            hook = [str(scene.folder / "bin" / "python"), "-m", "vultus", "jobs", "resume", "--all"]
            subprocess.run(hook, check=True, env=environment, capture_output=True)


def _supervisors(scene: Scene) -> list[Process]:
    if scene.launcher == "vultus":
        job = JobFolder(scene.folder / "home" / "jobs" / "1")
        found = identify(int(job.supervisor_lock.read_text()))
        return [found] if found else []
    words = {"tmux": b"tmux", "submitit": b"submitit.core._submit"}.get(scene.launcher)
    if words is None:
        return []
    found_all = []
    for process in scene.processes():
        with suppress(OSError):
            if words in (PROC / str(process.pid) / "cmdline").read_bytes():
                found_all.append(process)
    if scene.launcher == "submitit":
        # the controller is the parent of the process that runs the task
        return [
            p for p in found_all if any(_parent(o.pid) == p.pid for o in found_all)
        ] or found_all
    return found_all


def _parent(pid: int) -> int:
    return next((stat.parent for stat in read_stats() if stat.pid == pid), 0)


def _kill_everything(scene: Scene) -> None:
    for _ in range(20):
        left = scene.processes()
        if not left:
            return
        for process in left:
            send(process, signal.SIGKILL)
        time.sleep(0.05)


def _end(scene: Scene) -> None:
    _kill_everything(scene)
    if scene.terminal >= 0:
        os.close(scene.terminal)
    with suppress(ChildProcessError):
        os.waitpid(scene.shell_pid, 0)
