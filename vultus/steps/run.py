"""Doing a step once: look it up, or work, store, commit.

`run_once` is the only way work gets into the ledger. It may be killed at any line: what was
committed is found, what was not is done again, and the working folder of a step is the same for
every attempt, so work that saves its state there goes on where it was.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vultus.core.errors import CancelledError, DiskError, StepError, VultusError, WorkerLostError
from vultus.core.files import disk_errors, sweep_leftovers
from vultus.core.log import logger
from vultus.steps.environment import here
from vultus.steps.step import Step
from vultus.store.ledger import Ledger
from vultus.store.records import AttemptRecord, AttemptState

__all__ = ["Made", "Work", "is_done", "run_once"]

Work = Callable[[Path], Mapping[str, Path]]
"""Given the step's working folder (with what an earlier, killed attempt left in it), does the work
and returns its outputs: names to files or folders inside the working folder. A name should carry
the suffix that readers of the file expect, e.g. "lora.safetensors"."""


class Made(dict[str, Path]):
    """Outputs of work that was done in another place than this process, and that place's environment."""

    def __init__(self, outputs: Mapping[str, Path], environment: Mapping[str, Any]) -> None:
        super().__init__(outputs)
        self.environment = dict(environment)


def run_once(
    step: Step,
    ledger: Ledger,
    work: Work,
    *,
    environment: Mapping[str, Any] | None = None,
    retry_failed: bool = False,
    retry_command: str = "run the same command again with --retry-failed",
) -> dict[str, Path]:
    """The outputs of a step as files on the disk: remembered, or made now.

    If another living process is at the same step, waits for it and takes its outputs. Work that
    failed before in the same environment is not repeated unless `retry_failed`. Paths are for
    reading only.

    Raises StepError if the work said no (now or before); its own VultusError passes through, and
    so does KeyboardInterrupt.
    """
    done = ledger.paths(step.key)
    if done is not None:
        return done
    place = dict(environment) if environment is not None else here()
    if not retry_failed:
        _refuse_blind_retry(step, ledger, place, retry_command)
    attempt_id = ledger.begin(step, place, blocking=True)
    done = ledger.paths(step.key)
    if done is not None:
        ledger.cancel(attempt_id, "done by another process while this one waited for it")
        return done
    _attempt(step, ledger, work, attempt_id, retry_command)
    ledger.drop_scratch(step.key)
    made = ledger.paths(step.key)
    assert made is not None, "a committed step has outputs"
    return made


def is_done(step: Step, ledger: Ledger) -> bool:
    """Whether asking for this step would be a look-up."""
    return ledger.outputs(step.key) is not None


def _attempt(step: Step, ledger: Ledger, work: Work, attempt_id: str, retry_command: str) -> None:
    """Work, store, commit; whatever breaks is written down before it is raised."""
    started_s = ledger.clock.monotonic()

    def spent_s() -> float:
        return ledger.clock.monotonic() - started_s

    logger(__name__).info("%s %s begins (attempt %s)", step.kind, step.key[:12], attempt_id)
    try:
        scratch = ledger.scratch(step.key)
        # Drafts of a killed attempt would otherwise be stored with the folder they lie in.
        sweep_leftovers(scratch, deep=True)
        with disk_errors(scratch):
            made = work(scratch)
        names = sorted(made)
        ids = ledger.blobs.put_outputs([_inside(scratch, name, made[name]) for name in names])
        done_in = made.environment if isinstance(made, Made) else None
        ledger.commit(
            attempt_id, dict(zip(names, ids, strict=True)), spent_s(), environment=done_in
        )
    except (KeyboardInterrupt, SystemExit, CancelledError) as stop:
        ledger.cancel(attempt_id, f"stopped: {stop!r}", spent_s())
        raise
    except DiskError as full:
        # The disk's fault, not the work's: with room on the disk it may simply be made again.
        _note(ledger.cancel, attempt_id, str(full), spent_s())
        raise
    except WorkerLostError as gone:
        _note(ledger.lose, attempt_id, str(gone), spent_s())
        raise
    except VultusError:
        _note(ledger.fail, attempt_id, traceback.format_exc(), spent_s())
        raise
    except Exception as fault:
        _note(ledger.fail, attempt_id, traceback.format_exc(), spent_s())
        raise StepError(
            f"the step {step.kind!r} failed: {type(fault).__name__}: {fault}",
            where=f"attempt {attempt_id}",
            next_command=retry_command,
        ) from fault
    logger(__name__).info("%s %s done in %.1f s", step.kind, step.key[:12], spent_s())


def _note(write: Callable[[str, str, float], None], attempt_id: str, text: str, s: float) -> None:
    try:
        write(attempt_id, text, s)
    except VultusError as second:
        # On a full disk even the note may fail; the attempt is then lost, which is retried too.
        logger(__name__).warning("the end of attempt %s could not be noted: %s", attempt_id, second)


def _inside(scratch: Path, name: str, path: Path) -> Path:
    if not path.exists():
        raise StepError(f"the output {name!r} was promised at {path} and is not there")
    if not path.resolve().is_relative_to(scratch.resolve()):
        raise StepError(f"the output {name!r} lies outside the working folder: {path}")
    return path


def _refuse_blind_retry(
    step: Step, ledger: Ledger, place: Mapping[str, Any], retry_command: str
) -> None:
    past = [a for a in ledger.attempts(step.key) if a.state is not AttemptState.CANCELLED]
    last: AttemptRecord | None = past[-1] if past else None
    if last is None or last.state is not AttemptState.FAILED or dict(last.environment) != place:
        return
    reason = last.message.strip().splitlines()[-1] if last.message.strip() else "no reason given"
    raise StepError(
        f"the step {step.kind!r} failed before and nothing has changed since: {reason}",
        where=f"attempt {last.id}",
        next_command=retry_command,
    )
