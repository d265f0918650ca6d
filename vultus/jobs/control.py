"""What a person does with jobs from outside: look, stop, and see how long it will take.

Nothing here talks to a supervisor; both sides read and write the job's folder.
"""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

from vultus.core.clock import Clock, SystemClock
from vultus.core.errors import BusyError, JobError
from vultus.core.files import write_json
from vultus.core.locks import Lock, held
from vultus.jobs.events import announce
from vultus.jobs.folder import JobFolder, create
from vultus.jobs.handover import debts
from vultus.jobs.launch import record_environment, start_supervisor
from vultus.jobs.processes import Process, end_family, is_alive
from vultus.jobs.records import Limits, Phase, read_json
from vultus.jobs.settings import JobsSpec

__all__ = ["describe", "detach", "limits_of", "move_deadline", "resume_command", "stop"]

DEADLINE_MAX_H = 10_000.0
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
    """Return the limits of a job that is made now. Raises JobError for hours that are none."""
    guards = settings.guards
    hours = guards.deadline_h if deadline_h is None else deadline_h
    return Limits(
        deadline_at=_moment_after(hours, now),
        disk_free_min_gib=guards.disk_free_min_gib,
        balance_min=guards.balance_min if guards.balance_command else None,
        balance_command=guards.balance_command,
        restarts_max=guards.restarts_max,
    )


def _moment_after(hours: float, now: float) -> float | None:
    if not 0.0 <= hours <= DEADLINE_MAX_H:
        raise JobError(
            f"--deadline-h {hours:g} is no number of hours",
            expected=f"0 (no deadline) to {DEADLINE_MAX_H:g}",
            next_command="give --deadline-h 8",
        )
    return now + 3600 * hours if hours else None


def move_deadline(job: JobFolder, deadline_h: float | None, *, now: float) -> None:
    """Give a job that is to be resumed a new deadline, where one was given.

    Raises JobError when none was and its own has passed: it would be stopped again at once.
    """
    if deadline_h is None:
        cleans_up = (
            job.owed_file.exists() or job.is_at_work
        )  # a ComfyUI waits, or a worker nobody looks after
        if not job.has_supervisor and not cleans_up and _is_late(job, now):
            raise JobError(
                f"the deadline of job {job.id} has passed: it would be stopped again at once",
                expected="a new deadline in hours from now; 0 = none",
                next_command=resume_command(job, now=now),
            )
        return
    limits = replace(job.spec.limits, deadline_at=_moment_after(deadline_h, now))
    try:
        with held(job.supervisor_lock):
            write_json(job.path / "spec.json", replace(job.spec, limits=limits).to_json())
    except BusyError:
        raise JobError(
            f"job {job.id} is under way: its deadline stays as it is",
            expected="a job that stands still",
            next_command=f"vultus jobs stop {job.id}, then the same command again",
        ) from None


def resume_command(job: JobFolder, *, now: float) -> str:
    """The command that sets a job going again."""
    words = f"vultus jobs resume {job.id}"
    return f"{words} --deadline-h 8" if _is_late(job, now) else words


def _is_late(job: JobFolder, now: float) -> bool:
    at = job.spec.limits.deadline_at
    return at is not None and now >= at


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
            if job.owed_file.exists():
                start_supervisor(job)  # nobody else would bring its ComfyUI back
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


def _owed(job: JobFolder) -> list[str]:
    try:
        return [one.url for one in debts(job.owed_file)]
    except JobError as fault:
        return [fault.what]


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
        "owed": _owed(job),
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
