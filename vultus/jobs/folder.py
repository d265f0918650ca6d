"""One job is one folder, and this class knows every path in it.

    $VULTUS_HOME/jobs/<id>/
      spec.json, state.json, exit.json    what was asked, what became of it, the worker's last word
      progress.json                       written by the worker each second
      lock                                held while anybody works on the job (the worker inherits it)
      supervisor.lock                     held while somebody looks after it
      stop                                its being there asks the supervisor to stop the job
      owed.json                           a ComfyUI that was stopped and must come back
      out.log, supervisor.log             with .1, .2, ... when they have grown

The home is one per machine user, because the cards are: $VULTUS_HOME, else ~/.vultus. On a rented
pod it belongs on the durable disk. Only its owner can read it: environments are recorded there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vultus.core.errors import JobError
from vultus.core.files import disk_errors, write_json, write_text
from vultus.core.home import home
from vultus.core.locks import is_held
from vultus.jobs.records import Exit, JobSpec, JobState, Phase, read_json

__all__ = ["JOB_VARIABLE", "JobFolder", "create", "find", "home", "list_jobs"]

JOB_VARIABLE = "VULTUS_JOB"
"""Set for a worker: the folder of the job that it works for."""


@dataclass(frozen=True)
class JobFolder:
    """Every path of one job, and what stands in its files."""

    path: Path

    @property
    def id(self) -> str:
        """The number that a person types."""
        return self.path.name

    @property
    def lock(self) -> Path:
        """Held by whoever works on the job."""
        return self.path / "lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held by whoever looks after the job."""
        return self.path / "supervisor.lock"

    @property
    def log(self) -> Path:
        """What the command says."""
        return self.path / "out.log"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor says."""
        return self.path / "supervisor.log"

    @property
    def progress_file(self) -> Path:
        """Where the worker mirrors its progress."""
        return self.path / "progress.json"

    @property
    def stop_file(self) -> Path:
        """Its being there is the wish that the job stops."""
        return self.path / "stop"

    @property
    def owed_file(self) -> Path:
        """What a stopped ComfyUI needs to come back."""
        return self.path / "owed.json"

    @property
    def spec(self) -> JobSpec:
        """What was asked. Raises JobError when the folder holds no job."""
        table = read_json(self.path / "spec.json")
        if table is None:
            raise JobError(
                "holds no job, or a damaged one",
                where=str(self.path),
                next_command=f"rm -r '{self.path}', then start its command again",
            )
        return JobSpec.from_json(table)

    @property
    def state(self) -> JobState:
        """What became of it so far."""
        table = read_json(self.path / "state.json")
        return JobState() if table is None else JobState.from_json(table)

    def write_state(self, state: JobState) -> None:
        """Write what became of it. Only the holder of `supervisor_lock` may."""
        write_json(self.path / "state.json", state.to_json())

    def read_exit(self, attempt: int) -> Exit | None:
        """Return the last word of this attempt's worker, if it could say one."""
        table = read_json(self.path / "exit.json")
        if table is None or table.get("attempt") != attempt:
            return None
        return Exit(attempt, int(table["code"]), str(table["crash"]), tuple(table["lines"]))

    def write_exit(self, last: Exit) -> None:
        """Write the last word of a worker."""
        table = {
            "attempt": last.attempt,
            "code": last.code,
            "crash": last.crash,
            "lines": list(last.lines),
        }
        write_json(self.path / "exit.json", table)

    def progress(self) -> dict[str, Any]:
        """Return the worker's last progress, or nothing."""
        return read_json(self.progress_file) or {}

    def ask_to_stop(self, why: str) -> None:
        """Leave the wish that the job stops."""
        write_text(self.stop_file, why + "\n")

    @property
    def has_supervisor(self) -> bool:
        """True while somebody looks after the job."""
        return is_held(self.supervisor_lock)

    @property
    def is_at_work(self) -> bool:
        """True while the worker (or its supervisor) lives."""
        return is_held(self.lock)

    def standing(self) -> str:
        """Where the job stands, in one word, locks included.

        Its phase, or `unwatched` (the worker lives, its supervisor does not), or `lost` (neither
        lives, and it is not finished).
        """
        phase = self.state.phase
        if phase.is_finished or self.has_supervisor:
            return phase.value
        return "unwatched" if self.is_at_work else "lost"


def create(
    words: Sequence[str],
    *,
    folder: Path,
    python: str,
    environment: Mapping[str, str],
    now: float,
    **more: Any,
) -> JobFolder:
    """Make a job's folder with the next free number and its spec in it; nothing is started."""
    root = home() / "jobs"
    with disk_errors(root):
        home().mkdir(parents=True, exist_ok=True, mode=0o700)
        root.mkdir(exist_ok=True, mode=0o700)
        number = max((int(p.name) for p in root.iterdir() if p.name.isdigit()), default=0)
        while True:
            number += 1
            try:
                (root / str(number)).mkdir(mode=0o700)
                break
            except FileExistsError:
                continue  # somebody else was faster
    made = JobFolder(root / str(number))
    spec = JobSpec(
        id=made.id,
        words=tuple(words),
        folder=str(folder),
        python=python,
        environment=dict(environment),
        created_at=now,
        **more,
    )
    made.write_state(JobState(Phase.QUEUED, queued_at=now))
    write_json(made.path / "spec.json", spec.to_json())
    return made


def list_jobs() -> list[JobFolder]:
    """Return every job, the oldest first."""
    root = home() / "jobs"
    if not root.is_dir():
        return []
    found = [p for p in root.iterdir() if p.name.isdigit() and (p / "spec.json").is_file()]
    return [JobFolder(p) for p in sorted(found, key=lambda p: int(p.name))]


def find(name: str) -> JobFolder:
    """Return a job by its number, or `last`. Raises JobError when there is none."""
    jobs = list_jobs()
    if name == "last" and jobs:
        return jobs[-1]
    for job in jobs:
        if job.id == name:
            return job
    numbers = ", ".join(job.id for job in jobs[-8:])
    raise JobError(
        f"there is no job {name!r}",
        where=str(home() / "jobs"),
        expected=f"one of {numbers}, or last" if jobs else "a job; none was started yet",
        next_command="vultus jobs list" if jobs else "vultus run ada --detach",
    )
