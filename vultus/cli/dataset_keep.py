"""Verbs of `vultus dataset`: ingest, dedupe, freeze, export and show."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.cli.wording import EXIT_DONE, Nouns, detachable, say, verb

if TYPE_CHECKING:
    from vultus.core.progress import Progress
    from vultus.datasets.library import Library

__all__ = ["add"]

EXPORTS = ("kohya", "diffusers", "onetrainer")


def add(verbs: Nouns) -> None:
    """Add the verbs of this file below `vultus dataset`."""
    _add_ingest(verbs)
    _add_dedupe(verbs)
    _add_freeze(verbs)
    _add_export(verbs)
    _add_show(verbs)


def _add_ingest(verbs: Nouns) -> None:
    parser = verb(
        verbs,
        "ingest",
        help="bring pictures from folders and zip files into a dataset; the originals are never touched",
        examples=[
            "vultus dataset ingest ~/photos/ada --into ada/dataset",
            "vultus dataset ingest renders.zip more/ --into ada/dataset --json",
        ],
    )
    parser.add_argument(
        "sources", type=Path, nargs="+", metavar="SOURCE", help="folder, zip file or picture"
    )
    parser.add_argument("--into", type=Path, required=True, help="dataset folder, made if need be")
    _quiet(parser)
    detachable(parser, card=False)
    parser.set_defaults(handle=_ingest)


def _add_dedupe(verbs: Nouns) -> None:
    parser = verb(
        verbs,
        "dedupe",
        help="find pictures that are one shot: identical, edited copies, bursts; nothing is deleted",
        examples=[
            "vultus dataset dedupe ada/dataset",
            "vultus dataset dedupe ada/dataset --apply",
            "vultus dataset dedupe ada/dataset --undo",
        ],
    )
    _dataset(parser)
    parser.add_argument(
        "--apply", action="store_true", help="set the proposed copies aside (can be undone)"
    )
    parser.add_argument(
        "--bursts", action="store_true", help="with --apply: of bursts keep one picture, too"
    )
    parser.add_argument("--undo", action="store_true", help="take the newest --apply back")
    parser.add_argument(
        "--keep", action="append", default=[], metavar="NAME", help="keep this picture of its group"
    )
    parser.add_argument(
        "--match-cells",
        type=int,
        default=10,
        help="matched places from which two pictures are compared",
    )
    _quiet(parser)
    detachable(parser, card=False)
    parser.set_defaults(handle=_dedupe)


def _add_freeze(verbs: Nouns) -> None:
    parser = verb(
        verbs,
        "freeze",
        help="write down pictures, captions, masks, views and sides as one immutable manifest",
        examples=["vultus dataset freeze ada/dataset --persona ada/persona.toml"],
    )
    _dataset(parser)
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
    _dataset(parser)
    parser.add_argument("--format", choices=EXPORTS, required=True, help="which trainer")
    parser.add_argument("--to", type=Path, required=True, help="new folder")
    parser.add_argument(
        "--digest", default="", help="which frozen manifest (default: the only one)"
    )
    parser.add_argument(
        "--repeats", type=int, default=1, help="how often a picture is seen per epoch"
    )
    _quiet(parser)
    parser.set_defaults(handle=_export)


def _add_show(verbs: Nouns) -> None:
    parser = verb(
        verbs,
        "show",
        help="tell what a dataset holds, what was set aside and why, and what was frozen",
        examples=["vultus dataset show ada/dataset", "vultus dataset show ada/dataset --json"],
    )
    _dataset(parser)
    parser.set_defaults(handle=_show)


def _dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, help="folder made by `vultus dataset ingest`")


def _quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="no progress line")


def _ingest(args: argparse.Namespace) -> int:
    from vultus.core.progress import Progress
    from vultus.datasets.intake import ingest_sources
    from vultus.datasets.library import Library
    from vultus.reports.dataset_pages import ingest_page

    with (
        Library.create(args.into) as library,
        Progress(0, "ingest", "pictures", quiet=_silent(args)) as line,
    ):
        found = ingest_sources(library, args.sources, lambda done, of: _follow(line, done, of))
        page = ingest_page(library)
        count, digest = len(library.entries()), library.digest()
    record = {
        "added": found.added,
        "known": found.known,
        "pictures": count,
        "refused": [{"name": one.name, "reason": one.reason} for one in found.refused],
        "passed_over": list(found.passed_over),
        "digest": digest,
        "page": str(page),
    }
    lines = [
        f"{count} pictures in the dataset: {found.added} new, {found.known} known",
        *(f"  refused {one.name}: {one.reason}" for one in found.refused),
        *([f"  passed over {len(found.passed_over)} other files"] if found.passed_over else []),
        f"digest: {digest}",
        f"page: {page}",
        f"next: vultus dataset dedupe {args.into}",
    ]
    say(args, record, lines)
    return EXIT_DONE


def _dedupe(args: argparse.Namespace) -> int:
    from vultus.core.progress import Progress
    from vultus.core.specs import parse
    from vultus.datasets.dedupe import apply, dedupe
    from vultus.datasets.library import Library
    from vultus.datasets.records import CurateSpec
    from vultus.reports.dataset_pages import dedupe_page

    with Library.open(args.dataset) as library:
        if args.undo:
            return _undo(args, library)
        spec = parse(CurateSpec, {"match_cells": args.match_cells}, "--match-cells")
        with Progress(3, "dedupe", quiet=_silent(args)) as line:
            stages = _Stages(line)
            outcome = dedupe(library, spec, keep=args.keep, follow=stages)
            stages.close()
            line.retotal(line.done)  # a small set needs no search
        fresh = apply(library, outcome, bursts=args.bursts) if args.apply else []
        page = dedupe_page(library, outcome)
        kept = len(library.kept())
    kinds = [member["kind"] for group in outcome["groups"] for member in group["members"]]
    record = {
        **outcome,
        "applied": [one.name for one in fresh],
        "kept": kept,
        "page": str(page),
    }
    lines = [
        f"{outcome['pictures']} pictures: {kinds.count('identical')} identical, {kinds.count('edited')} edited copies,"
        f" {kinds.count('burst')} burst siblings, in {len(outcome['groups'])} groups",
    ]
    for group in outcome["groups"]:
        lines.append(f"  keep {group['keep']} ({group['reason']})")
        lines += [
            f"    {one['kind']:9s} {one['name']}: {one['evidence']}" for one in group["members"]
        ]
    if args.apply:
        lines.append(
            f"{len(fresh)} set aside now; take it back with: vultus dataset dedupe {args.dataset} --undo"
        )
    elif kinds:
        lines.append(
            f"nothing was set aside; do it with: vultus dataset dedupe {args.dataset} --apply"
        )
    say(args, record, [*lines, f"{kept} pictures are kept", f"page: {page}"])
    return EXIT_DONE


def _undo(args: argparse.Namespace, library: Library) -> int:
    with library.at_work():
        taken = library.undo("dedupe")
    names = [one.name for one in taken.set_aside] if taken else []
    told = f"{len(names)} pictures are back" if names else "there is nothing to take back"
    say(args, {"restored": names}, [told, *(f"  {name}" for name in names)])
    return EXIT_DONE


def _freeze(args: argparse.Namespace) -> int:
    from vultus.cli.dataset_opening import persona_of
    from vultus.core.errors import SpecError
    from vultus.datasets.freeze import freeze
    from vultus.datasets.library import Library
    from vultus.reports.dataset_pages import freeze_page

    if not 64 <= args.resolution <= 4096:
        raise SpecError([f"--resolution {args.resolution} is outside 64..4096"])
    persona = persona_of(args, needed=False)
    with Library.open(args.dataset) as library:
        frozen = freeze(library, persona=persona, resolution_px=args.resolution)
        page = freeze_page(library, frozen)
    rows = frozen.manifest["pictures"]
    held_out = sum(row["role"] == "reference" for row in rows)
    record = {
        "digest": frozen.digest,
        "manifest": str(frozen.path),
        "training": len(rows) - held_out,
        "references": held_out,
        "page": str(page),
    }
    lines = [
        f"frozen {frozen.digest}",
        f"{len(rows) - held_out} pictures to train on, {held_out} held out as references",
        *([] if held_out else ["  no reference is held out: `vultus dataset split` was not run"]),
        f"manifest: {frozen.path}",
        f"page: {page}",
        f'next: in vultus.toml, dataset = "{_beside(frozen.path.parent)}" (then vultus run);'
        f" or vultus dataset export {args.dataset} --format kohya --to FOLDER",
    ]
    say(args, record, lines)
    return EXIT_DONE


def _beside(frozen: Path) -> str:
    """The frozen folder as a vultus.toml beside the dataset (or in it) would name it."""
    dataset = frozen.parents[1]
    inside = f"frozen/{frozen.name}"
    return f"{dataset.resolve().name}/{inside}"


def _export(args: argparse.Namespace) -> int:
    from vultus.core.errors import SpecError
    from vultus.core.progress import Progress
    from vultus.datasets.exports import export
    from vultus.datasets.freeze import read_frozen
    from vultus.datasets.library import Library
    from vultus.reports.dataset_pages import export_page

    if not 1 <= args.repeats <= 1000:
        raise SpecError([f"--repeats {args.repeats} is outside 1..1000"])
    with Library.open(args.dataset) as library:
        frozen = read_frozen(library, args.digest)
        with Progress(0, "export", "pictures", quiet=_silent(args)) as line:
            made = export(
                library,
                frozen,
                args.format,
                args.to,
                repeats=args.repeats,
                follow=lambda done, of: _follow(line, done, of),
            )
        page = export_page(library, frozen, args.format)
    record = {
        "folder": str(made.folder),
        "pictures": made.pictures,
        "digest": made.digest,
        "manifest": frozen.digest,
        "page": str(page),
    }
    lines = [
        f"{made.pictures} pictures for {args.format} in {made.folder}",
        f"digest: {made.digest}",
        f"page: {page}",
    ]
    say(args, record, lines)
    return EXIT_DONE


def _show(args: argparse.Namespace) -> int:
    from vultus.datasets.freeze import frozen_digests
    from vultus.datasets.library import Library
    from vultus.reports.dataset_pages import show_page

    with Library.open(args.dataset) as library:
        entries, gone = library.entries(), library.set_aside()
        frozen = frozen_digests(library)
        kept = library.kept()
        page = show_page(library)
    record: dict[str, Any] = {
        "pictures": [
            {
                "name": one.name,
                "content_id": one.content_id,
                "width_px": one.width_px,
                "height_px": one.height_px,
                "set_aside": gone[one.name].reason if one.name in gone else None,
                "origin": dict(one.origin),
                "notes": list(one.notes),
            }
            for one in entries
        ],
        "kept": len(kept),
        "frozen": frozen,
        "page": str(page),
    }
    lines = [f"{len(entries)} pictures, {len(kept)} kept, {len(entries) - len(kept)} set aside"]
    lines += [
        f"  {name}: {one.reason}" + (f" (stands for it: {one.partner})" if one.partner else "")
        for name, one in sorted(gone.items())
    ]
    lines += [f"frozen: {one}" for one in frozen]
    say(args, record, [*lines, f"page: {page}"])
    return EXIT_DONE


def _silent(args: argparse.Namespace) -> bool:
    return bool(args.quiet or args.json)


def _follow(line: Progress, done: int, of: int) -> None:
    if line.total != of:
        line.retotal(of)
    line.advance(done - line.done)


class _Stages:
    """Shows the stages of a dedupe one after the other on one progress line."""

    def __init__(self, whole: Progress) -> None:
        self._whole = whole
        self._name = ""
        self._part: Progress | None = None

    def __call__(self, stage: str, done: int, of: int) -> None:
        if stage != self._name:
            self.close()
            self._name = stage
            self._part = self._whole.stage(
                stage, of, "pairs" if stage == "comparing" else "pictures"
            )
        if self._part is not None:
            self._part.advance(done - self._part.done)

    def close(self) -> None:
        """The stage that is open is over."""
        if self._part is not None:
            self._part.finish()
            self._part = None
