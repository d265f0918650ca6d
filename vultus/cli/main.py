"""`vultus NOUN ...`: finds the one file that knows a noun, runs it, tells faults in clear lines.

How a noun joins in: one thin file `vultus/cli/<noun>.py` with a function

    def add(subparsers: Nouns) -> None

that makes its parser (`vultus.cli.wording.noun(subparsers, "<noun>", help=..., examples=...)`),
adds its arguments and calls `parser.set_defaults(handle=function)`. The function takes the parsed
namespace and returns the exit code (an int, or None for 0). It imports what it needs inside itself:
the file may import only the standard library and `vultus.cli.wording` at its top, because `vultus
--help` imports every noun and may cost 0.2 s of CPU.

Exit codes: 0 done · 1 done, and the answer is "no" (a gate not passed, an unhealthy machine) · 2 a
fault the user can mend, told in lines that start with `vultus:`; for `vultus gate` also "undecided"
· 130 stopped by Ctrl-C, with the command that goes on.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vultus import __version__
from vultus.cli.wording import EXIT_FAULT, EXIT_STOPPED, Nouns, of_a_job, tell_fault
from vultus.core.errors import CancelledError, JobError, VultusError

if TYPE_CHECKING:
    from vultus.jobs.attached import Attached

__all__ = ["NOUNS", "build_parser", "main", "present_nouns"]

NOUNS = (
    *("demo", "init", "run", "script", "jobs", "dataset", "calibrate", "gate", "votes", "faces"),
    *("score", "render", "sweep", "lora", "doctor", "models", "store", "tools", "notify"),
)
"""Every noun, in the order of `vultus --help`: a new file in `vultus/cli/` must be named here."""


class _Columns(argparse.RawDescriptionHelpFormatter):
    """Nouns and their help side by side: argparse forgets the indent of subcommands when it measures."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = max(map(len, NOUNS)) + 4


def present_nouns() -> tuple[str, ...]:
    """Return the nouns of `NOUNS` whose file exists in this installation."""
    return tuple(
        noun for noun in NOUNS if importlib.util.find_spec(f"vultus.cli.{noun}") is not None
    )


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """Build the parser; with `only`, import no noun but that one (a command then starts faster)."""
    parser = argparse.ArgumentParser(
        prog="vultus",
        description="Turns a folder of pictures of one persona into an SDXL LoRA\n"
        "whose face match is measured, not judged by eye.",
        epilog="start with:\n  vultus demo\nhelp on a command:\n  vultus COMMAND --help",
        formatter_class=_Columns,
    )
    parser.add_argument("--version", action="version", version=f"vultus {__version__}")
    nouns: Nouns = parser.add_subparsers(title="commands", metavar="COMMAND", dest="noun")
    for noun in present_nouns():
        if only is None or noun == only:
            importlib.import_module(f"vultus.cli.{noun}").add(nouns)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a fault of the user never becomes a traceback."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    job = _attach()
    try:
        code, lines = _told(words)
    except BaseException as crash:
        if job is not None and isinstance(crash, SystemExit):
            job.say_last_word(crash.code if isinstance(crash.code, int) else EXIT_FAULT)
        elif job is not None:
            job.say_last_word(EXIT_FAULT, crash=f"{type(crash).__name__}: {crash}")
        raise
    if job is not None:
        job.say_last_word(code, lines=lines)
    return code


def _told(words: list[str]) -> tuple[int, tuple[str, ...]]:
    """Run one command; return its exit code and the lines of its fault, which were told."""
    try:
        return _dispatch(words), ()
    except CancelledError as stopped:
        tell_fault(stopped, as_json="--json" in words)
        _tell_stopped(words)
        return EXIT_STOPPED, stopped.lines()
    except VultusError as fault:
        tell_fault(fault, as_json="--json" in words)
        return EXIT_FAULT, fault.lines()
    except KeyboardInterrupt:
        _tell_stopped(words)
        return EXIT_STOPPED, ()
    except BrokenPipeError:
        # The reader (`head`, a closed pager) has gone: nothing is wrong, but Python would complain
        # again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0, ()


def _attach() -> Attached | None:
    """Take up the job that this command is the worker of, if it is one."""
    if "VULTUS_JOB" not in os.environ and "VULTUS_PROGRESS" not in os.environ:
        return None
    from vultus.jobs.attached import attach

    return attach()


def _dispatch(words: list[str]) -> int:
    only = words[0] if words and words[0] in present_nouns() else None
    parser = build_parser(only)
    args = parser.parse_args(words)
    handle: Any = getattr(args, "handle", None)
    if handle is None:
        # `vultus` alone, or a noun that has verbs and was given none: show what could be said.
        _parser_of(parser, args.noun).print_help()
        return 0 if not words else EXIT_FAULT
    if getattr(args, "detach", False):
        from vultus.cli.jobs import start_job

        return start_job(args, words)
    alone = of_a_job(words)
    if alone and hasattr(args, "detach"):
        # said before anything starts: a night on a paid machine would have no deadline
        raise JobError(
            f"{' and '.join(alone)} would do nothing: only a job obeys",
            expected="--detach",
            next_command=shlex.join(["vultus", *words, "--detach"]),
        )
    code = handle(args)
    return int(code or 0)


def _parser_of(parser: argparse.ArgumentParser, noun: str | None) -> argparse.ArgumentParser:
    """Return the parser of a noun, or the whole parser where no noun was given."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and noun in action.choices:
            found: argparse.ArgumentParser = action.choices[noun]
            return found
    return parser


def _tell_stopped(words: list[str]) -> None:
    again = " ".join(["vultus", *map(shlex.quote, words)])
    print("\nvultus: stopped. What was finished is kept.", file=sys.stderr)
    print(f"  resume with: {again}", file=sys.stderr)
