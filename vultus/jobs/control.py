"""What a person does with jobs from outside: look, stop, and see how long it will take.

Nothing here talks to a supervisor; both sides read and write the job's folder.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from vultus.core.clock import Clock, SystemClock
from vultus.core.errors import BusyError, JobError
from vultus.core.locks import Lock
from vultus.jobs.events import announce
from vultus.jobs.folder import JobFolder, create
from vultus.jobs.handover import debts
from vultus.jobs.launch import record_environment, start_supervisor
from vultus.jobs.processes import Process, end_family, is_alive
from vultus.jobs.records import Limits, Phase, read_json
from vultus.jobs.settings import JobsSpec

__all__ = ["describe", "detach", "limits_of", "stop"]

STOPPED_WITHIN_S = 60.0
POLL_S = 0.1


def detach(
    words: list[str],
    *,
    python: str,
    card: str,
    comfyui: str,
    limits: Limits,
    clock: Clock | None = None,
) -> JobFolder:
    """Make a job of a command line and start its supervisor. Raises JobError when it does not start."""
    job = create(
        words,
        folder=Path.cwd(),
        python=python,
        environment=record_environment(os.environ),
        now=(clock or SystemClock()).now(),
        card=card,
        comfyui=comfyui,
        limits=limits,
        machine={"cores": len(os.sched_getaffinity(0)), "system": platform.platform()},
    )
    start_supervisor(job)
    return job


def limits_of(settings: JobsSpec, *, deadline_h: float | None, now: float) -> Limits:
    """Return the limits of a job that is made now."""
    guards = settings.guards
    hours = guards.deadline_h if deadline_h is None else deadline_h
    return Limits(
        deadline_at=now + 3600 * hours if hours > 0 else None,
        disk_free_min_gib=guards.disk_free_min_gib,
        balance_min=guards.balance_min if guards.balance_command else None,
        balance_command=guards.balance_command,
        restarts_max=guards.restarts_max,
    )


def stop(job: JobFolder, why: str, *, clock: Clock | None = None) -> None:
    """Stop a job and return when it stands still. Raises JobError when it does not.

    Its supervisor does it; where none lives, the recorded worker is ended from here, by its number
    and start time.
    """
    watch = clock or SystemClock()
    if job.state.phase.is_finished:
        return
    job.ask_to_stop(why)
    until_s = watch.monotonic() + STOPPED_WITHIN_S
    while not job.state.phase.is_finished:
        if not job.has_supervisor:
            try:
                lock = Lock.take(job.supervisor_lock)
            except BusyError:
                continue  # one has just come up; it will see the wish
            try:
                _end_from_here(job, why, watch)
            finally:
                lock.release()
            return
        if watch.monotonic() > until_s:
            raise JobError(
                f"job {job.id} does not stop",
                where=str(job.supervisor_log),
                expected=f"a job that stands still within {STOPPED_WITHIN_S:g} s",
                next_command=f"vultus jobs show {job.id}",
            )
        watch.sleep(POLL_S)


def _end_from_here(job: JobFolder, why: str, clock: Clock) -> None:
    told = read_json(job.path / "worker.json") or {}
    recorded = [job.state.worker, Process.from_json(told) if "pid" in told else None]
    for worker in recorded:
        if worker is not None and is_alive(worker):
            end_family(worker, whole_session=True, clock=clock)
    job.write_state(
        job.state.changed(phase=Phase.STOPPED, reason=why, worker=None, ended_at=clock.now())
    )
    job.stop_file.unlink(missing_ok=True)
    announce(job, "stopped", why)


def describe(job: JobFolder, *, now: float) -> dict[str, Any]:
    """Return everything about a job as plain data, for people and for `--json`."""
    spec, state = job.spec, job.state
    progress = job.progress()
    standing = job.standing()
    return {
        "id": job.id,
        "command": ["vultus", *spec.words],
        "standing": standing,
        "folder": spec.folder,
        "attempt": state.attempt,
        "reason": state.reason,
        "exit_code": state.exit_code,
        "card": state.card or spec.card,
        "comfyui": spec.comfyui if spec.card else "",
        "owed": [one.url for one in debts(job.owed_file)],
        "created_at": spec.created_at,
        "started_at": state.started_at,
        "ended_at": state.ended_at,
        "seconds": (state.ended_at or now) - (state.started_at or spec.created_at),
        "deadline_at": spec.limits.deadline_at,
        "worker": None if state.worker is None else state.worker.pid,
        "progress": {
            key: progress.get(key)
            for key in ("fraction", "stage", "done", "total", "seconds_left", "line", "at")
        }
        if progress
        else None,
        "log": str(job.log),
    }
