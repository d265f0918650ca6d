"""The process that looks after one job: starts its command, watches it, starts it again, cleans up.

    queue for the card -> take its lease -> make room (ComfyUI) -> the command, as often as it takes
                       -> bring ComfyUI back -> last state

It works for nobody in particular: killed at any line, another one reads the same folder and goes on.
A worker that still lives is adopted, one that is gone is started again, and because finished steps
are in the ledger, that repeats nothing.

Run as `python -m vultus.jobs.supervisor FOLDER`; it forks once and leaves its starter alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from types import FrameType

from vultus.core.clock import Clock, SystemClock
from vultus.core.errors import BusyError, VultusError
from vultus.core.locks import Lock
from vultus.jobs.attached import ATTEMPT_VARIABLE
from vultus.jobs.events import announce
from vultus.jobs.folder import JOB_VARIABLE, JobFolder
from vultus.jobs.guards import Guards
from vultus.jobs.logs import rotate
from vultus.jobs.processes import Process, end_family, identify, is_alive
from vultus.jobs.records import Phase, read_json
from vultus.jobs.room import Room
from vultus.jobs.verdicts import Verdict, judge_end

__all__ = ["Supervisor", "main"]

POLL_S = 0.2
GUARD_EVERY_S = 5.0
LEFTOVER_WAIT_S = 600.0
"""How long somebody unknown may hold a job's lock: on a loaded machine a worker takes minutes to say its name."""


class _Stopping(Exception):
    """The job is to stop, and why. Never leaves this file."""


