"""The worker's side of a job: it says how far it is, leaves a last word, and watches its watcher.

The command line calls `attach` when the environment says that it works for a job. A supervisor that
was killed is replaced within seconds: the worker starts a new one, which adopts it.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from vultus.core.errors import VultusError
from vultus.core.files import write_json
from vultus.core.log import logger
from vultus.core.progress import mirror_to
from vultus.jobs.folder import JOB_VARIABLE, JobFolder
from vultus.jobs.launch import start_supervisor
from vultus.jobs.processes import this_process
from vultus.jobs.records import Exit

__all__ = ["ATTEMPT_VARIABLE", "PROGRESS_VARIABLE", "Attached", "attach"]

ATTEMPT_VARIABLE = "VULTUS_ATTEMPT"
PROGRESS_VARIABLE = "VULTUS_PROGRESS"
"""Set by a plan for its commands: the file they mirror their progress to."""
LOOK_EVERY_S = 1.0


class Attached:
    """One attempt at one job, seen from inside."""

    def __init__(self, job: JobFolder, attempt: int) -> None:
        self.job = job
        self.attempt = attempt
        self._over = threading.Event()

    def watch(self) -> None:
        """Look after the supervisor from a thread until the command is over."""
        threading.Thread(target=self._look, daemon=True).start()

    def say_last_word(self, code: int, *, crash: str = "", lines: tuple[str, ...] = ()) -> None:
        """Write how the command ended; a full disk must not turn that into another fault.

        Somebody must be there to read it: the card is to be given back, and a ComfyUI with it.
        """
        self._over.set()
        try:
            self.job.write_exit(Exit(self.attempt, code, crash, lines))
        except (VultusError, ValueError) as fault:
            logger(__name__).warning("the end of job %s could not be noted: %s", self.job.id, fault)
        self._replace()

    def _look(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            if not self.job.state.phase.is_finished:
                self._replace()

    def _replace(self) -> None:
        """Start a supervisor where the one that there was has died."""
        if self.job.has_supervisor:
            return
        try:
            start_supervisor(self.job)
        except (VultusError, OSError) as fault:
            logger(__name__).warning("no new supervisor for job %s: %s", self.job.id, fault)


def attach() -> Attached | None:
    """Take up the job that the environment names, if it names one.

    The variable is taken out of the environment: what this command starts is not the worker.
    """
    folder = os.environ.pop(JOB_VARIABLE, "")
    if not folder:
        mirror = os.environ.get(PROGRESS_VARIABLE, "")
        if mirror:
            mirror_to(Path(mirror))
        return None
    job = JobFolder(Path(folder))
    attached = Attached(job, int(os.environ.pop(ATTEMPT_VARIABLE, "1")))
    write_json(job.path / "worker.json", {"attempt": attached.attempt, **this_process().to_json()})
    mirror_to(job.progress_file)
    os.environ[PROGRESS_VARIABLE] = str(job.progress_file)
    attached.watch()
    return attached
