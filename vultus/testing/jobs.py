"""A worker whose work is known: steps that sleep, leave a file each, and are written into a diary.

`plant_python(folder)` makes an "interpreter" that runs supervisors as they are, and instead of
`vultus` does the planted work, so that a whole job costs a fraction of a CPU second:

    work FOLDER STEPS PAUSE_S [CODE] does what is not done yet; waits while FOLDER/hold is there
    say CODE                        ends with this exit code
    crash                           a traceback
    die                             kill -9 of itself, every time
    deaf FOLDER                     ignores SIGINT and SIGTERM
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import vultus
from vultus.jobs.folder import JobFolder, create
from vultus.jobs.launch import record_environment, start_supervisor
from vultus.jobs.processes import read_stats

__all__ = [
    "PATIENCE_S",
    "SOURCE",
    "diary",
    "end_all",
    "make_job",
    "note",
    "plant_python",
    "supervisor_pid",
    "wait_finished",
    "wait_until",
    "worker",
]

PATIENCE_S = 300.0
SOURCE = Path(next(iter(vultus.__path__))).parent

INTERPRETER = """#!{python} -S
import sys
sys.path[:0] = {path!r}
if sys.argv[2] == "vultus.jobs.supervisor":
    sys.argv = sys.argv[2:]
    from vultus.jobs.supervisor import main
    main()
else:
    from vultus.testing.jobs import worker
    sys.exit(worker(sys.argv[3:]))
"""


def plant_python(folder: Path) -> str:
    """Write the interpreter of planted jobs and return its path."""
    path = folder / "python"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [str(SOURCE), *[p for p in sys.path if p and Path(p).is_dir()]]
    path.write_text(INTERPRETER.format(python=sys.executable, path=lines))
    path.chmod(0o755)
    return str(path)


def worker(words: list[str]) -> int:
    """Do the planted work, as the command line would: attached, with a last word."""
    from vultus.jobs.attached import attach

    attached = attach()
    assert attached is not None
    code = 130
    lines: tuple[str, ...] = ()
    try:
        if words[0] == "work":
            _work(Path(words[1]), int(words[2]), float(words[3]))
            code = int(words[4]) if len(words) > 4 else 0
        elif words[0] == "deaf":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            note(Path(words[1]), "deaf")
            time.sleep(PATIENCE_S)
        elif words[0] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif words[0] == "crash":
            attached.say_last_word(2, crash="ZeroDivisionError: planted")
            return 1
        else:
            code, lines = int(words[1]), ("planted line",)
    except KeyboardInterrupt:
        pass
    attached.say_last_word(code, lines=lines)
    return code


def _work(folder: Path, steps: int, pause_s: float) -> None:
    from vultus.core.progress import Progress

    with Progress(steps, "planted", "steps", tty=False) as progress:
        for number in range(steps):
            place = folder / f"step-{number}"
            if not place.exists():
                note(folder, f"step {number}")
                _measure(folder)
                time.sleep(pause_s)
                while (folder / "hold").exists():
                    time.sleep(0.02)
                place.touch()
                progress.advance(1)
            else:
                progress.advance(1, remembered=True)


def _measure(folder: Path) -> None:
    """Write down what is free on each card that this worker was given, in the moment it works."""
    from vultus.jobs.cards import open_probe
    from vultus.jobs.lease import given

    if given():
        handle = os.open(folder / "free", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for uuid in given().split(","):
            os.write(handle, f"{open_probe().free_bytes(uuid)}\n".encode())
        os.close(handle)


def note(folder: Path, line: str) -> None:
    """Append a line to the diary in one call, which no kill can tear."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "diary", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, (line + "\n").encode())
    os.close(handle)


def diary(folder: Path) -> Counter[str]:
    """How often each step was begun."""
    path = folder / "diary"
    return Counter(path.read_text().splitlines()) if path.exists() else Counter()


def make_job(python: str, words: list[str], folder: Path, **more: object) -> JobFolder:
    """Make a planted job and start its supervisor."""
    folder.mkdir(parents=True, exist_ok=True)
    job = create(
        words,
        folder=folder,
        python=python,
        environment=record_environment(os.environ),
        now=time.time(),
        **more,
    )
    start_supervisor(job)
    return job


def wait_until(condition: Callable[[], bool], about: str = "it does not happen") -> None:
    """Wait for something that must come; time is only a limit here, never the measure."""
    until_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until_s, about
        time.sleep(0.02)


def wait_finished(job: JobFolder) -> str:
    """Wait for the end of a job and of its supervisor; return its phase."""
    wait_until(
        lambda: job.state.phase.is_finished and not job.has_supervisor,
        f"job {job.id}: {job.state} {job.supervisor_log.read_text()}",
    )
    return job.state.phase.value


def supervisor_pid(job: JobFolder) -> int:
    """Return the process that looks after a job."""
    wait_until(lambda: job.supervisor_lock.read_text().isdigit())
    return int(job.supervisor_lock.read_text())


def end_all(home: Path) -> None:
    """End what a test left behind: supervisors and workers of the jobs of this home, by number."""
    for path in (home / "jobs").glob("*"):
        job = JobFolder(path)
        for _ in range(3):
            state = job.state
            pids = [state.worker.pid] if state.worker else []
            if job.has_supervisor:
                pids.insert(0, supervisor_pid(job))
            for pid in pids:
                stat = next((s for s in read_stats() if s.pid == pid), None)
                if stat is not None and pid > 1:
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
            if not job.has_supervisor and not job.is_at_work:
                break
