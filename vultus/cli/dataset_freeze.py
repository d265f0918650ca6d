"""Verbs of `vultus dataset` that end the work on a set: freeze and export."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from vultus.cli.dataset_opening import (
    dataset_argument,
    follow,
    persona_of,
    quiet_argument,
    refuse_outside,
    silent,
)
from vultus.cli.wording import EXIT_DONE, Nouns, say, verb

__all__ = ["add"]

EXPORTS = ("kohya", "diffusers", "onetrainer")


def add(verbs: Nouns) -> None:
    """Add the verbs of this file below `vultus dataset`."""
    _add_freeze(verbs)
    _add_export(verbs)


def _add_freeze(verbs: Nouns) -> None:
    parser = verb(
        verbs,
        "freeze",
        help="write down pictures, captions, masks, views and sides as one immutable manifest",
        examples=["vultus dataset freeze ada/dataset --persona ada/persona.toml"],
    )
    dataset_argument(parser)
    parser.add_argument(
        "--persona", type=Path, help="persona.toml; else the one beside the dataset"
    )
    parser.add_argument(
        "--resolution", type=int, default=1024, help="side of the training square, px"
    )
    parser.set_defaults(handle=_freeze)


def _add_export(verbs: Nouns) -> None:
    parser = verb(
        verbs,
        "export",
        help="write a frozen dataset for another trainer; the same manifest gives the same bytes",
        examples=["vultus dataset export ada/dataset --format kohya --to ada/kohya"],
    )
    dataset_argument(parser)
    parser.add_argument("--format", choices=EXPORTS, required=True, help="which trainer")
    parser.add_argument("--to", type=Path, required=True, help="new folder")
    parser.add_argument(
        "--digest", default="", help="which frozen manifest (default: the only one)"
    )
    parser.add_argument(
        "--repeats", type=int, default=1, help="how often a picture is seen per epoch"
    )
    quiet_argument(parser)
    parser.set_defaults(handle=_export)


def _freeze(args: argparse.Namespace) -> int:
    from vultus.datasets.freeze import freeze, is_view
    from vultus.datasets.library import Library
    from vultus.reports.dataset_pages import freeze_page

    refuse_outside("--resolution", args.resolution, 64, 4096)
    persona = persona_of(args, needed=False)
    with Library.open(args.dataset) as library:
        frozen = freeze(library, persona=persona, resolution_px=args.resolution)
        page = freeze_page(library, frozen)
    rows = frozen.manifest["pictures"]
    whole = [row for row in rows if not is_view(row)]
    held_out = sum(row["role"] == "reference" for row in whole)
    trained = [row for row in rows if row["role"] == "training"]
    views = sum(is_view(row) for row in trained)
    bare = [row["name"] for row in trained if not row["caption"]]
    record = {
        "digest": frozen.digest,
        "manifest": str(frozen.path),
        "training": len(trained) - views,
        "training_views": views,
        "references": held_out,
        "without_caption": bare,
        "page": str(page),
    }
    dataset = shlex.quote(str(args.dataset))
    lines = [
        f"frozen {frozen.digest}",
        f"{len(trained) - views} pictures"
        + (f" and {views} views of them" if views else "")
        + f" to train on, {held_out} held out as references",
        *([] if held_out else ["  no reference is held out: `vultus dataset split` was not run"]),
        *([_without(bare, dataset)] if bare else []),
        f"manifest: {frozen.path}",
        f"page: {page}",
        f'next: in vultus.toml, dataset = "{_beside(frozen.path.parent)}" (then vultus run);'
        f" or vultus dataset export {dataset} --format kohya --to FOLDER",
    ]
    say(args, record, lines)
    return EXIT_DONE


def _without(bare: list[str], dataset: str) -> str:
    return (
        f"  {len(bare)} to train on without a caption (first: {bare[0]}):"
        f" vultus dataset caption {dataset} writes them"
    )


def _beside(frozen: Path) -> str:
    """The frozen folder as a vultus.toml beside the dataset (or in it) would name it."""
    dataset = frozen.parents[1]
    inside = f"frozen/{frozen.name}"
    return f"{dataset.resolve().name}/{inside}"


def _export(args: argparse.Namespace) -> int:
    from vultus.core.progress import Progress
    from vultus.datasets.exports import export
    from vultus.datasets.freeze import read_frozen
    from vultus.datasets.library import Library
    from vultus.reports.dataset_pages import export_page

    refuse_outside("--repeats", args.repeats, 1, 1000)
    with Library.open(args.dataset) as library:
        frozen = read_frozen(library, args.digest)
        with Progress(0, "export", "pictures", quiet=silent(args)) as line:
            made = export(
                library,
                frozen,
                args.format,
                args.to,
                repeats=args.repeats,
                follow=lambda done, of: follow(line, done, of),
            )
        page = export_page(library, frozen, args.format)
    partly = 0 < made.masks < made.pictures
    record = {
        "folder": str(made.folder),
        "pictures": made.pictures,
        "masks": made.masks,
        "digest": made.digest,
        "manifest": frozen.digest,
        "page": str(page),
    }
    unused = " and dataset.toml names none, for it needs all" if args.format == "kohya" else ""
    lines = [
        f"{made.pictures} pictures for {args.format} in {made.folder}",
        *([f"  only {made.masks} of them have a mask{unused}"] if partly else []),
        f"digest: {made.digest}",
        f"page: {page}",
    ]
    say(args, record, lines)
    return EXIT_DONE
