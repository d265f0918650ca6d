"""What the end of a command means: done, failed, or to be started again. Pure.

| last word                          | meaning                                                       |
|------------------------------------|---------------------------------------------------------------|
| exit code 0 or 1                   | done (1: the answer is no)                                    |
| exit code 2                        | failed: a fault that only the user can mend                   |
| a traceback                        | failed: a mistake of ours                                     |
| exit code 130, nobody stopped it   | one of its processes died: start again                        |
| none                               | it was killed: start again                                    |
"""

from __future__ import annotations

from dataclasses import dataclass

from vultus.jobs.records import Exit, JobState, Phase

__all__ = ["PAUSE_MAX_S", "Verdict", "judge_end"]

PAUSE_MAX_S = 60.0
_STOPPED = 130


@dataclass(frozen=True)
class Verdict:
    """What follows: a finished phase, or PAUSING with the pause before the next attempt."""

    phase: Phase
    reason: str = ""
    code: int | None = None
    restarts: int = 0
    pause_s: float = 0.0


def judge_end(state: JobState, last: Exit | None, done: float) -> Verdict:
    """Judge the end of an attempt; `done` is how far it came, in units of its progress.

    Restarts are counted in a row without progress, and the pause doubles with each up to a minute.
    """
    if last is not None and last.crash:
        return Verdict(Phase.FAILED, f"a mistake of ours: {last.crash}", last.code)
    if last is not None and last.code in (0, 1):
        return Verdict(Phase.DONE, "", last.code)
    if last is not None and last.code != _STOPPED:
        return Verdict(Phase.FAILED, "\n".join(last.lines), last.code)
    restarts = 1 if done > state.fraction + 1e-9 else state.restarts + 1
    pause_s = 0.0 if restarts == 1 else min(2.0 ** (restarts - 2), PAUSE_MAX_S)
    reason = "\n".join(last.lines) if last is not None and last.lines else "it was killed"
    return Verdict(Phase.PAUSING, reason, None, restarts, pause_s)
