"""`vultus script`: a whole plan from a file, so that nothing long is ever pasted."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from pathlib import Path

from vultus.cli.wording import (
    EXIT_DONE,
    EXIT_FAULT,
    EXIT_NO,
    Nouns,
    detachable,
    noun,
    of_a_job,
    say,
)

__all__ = ["add"]


def add(subparsers: Nouns) -> None:
    """Add `vultus script`."""
    parser = noun(
        subparsers,
        "script",
        help="run the vultus commands of a file, one after the other: exit 0 all done, 1 a no among the answers,"
        " 2 a command failed",
        examples=["vultus script tonight.toml", "vultus script tonight.toml --detach"],
    )
    parser.add_argument("file", type=Path, help="a TOML file with commands = [...]")
    detachable(parser)
    parser.set_defaults(handle=_handle)


def _handle(args: argparse.Namespace) -> int:
    from vultus.core.errors import Fault, SpecError
    from vultus.jobs.script import command_words, load_script, run_script

    plan = load_script(args.file)
    faults = []
    for position, command in enumerate(plan.commands):
        try:
            fault = _fault_of(command_words(command))
        except ValueError as odd:
            fault = f"cannot be split into words: {odd}"
        if fault:
            faults.append(Fault(args.file.name, f"commands[{position}] = {command!r}: {fault}"))
    if faults:
        raise SpecError(faults, next_command="vultus --help")
    ran = run_script(
        plan,
        args.file.absolute().parent,
        tell=lambda text: print(f"vultus: {text}", file=sys.stderr, flush=True),
        quiet=args.json,
    )
    words = {"no": "the answer was no", "undecided": "undecided", "failed": "failed"}
    answers = {one.answer for one in ran}
    lines = [f"{len(ran)} commands run"]
    lines += [
        f"  {words[answer]}: vultus {one.command}"
        for answer in words
        for one in ran
        if one.answer == answer
    ]
    left = plan.commands[len(ran) :]
    if left:
        lines.append(f'  not run, for on_no = "stop": {len(left)} more')
    record = [{"command": one.command, "code": one.code, "answer": one.answer} for one in ran]
    say(args, {"ran": record, "not_run": list(left)}, lines)
    if "failed" in answers:
        return EXIT_FAULT
    return EXIT_NO if answers & {"no", "undecided"} else EXIT_DONE


def _fault_of(words: list[str]) -> str:
    """Say what is wrong with a command line, or nothing; the parser is asked, nothing is run."""
    from vultus.cli.main import build_parser

    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
            args = build_parser().parse_args(words)
    except SystemExit:
        last = told.getvalue().strip().splitlines()
        return last[-1] if last else "is not a command"
    if getattr(args, "handle", None) is None:
        return "is not a whole command"
    if args.noun == "script":
        return "a plan in a plan"
    if getattr(args, "detach", False):
        return "a plan runs its own commands; detach the plan"
    alone = of_a_job(words) if hasattr(args, "detach") else []
    return f"{' and '.join(alone)}: give it to the plan, with --detach" if alone else ""
