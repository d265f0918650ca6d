"""Starting a supervisor, so that nothing of the terminal it was started from is left in it.

What kills what (measured on bash under a pty): a closed terminal ends what hangs on it, `nohup` and
`disown` included when the whole session is told to end; only a session of its own, with its own log
files and without stdin, outlives all of it. That is what a supervisor gets.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from vultus.core.errors import JobError, VultusError
from vultus.core.files import disk_errors
from vultus.core.locks import Lock
from vultus.jobs.folder import JobFolder, list_jobs
from vultus.jobs.records import JobState, Phase

__all__ = ["OF_A_WORKER", "record_environment", "resume", "resume_all", "start_supervisor"]

UP_WITHIN_S = 120.0
_KEPT = (
    "CUDA_",
    "HF_",
    "LC_",
    "LD_LIBRARY_PATH",
    "MKL_",
    "NCCL_",
    "NVIDIA_",
    "OMP_",
    "PYTHON",
    "RAY_",
    "TORCH",
    "TRANSFORMERS_",
    "VULTUS_",
    "XDG_",
)
OF_A_WORKER = ("VULTUS_JOB", "VULTUS_ATTEMPT", "VULTUS_PROGRESS", "VULTUS_CARD")
"""What only the worker of one job may see: a job that is started from a job begins without them."""
_KEPT_WHOLE = {"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV"}
_SECRET = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "APIKEY")


def record_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a job is started with again after a reboot; never a secret."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if (name in _KEPT_WHOLE or name.startswith(_KEPT))
        and name not in OF_A_WORKER
        and not any(word in name.upper() for word in _SECRET)
    }


def start_supervisor(job: JobFolder) -> None:
    """Start a supervisor for a job and return when it is at work. Raises JobError when it is not.

    A supervisor that finds another one at work ends again at once, so this may be called freely.
    """
    spec = job.spec
    folder = spec.folder if Path(spec.folder).is_dir() else str(job.path)
    python = spec.python if Path(spec.python).exists() else sys.executable
    with disk_errors(job.supervisor_log), job.supervisor_log.open("ab") as log:
        first = subprocess.Popen(
            [python, "-m", "vultus.jobs.supervisor", str(job.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={
                **{name: value for name, value in os.environ.items() if name not in OF_A_WORKER},
                **spec.environment,
            },
            start_new_session=True,
        )
    first.wait()  # it forks and ends at once: the supervisor is nobody's child
    until_s = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < until_s:
        if job.has_supervisor or job.state.phase.is_finished:
            return
        time.sleep(0.02)
    raise JobError(
        f"job {job.id} did not start",
        where=str(job.supervisor_log),
        expected="a supervisor that holds its lock",
        next_command="read the log, then: vultus jobs resume " + job.id,
    )


def resume(job: JobFolder, *, now: float) -> bool:
    """Set a job going again, whatever ended it; False when it is under way already."""
    if job.has_supervisor:
        return False
    lock = Lock.take(job.supervisor_lock)
    try:
        job.stop_file.unlink(missing_ok=True)
        state = job.state
        if state.phase.is_finished:
            job.write_state(
                JobState(Phase.QUEUED, attempt=state.attempt, queued_at=now, card=state.card)
            )
    finally:
        lock.release()
    start_supervisor(job)
    return True


def resume_all() -> list[JobFolder]:
    """Set every job going again that is not finished and that nobody looks after.

    Raises JobError when some could not be started; all the others were by then.
    """
    resumed = []
    faults: list[str] = []
    for job in list_jobs():
        try:
            if not job.state.phase.is_finished and not job.has_supervisor:
                start_supervisor(job)
                resumed.append(job)
            elif job.owed_file.exists() and not job.has_supervisor:
                start_supervisor(job)  # finished, but a ComfyUI still waits for its restart
        except (VultusError, OSError) as fault:
            faults.append(f"job {job.id}: {fault}")
    if faults:
        raise JobError(
            f"{len(faults)} could not be set going ({'; '.join(faults)}); {len(resumed)} were",
            expected="jobs whose supervisor starts",
            next_command="vultus jobs list",
        )
    return resumed
