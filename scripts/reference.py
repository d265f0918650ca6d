"""Writes docs/reference/ from the code, or with --check compares it: the reference cannot lie.

    python scripts/reference.py            write (make fix)
    python scripts/reference.py --check    compare; exit 1 and say what differs (make check)

Four pages: commands (from the parsers), settings (from the frozen specs), steps (from
steps/table.py) and errors (from core/errors.py). What they cannot know, the hand-written pages
beside them say.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vultus.core.specs import Setting

__all__ = ["FOLDER", "PAGES", "differences", "files_of_a_user", "main", "pages"]

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"

NOTE = "<!-- Written by scripts/reference.py from the code. Change the code, then: make fix -->"


def pages() -> dict[str, str]:
    """Return every page of the reference: file name -> text."""
    return {name: make() for name, make in PAGES.items()}


def differences() -> dict[str, str]:
    """Return what differs between folder and code: file name -> diff (empty = up to date)."""
    made = pages()
    found = {}
    for name, text in made.items():
        path = FOLDER / name
        there = path.read_text(encoding="utf-8") if path.exists() else ""
        if there != text:
            lines = difflib.unified_diff(
                there.splitlines(),
                text.splitlines(),
                f"docs/reference/{name}",
                "the code",
                lineterm="",
            )
            found[name] = "\n".join(lines)
    for path in sorted(FOLDER.glob("*.md")):
        if path.name not in made:
            found[path.name] = f"docs/reference/{path.name} is not made by any part of the code"
    return found


def main() -> int:
    """Write the reference, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if parser.parse_args().check:
        found = differences()
        for text in found.values():
            print(text)
        if found:
            print(
                f"{len(found)} pages of docs/reference/ are not up to date: make fix",
                file=sys.stderr,
            )
        return 1 if found else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = pages()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    for path in FOLDER.glob("*.md"):
        if path.name not in made:
            path.unlink()
    print(f"docs/reference: {len(made)} pages")
    return 0


def commands() -> str:
    """The page of commands: what `--help` says, in a form that no Python version changes."""
    from vultus.cli.main import build_parser

    lines = [
        NOTE,
        "# Commands",
        "",
        "Every command takes `--help`, and those that tell something `--json`. Exit codes: 0 done,",
        "1 done and the answer is no, 2 a fault you can mend (told in lines that start with",
        "`vultus:`), 130 stopped by Ctrl-C. `vultus demo` exits 0 whatever its gate says.",
    ]
    for name, parser in _parsers(build_parser(), "vultus"):
        lines += ["", f"## `{name}`", ""]
        if parser.description:
            lines += [parser.description.strip(), ""]
        rows = [row for action in parser._actions for row in _argument_rows(action)]
        if rows:
            lines += ["| argument | default | what it does |", "|---|---|---|", *rows]
        if parser.epilog:
            lines += ["", "```", parser.epilog.strip(), "```"]
    return "\n".join(lines) + "\n"


def _parsers(
    parser: argparse.ArgumentParser, name: str
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield a parser and those below it, with the words that lead there."""
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from _parsers(below, f"{name} {word}")


def _argument_rows(action: argparse.Action) -> Iterator[str]:
    if isinstance(action, argparse._HelpAction):
        return
    if isinstance(action, argparse._SubParsersAction):
        for choice in action._choices_actions:
            yield f"| `{choice.dest}` | | {_cell(choice.help)} |"
        return
    names = ", ".join(f"`{option}`" for option in action.option_strings)
    shown = action.metavar if isinstance(action.metavar, str) else action.dest
    takes_value = action.nargs != 0
    if not names:
        names = f"`{shown.upper()}`"
    elif takes_value:
        names += f" {shown.upper()}"
    if action.choices:
        names += " (" + ", ".join(str(choice) for choice in action.choices) + ")"
    default = action.default
    hidden = default is None or default is False or default == argparse.SUPPRESS or not takes_value
    yield f"| {names} | {'' if hidden else f'`{default}`'} | {_cell(action.help)} |"


def settings() -> str:
    """The page of settings: every key of the files a user writes."""
    from vultus.core.specs import describe

    lines = [
        NOTE,
        "# Settings",
        "",
        "The files of a workspace, the one that makes a folder a face pack, the one for jobs on a",
        "machine, and the plans of `vultus script`. A key that is not listed here is an error, and all",
        "faults of a file are told at once. Paths are relative to the file they stand in.",
    ]
    for file, spec in files_of_a_user().items():
        about = inspect.getdoc(spec) or ""
        lines += ["", f"## `{file}`", "", about, ""]
        lines += ["| key | kind | default | range | what it does |", "|---|---|---|---|---|"]
        for one in describe(spec):
            default = f"`{one.default}`" if one.default else ""
            default = "must be given" if one.required else default
            cells = (f"`{one.key}`", one.kind, default, _range(one), one.help)
            lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def files_of_a_user() -> dict[str, type[Any]]:
    """Return the files a user writes, each with its spec."""
    from vultus.datasets.persona import PERSONA_FILE, Persona
    from vultus.datasets.settings import MEASURING_FILE, MeasuringSpec
    from vultus.faces.packs import PackSpec
    from vultus.jobs.script import ScriptSpec
    from vultus.jobs.settings import JOBS_FILE, JobsSpec
    from vultus.notices.records import NotifySpec
    from vultus.studies.plan import PLAN_FILE, RunSpec

    return {
        PERSONA_FILE: Persona,
        PLAN_FILE: RunSpec,
        "pack.toml": PackSpec,
        MEASURING_FILE: MeasuringSpec,
        "notify.toml": NotifySpec,
        JOBS_FILE: JobsSpec,
        "a plan for vultus script": ScriptSpec,
    }


def _range(one: Setting) -> str:
    if one.choices:
        return ", ".join(f"`{choice}`" for choice in one.choices)
    if one.low is not None and one.high is not None:
        return f"{_number(one.low)} to {_number(one.high)}"
    if one.low is not None:
        return f"at least {_number(one.low)}"
    return f"at most {_number(one.high)}" if one.high is not None else ""


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def steps() -> str:
    """The page of step kinds: every kind of work that the ledger knows."""
    from vultus.steps.table import KINDS

    lines = [
        NOTE,
        "# Step kinds",
        "",
        "A step is an immutable request; its key is the hash of its kind, version and inputs.",
        "Asking for the same step again is a look-up in the ledger. A version is raised by hand",
        "when the meaning of the output changes.",
        "",
        "| kind | version | what it makes |",
        "|---|---|---|",
    ]
    lines += [f"| `{kind.name}` | {kind.version} | {_cell(kind.help)} |" for kind in KINDS]
    return "\n".join(lines) + "\n"


def errors() -> str:
    """The page of errors: the tree, and one line each."""
    from vultus.core import errors as module

    about, _, tree = (inspect.getdoc(module) or "").partition("\n    VultusError\n")
    drawn = inspect.cleandoc("\n    VultusError\n" + tree)
    lines = [NOTE, "# Errors", "", about.strip(), "", "```", drawn, "```", ""]
    lines += ["| error | it means |", "|---|---|"]
    for name in sorted(module.__all__):
        value = getattr(module, name)
        if inspect.isclass(value) and issubclass(value, Exception):
            lines.append(f"| `{name}` | {_cell((inspect.getdoc(value) or '').splitlines()[0])} |")
    return "\n".join(lines) + "\n"


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands,
    "settings.md": settings,
    "steps.md": steps,
    "errors.md": errors,
}

if __name__ == "__main__":
    sys.exit(main())
