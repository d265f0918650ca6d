"""What the verbs of `vultus dataset` share: their arguments, the dataset, the pack, the persona, the page."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vultus.cli.wording import Nouns, detachable, verb

if TYPE_CHECKING:
    from vultus.core.progress import Progress
    from vultus.datasets.library import Library
    from vultus.datasets.persona import Persona
    from vultus.faces.records import FaceEngine
    from vultus.reports.contact_sheet import Sheet

__all__ = [
    "dataset_argument",
    "follow",
    "measuring_verb",
    "opened",
    "paths_of",
    "persona_of",
    "progress_of",
    "quiet_argument",
    "refuse_beside_undo",
    "refuse_outside",
    "settings_of",
    "silent",
    "write_page",
]

T = TypeVar("T")


def dataset_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, help="folder made by `vultus dataset ingest`")


def quiet_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="no progress line")


def silent(args: argparse.Namespace) -> bool:
    return bool(args.quiet or args.json)


def follow(line: Progress, done: int, of: int) -> None:
    """Bring a progress line to what a library function tells."""
    if line.total != of:
        line.retotal(of)
    line.advance(done - line.done)


def refuse_outside(option: str, value: int, low: int, high: int) -> None:
    """Raise SpecError when the value of an option is out of its range."""
    from vultus.core.errors import SpecError

    if not low <= value <= high:
        raise SpecError([f"{option} {value} is outside {low}..{high}"])


def refuse_beside_undo(args: argparse.Namespace, *options: str) -> None:
    """Raise SpecError when --undo stands beside an option that it would ignore."""
    from vultus.core.errors import SpecError

    given = [f"--{option.replace('_', '-')}" for option in options if _given(args, option)]
    if given:
        raise SpecError(
            [f"--undo takes a decision back and nothing else: leave out {', '.join(given)}"]
        )


def _given(args: argparse.Namespace, option: str) -> bool:
    value = getattr(args, option)
    return value is not None and value is not False and value != []


def measuring_verb(
    verbs: Nouns,
    name: str,
    help: str,
    handle: Any,
    examples: list[str],
    *,
    persona: bool = False,
    settings: bool = True,
) -> argparse.ArgumentParser:
    """A verb that reads faces; `persona` and `settings` where it makes use of the file."""
    parser = verb(verbs, name, help=help, examples=examples)
    dataset_argument(parser)
    parser.add_argument("--pack", default="free", help="face pack: a name or a folder")
    if persona:
        parser.add_argument(
            "--persona",
            type=Path,
            default=None,
            help="persona.toml; else the one beside the dataset",
        )
    if settings:
        parser.add_argument(
            "--settings",
            type=Path,
            default=None,
            metavar="FILE",
            help="measuring.toml with thresholds",
        )
    quiet_argument(parser)
    detachable(parser, card=False)
    parser.set_defaults(handle=handle)
    return parser


def settings_of(cls: type[T], section: str, args: argparse.Namespace, **given: Any) -> T:
    """One section of the settings: the file's, then the command line's on top; None leaves what is there."""
    from vultus.core.specs import load, parse
    from vultus.datasets.settings import MeasuringSpec

    table: dict[str, Any] = {}
    if args.settings is not None:
        found = asdict(getattr(load(MeasuringSpec, args.settings), section))
        table = {k: list(v) if isinstance(v, tuple) else v for k, v in found.items()}
    table |= {key: value for key, value in given.items() if value is not None}
    return parse(cls, table, "command line")


@contextmanager
def opened(args: argparse.Namespace) -> Iterator[tuple[Library, FaceEngine]]:
    from vultus.datasets.library import Library
    from vultus.faces.engines import open_engine
    from vultus.faces.packs import find_pack

    with Library.open(args.dataset) as library:
        yield library, open_engine(find_pack(args.pack))


def progress_of(args: argparse.Namespace, library: Library, label: str) -> Progress:
    from vultus.core.progress import Progress

    count = sum(not entry.derived for entry in library.kept())
    return Progress(count, label, "pictures", quiet=silent(args))


def persona_of(args: argparse.Namespace, *, needed: bool) -> Persona | None:
    """The persona that was named, or the one that lies in the dataset's folder or the one above."""
    from vultus.core.errors import DatasetError
    from vultus.datasets.persona import PERSONA_FILE, load_persona

    if args.persona is not None:
        return load_persona(args.persona)
    folder = args.dataset.resolve()
    for place in (folder, folder.parent):
        if (place / PERSONA_FILE).is_file():
            return load_persona(place / PERSONA_FILE)
    if needed:
        raise DatasetError(
            "the captions need to know whom they are about",
            where=str(args.dataset),
            expected=f"{PERSONA_FILE} beside the dataset, or --persona",
            next_command=f"vultus dataset caption {shlex.quote(str(args.dataset))} --persona PERSONA.toml",
        )
    return None


def write_page(library: Library, name: str, sheet: Sheet) -> Path:
    from vultus.reports.contact_sheet import write_sheet

    return write_sheet(library.page(name), sheet)


def paths_of(library: Library) -> Any:
    entries = {entry.name: entry for entry in library.entries()}
    return lambda name: library.path(entries[name])
