"""How every command speaks: its parser, its `--json` form, its faults.

    def add(subparsers: Nouns) -> None:
        parser = noun(subparsers, "doctor", help="say what is ready", examples=["vultus doctor"])
        parser.set_defaults(handle=_handle)

    def _handle(args: argparse.Namespace) -> int:
        from vultus.faces.packs import find_pack      # heavy or slow: only here
        say(args, {"ready": True}, ["everything is ready"])
        return EXIT_DONE

Results go to stdout (lines for people, or with `--json` one JSON object); progress, logs and faults
go to stderr, so that `vultus ... --json | jq` always works.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from vultus.core.errors import VultusError

__all__ = [
    "EXIT_DONE",
    "EXIT_FAULT",
    "EXIT_NO",
    "EXIT_STOPPED",
    "EXIT_UNDECIDED",
    "Nouns",
    "detachable",
    "noun",
    "of_a_job",
    "say",
    "tell_fault",
    "verb",
    "without_detaching",
]

if TYPE_CHECKING:
    Nouns: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Nouns = argparse._SubParsersAction

EXIT_DONE = 0
EXIT_NO = 1
EXIT_FAULT = 2
EXIT_UNDECIDED = 2
EXIT_STOPPED = 130

JOB_OPTIONS = ("--card", "--comfyui", "--deadline-h")
"""What goes with --detach, each with a value."""


def noun(
    subparsers: Nouns, name: str, *, help: str, examples: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """Add the parser of one noun: its help, its examples, and `--json`."""
    return _add(subparsers, name, help, examples)


def verb(
    verbs: Nouns, name: str, *, help: str, examples: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """Add the parser of a verb below a noun (`vultus models list`): the same manners as a noun."""
    return _add(verbs, name, help, examples)


def detachable(parser: argparse.ArgumentParser, *, card: bool = True) -> None:
    """Give a long command `--detach` and what goes with it. Call it after its own arguments.

    Without `card` it works on the processor alone: its job queues for no card and leaves a ComfyUI in peace.
    """
    group = parser.add_argument_group("as a job", "a job survives the terminal and a reboot")
    group.add_argument(
        "--detach", action="store_true", help="run as a job: vultus jobs follow ID shows it"
    )
    if card:
        group.add_argument(
            "--card",
            metavar="CARD",
            help="cards to queue for: any, any:2, all, none, or indices and UUIDs with commas "
            "(default: any where there is one; as many as executor local:N says)",
        )
        group.add_argument(
            "--comfyui",
            choices=("wait", "interrupt", "refuse", "ignore", "share"),
            help="what to do with a ComfyUI on the card (default: comfyui.when_found of jobs.toml; "
            "share where it renders)",
        )
    else:
        parser.set_defaults(card="none", comfyui=None)
    group.add_argument(
        "--deadline-h", metavar="HOURS", type=float, help="stop the job cleanly after so many hours"
    )


def without_detaching(words: Sequence[str]) -> list[str]:
    """Return a command line without the options of `detachable`: what the job itself runs."""
    left = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in JOB_OPTIONS:
            skip = True
        elif word != "--detach" and word.partition("=")[0] not in JOB_OPTIONS:
            left.append(word)
    return left


def of_a_job(words: Sequence[str]) -> list[str]:
    """The options of a command line that do nothing without --detach."""
    said = {word.partition("=")[0] for word in words}
    return [option for option in JOB_OPTIONS if option in said]


def say(args: argparse.Namespace, record: Mapping[str, Any], lines: Iterable[str]) -> None:
    """Write the outcome to stdout: with `--json` the record as one object, else the lines."""
    if getattr(args, "json", False):
        told = _finite(record)
        print(json.dumps(told, indent=2, ensure_ascii=False, sort_keys=False, allow_nan=False))
    else:
        for line in lines:
            print(line)


def _finite(value: Any) -> Any:
    """The same with null for what JSON has no number for: infinite, or not a number."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def tell_fault(fault: VultusError, *, as_json: bool) -> None:
    """Write every line of a fault to stderr; with `--json` also as an object to stdout."""
    lines = list(fault.lines())
    if as_json:
        print(json.dumps({"error": type(fault).__name__, "lines": lines}, ensure_ascii=False))
    for position, line in enumerate(lines):
        print(
            f"vultus: {line}" if position == 0 or not line.startswith(" ") else line,
            file=sys.stderr,
        )


def _add(
    subparsers: Nouns, name: str, help: str, examples: Sequence[str]
) -> argparse.ArgumentParser:
    epilog = "\n".join(["examples:", *(f"  {line}" for line in examples)]) if examples else None
    parser = subparsers.add_parser(
        name,
        help=help,
        description=help[:1].upper() + help[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # a plan in a file must not change its meaning with a new option
    )
    parser.add_argument("--json", action="store_true", help="write the outcome as one JSON object")
    return parser
