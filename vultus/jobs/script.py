"""A plan in a file: several vultus commands one after the other, started with one short line.

It needs no memory of its own: a plan that was stopped runs its commands again from the first, and
each looks up what it had finished.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vultus.core import specs
from vultus.core.errors import CancelledError, JobError
from vultus.core.specs import setting

__all__ = [
    "IN_A_PLAN",
    "UNDECIDED",
    "Ran",
    "ScriptSpec",
    "command_words",
    "load_script",
    "run_script",
]

IN_A_PLAN = "VULTUS_PLAN"
"""Environment: set for the commands of a plan, where `gate` says "undecided" by a code of its own."""
UNDECIDED = 3
"""That code: a shell is told 2, which is also a fault's, and a plan must not take one for the other."""
_STOPPED = 130
_STDERR = 2


@dataclass(frozen=True)
class ScriptSpec:
    """A plan: vultus commands, and what to do when one says no or fails."""

    commands: tuple[str, ...] = setting(
        help='vultus commands without the word vultus, e.g. "run ada"; paths are relative to the file'
    )
    on_no: str = setting(
        "continue",
        help="after a command whose answer is no (exit code 1) or undecided, e.g. a gate that was not passed",
        choices=("continue", "stop"),
    )
    on_fault: str = setting(
        "stop",
        help="after a command that failed",
        choices=("continue", "stop"),
    )

    def __post_init__(self) -> None:
        """Refuse a plan that says nothing."""
        if not self.commands:
            raise ValueError("commands is empty: name at least one")


@dataclass(frozen=True)
class Ran:
    """One command of a plan that was run."""

    command: str
    code: int
    """as a shell sees it"""
    undecided: bool = False

    @property
    def answer(self) -> str:
        """What it said: yes, no or undecided; or failed, where it has no answer."""
        if self.undecided:
            return "undecided"
        return {0: "yes", 1: "no"}.get(self.code, "failed")


def load_script(path: Path) -> ScriptSpec:
    """Read a plan. Raises SpecError with all its faults."""
    return specs.load(ScriptSpec, path)


def command_words(command: str) -> list[str]:
    """Split a command as a shell would; a leading `vultus` may stand there."""
    words = shlex.split(command)
    return words[1:] if words[:1] == ["vultus"] else words


def run_script(
    plan: ScriptSpec,
    folder: Path,
    tell: Callable[[str], None] = lambda text: None,
    *,
    quiet: bool = False,
) -> list[Ran]:
    """Run the commands of a plan in a folder and return what they ended with; fewer where a no stops it.

    With `quiet` their results go to stderr. Raises JobError after a command that failed, CancelledError when one was
    stopped.
    """
    ran: list[Ran] = []
    total = len(plan.commands)
    for number, command in enumerate(plan.commands, start=1):
        tell(f"{number}/{total} vultus {shlex.join(command_words(command))}")
        code = subprocess.call(
            [sys.executable, "-m", "vultus", *command_words(command)],
            cwd=folder,
            env={**os.environ, IN_A_PLAN: "1"},
            stdin=subprocess.DEVNULL,
            stdout=_STDERR if quiet else None,
        )
        one = Ran(command, 2, undecided=True) if code == UNDECIDED else Ran(command, code)
        ran.append(one)
        if code in (_STOPPED, -2):
            raise CancelledError(f"the plan was stopped at {command!r}")
        if code < 0:
            # Its process was killed: the plan may simply be run again.
            raise CancelledError(f"{command!r} was ended by signal {-code}")
        if one.answer in ("no", "undecided") and plan.on_no == "stop":
            return ran
        if one.answer == "failed" and plan.on_fault == "stop":
            raise JobError(
                f"{command!r} ended with exit code {code}, command {number} of {total}",
                expected="0 or 1",
                next_command=f"vultus {shlex.join(command_words(command))}",
            )
    return ran