class Supervisor:
    """Looks after one job until it is over. The caller holds `job.supervisor_lock`."""

    def __init__(self, job: JobFolder, *, clock: Clock | None = None) -> None:
        self.job = job
        self.spec = job.spec
        self.state = job.state
        self.clock: Clock = clock or SystemClock()
        self.guards = Guards(self.spec, self.clock)
        self.room = Room(job, self.clock, self._breathe, self._given)
        self.told_to_end = False
        self._lock: Lock | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._looked_s = -float("inf")

    def run(self) -> None:
        """Bring the job to its end, or to where another supervisor goes on."""
        try:
            self._run()
        except _Stopping as stop:
            self._finish(Phase.STOPPED, str(stop))
        except VultusError as fault:
            self._finish(Phase.FAILED, "\n".join(fault.lines()))
        except OSError as fault:
            if self._works_on:
                raise  # the next supervisor adopts its worker
            self._finish(Phase.FAILED, f"{fault.strerror}: {fault.filename}")
        finally:
            # Beside a worker that lives nothing is given back: what it inherited is its own, and a ComfyUI that came
            # back now would end it.
            self.room.leave(restore=not self.told_to_end and not self._works_on)
            if self._lock is not None:
                self._lock.abandon()

    def _run(self) -> None:
        worker = self._living_worker()
        if worker is not None:
            if self._attend(self._adopt(worker)):
                return
        elif self.state.phase is Phase.RUNNING and self._over():
            return  # it ended while nobody looked
        while not self.state.phase.is_finished:
            worker = self._take_job_lock()
            if worker is not None:
                worker = self._adopt(worker)
            else:
                self._enter()
                worker = self._start()
            if self._attend(worker):
                return

    @property
    def _works_on(self) -> bool:
        return self.state.worker is not None and is_alive(self.state.worker)

    def _adopt(self, worker: Process) -> Process:
        announce(self.job, "adopted", f"worker {worker.pid} is looked after again")
        self.state = self.state.changed(phase=Phase.RUNNING, worker=worker)
        self._save()
        return worker

    def _enter(self) -> None:
        """Wait for the card and for room on it."""
        self._breathe()
        if self.spec.card and not self.room.is_made:
            self.state = self.state.changed(phase=Phase.QUEUED, has_card=False)
            self._save()
        self.room.make()

    def _given(self, card: str) -> None:
        """Note the cards as soon as their leases are ours: from now on the job waits for nobody's turn."""
        self.state = self.state.changed(card=card, has_card=True)
        self._save()

    def _start(self) -> Process:
        """Start the command for its next attempt; its descriptors keep the locks alive."""
        assert self._lock is not None
        attempt = self.state.attempt + 1
        self.job.path.joinpath("exit.json").unlink(missing_ok=True)
        python = self.spec.python if Path(self.spec.python).exists() else sys.executable
        environment = {
            **os.environ,
            **self.spec.environment,
            **self.room.environment(),
            JOB_VARIABLE: str(self.job.path),
            ATTEMPT_VARIABLE: str(attempt),
            "PYTHONUNBUFFERED": "1",
        }
        with self.job.log.open("ab") as log:
            if attempt > 1:
                log.write(f"--- attempt {attempt}\n".encode())
                log.flush()
            self._child = subprocess.Popen(
                [python, "-m", "vultus", *self.spec.words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.spec.folder,
                env=environment,
                start_new_session=True,
                pass_fds=[self._lock.fileno(), *self.room.descriptors()],
            )
        worker = identify(self._child.pid) or Process(self._child.pid, 0, "")
        self.state = self.state.changed(
            phase=Phase.RUNNING,
            attempt=attempt,
            worker=worker,
            reason="",
            started_at=self.state.started_at or self.clock.now(),
            fraction=self._done(),
        )
        self._save()
        announce(self.job, "started", f"attempt {attempt}, process {worker.pid}")
        return worker

    def _attend(self, worker: Process) -> bool:
        """Watch a worker to its end; True when the job is over, False when it is to start again."""
        try:
            while self._lives(worker):
                self._breathe()
                self.clock.sleep(POLL_S)
        except _Stopping as stop:
            end_family(worker, whole_session=True, clock=self.clock, reap=self._reap)
            last = self.job.read_exit(self.state.attempt)
            if last is not None and last.code in (0, 1) and not last.crash:
                self._finish(Phase.DONE, "", last.code)  # it was faster than the wish
            elif self.told_to_end:
                self._pause("its supervisor was told to end; go on with: vultus jobs resume --all")
            else:
                self._finish(Phase.STOPPED, str(stop))
            return True
        # What it had started ends with it, and what does not is ended: it may hold the card.
        end_family(worker, signals=(), whole_session=True, clock=self.clock)
        return self._over()

    def _over(self) -> bool:
        """Judge how the last attempt ended; True when the job is over."""
        verdict = judge_end(self.state, self.job.read_exit(self.state.attempt), self._done())
        if verdict.phase.is_finished:
            self._finish(verdict.phase, verdict.reason, verdict.code)
            return True
        self._again(verdict)
        return False

    def _again(self, verdict: Verdict) -> None:
        if verdict.restarts > self.spec.limits.restarts_max:
            reason = f"ended {verdict.restarts} times without getting on: {verdict.reason}"
            self._finish(Phase.FAILED, reason)
            return
        self.state = self.state.changed(restarts=verdict.restarts)
        self._pause(verdict.reason)
        until_s = self.clock.monotonic() + verdict.pause_s
        while self.clock.monotonic() < until_s:
            self._breathe()
            self.clock.sleep(min(POLL_S, verdict.pause_s))

    def _breathe(self) -> None:
        """Look at everything that may end the job from outside. Raises _Stopping."""
        if self.told_to_end:
            raise _Stopping("its supervisor was told to end")
        if self.job.stop_file.exists():
            raise _Stopping(self.job.stop_file.read_text(encoding="utf-8").strip() or "stopped")
        if self.clock.monotonic() < self._looked_s + GUARD_EVERY_S:
            return
        self._looked_s = self.clock.monotonic()
        rotate(self.job.log)
        rotate(self.job.supervisor_log)
        reason = self.guards.look()
        if reason:
            raise _Stopping(reason)

    def _lives(self, worker: Process) -> bool:
        self._reap()
        return is_alive(worker)

    def _reap(self) -> None:
        if self._child is not None:
            self._child.poll()

    def _living_worker(self) -> Process | None:
        """Return the worker that an earlier supervisor started, if it still lives."""
        if not self.job.is_at_work:
            return None
        told = read_json(self.job.path / "worker.json") or {}
        for worker in (self.state.worker, Process.from_json(told) if "pid" in told else None):
            if worker is not None and is_alive(worker):
                if told.get("attempt"):
                    self.state = self.state.changed(attempt=int(told["attempt"]))
                return worker
        return None

    def _take_job_lock(self) -> Process | None:
        """Hold the lock of the job: nobody may work on it beside our worker.

        Returns the worker that holds it where an earlier supervisor started one and had no time to note it.
        """
        until_s = self.clock.monotonic() + LEFTOVER_WAIT_S
        while self._lock is None:
            try:
                self._lock = Lock.take(self.job.lock)
            except (
                BusyError
            ):  # the last breath of a worker that is ending, or the first of one that is starting
                worker = self._living_worker()
                if worker is not None:
                    return worker
                if self.clock.monotonic() > until_s:
                    raise
                self._breathe()
                self.clock.sleep(POLL_S)
        return None

    def _done(self) -> float:
        told = self.job.progress().get("done", 0.0)
        return float(told) if isinstance(told, int | float) else 0.0

    def _pause(self, reason: str) -> None:
        self.state = self.state.changed(phase=Phase.PAUSING, worker=None, reason=reason)
        self._save()
        announce(self.job, "pausing", reason)

    def _finish(self, phase: Phase, reason: str, code: int | None = None) -> None:
        if self.told_to_end and phase is Phase.STOPPED:
            self._pause("its supervisor was told to end; go on with: vultus jobs resume --all")
            return
        self.state = self.state.changed(
            phase=phase, reason=reason, exit_code=code, worker=None, ended_at=self.clock.now()
        )
        self._save()
        self.job.stop_file.unlink(missing_ok=True)
        announce(self.job, self.guards.event or phase.value, reason, code=code)

    def _save(self) -> None:
        self.job.write_state(self.state)


def main() -> None:
    """Fork, take the supervisor's lock, and look after the job in the folder that is given."""
    job = JobFolder(Path(sys.argv[1]))
    if os.fork():
        os._exit(0)
    try:
        lock = Lock.take(job.supervisor_lock)
    except BusyError:
        os._exit(0)  # somebody looks after it already
    code = 0
    try:
        supervisor = Supervisor(job)

        def end(number: int, frame: FrameType | None) -> None:
            supervisor.told_to_end = True

        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, end)
        # A handler, not "ignored": a shell starts background commands with SIGINT ignored, and that would be inherited.
        signal.signal(signal.SIGINT, end)
        if supervisor.state.phase.is_finished:
            supervisor.room.leave()
        else:
            supervisor.run()
    except BaseException:  # noqa: BLE001  the log is the only place left to tell it
        traceback.print_exc()
        code = 1
    finally:
        lock.release()
        os._exit(code)


if __name__ == "__main__":
    main()
