"""Verbs of `vultus dataset`: ingest, dedupe and show."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.cli.dataset_opening import (
    dataset_argument,
    follow,
    quiet_argument,
    refuse_beside_undo,
    silent,
)
from vultus.cli.wording import EXIT_DONE, Nouns, detachable, say, verb

if TYPE_CHECKING:
    from vultus.core.progress import Progress
    from vultus.datasets.dedupe import Applied
    from vultus.datasets.library import Library

__all__ = ["add"]


def add(verbs: Nouns) -> None:
    """Add the verbs of this file below `vultus dataset`."""
    _add_ingest(verbs)
    _add_dedupe(verbs)
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
    parser.add_argument(
        "--replace",
        action="store_true",
        help="a picture takes the place of another one that has its name (without it both are kept)",
    )
    quiet_argument(parser)
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
    dataset_argument(parser)
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
        default=None,
        help="matched places from which two pictures are compared (default: 10)",
    )
    quiet_argument(parser)
    detachable(parser, card=False)
    parser.set_defaults(handle=_dedupe)


def _add_show(verbs: Nouns) -> None:
    parser = verb(
        verbs,
        "show",
        help="tell what a dataset holds, what was set aside and why, and what was frozen",
        examples=["vultus dataset show ada/dataset", "vultus dataset show ada/dataset --json"],
    )
    dataset_argument(parser)
    parser.set_defaults(handle=_show)


def _ingest(args: argparse.Namespace) -> int:
    from vultus.core.progress import Progress
    from vultus.datasets.intake import ingest_sources, refuse_absent
    from vultus.datasets.library import Library
    from vultus.reports.dataset_pages import ingest_page

    refuse_absent(args.sources)  # before a folder is made
    with (
        Library.create(args.into) as library,
        Progress(0, "ingest", "pictures", quiet=silent(args)) as line,
    ):
        found = ingest_sources(
            library,
            args.sources,
            lambda done, of: follow(line, done, of),
            replace_them=args.replace,
        )
        page = ingest_page(library)
        count, digest = len(library.entries()), library.digest()
    record = {
        "added": found.added,
        "known": found.known,
        "pictures": count,
        "refused": [{"name": one.name, "reason": one.reason} for one in found.refused],
        "passed_over": list(found.passed_over),
        "captions_unread": [{"name": one.name, "reason": one.reason} for one in found.unread],
        "renamed": [{"name": name, "kept_as": kept} for name, kept in found.renamed],
        "digest": digest,
        "page": str(page),
    }
    lines = [
        f"{count} pictures in the dataset: {found.added} new, {found.known} known",
        *(f"  refused {one.name}: {one.reason}" for one in found.refused),
        *([f"  passed over {len(found.passed_over)} other files"] if found.passed_over else []),
        *(f"  no caption from {one.name}: {one.reason}" for one in found.unread),
        *(
            f"  {name} is kept as {kept}: another picture has that name (--replace exchanges it)"
            for name, kept in found.renamed
        ),
        f"digest: {digest}",
        f"page: {page}",
        f"next: vultus dataset dedupe {shlex.quote(str(args.into))}",
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

    if args.undo:
        refuse_beside_undo(args, "apply", "bursts", "keep", "match_cells")
    with Library.open(args.dataset) as library:
        if args.undo:
            return _undo(args, library)
        given = {} if args.match_cells is None else {"match_cells": args.match_cells}
        spec = parse(CurateSpec, given, "--match-cells")
        with Progress(3, "dedupe", quiet=silent(args)) as line:
            stages = _Stages(line)
            outcome = dedupe(library, spec, keep=args.keep, follow=stages)
            stages.close()
            line.retotal(line.done)  # a small set needs no search
        done = apply(library, outcome, bursts=args.bursts) if args.apply else None
        page = dedupe_page(library, outcome)
        kept = len(library.kept())
    kinds = [member["kind"] for group in outcome["groups"] for member in group["members"]]
    record = {
        **outcome,
        "applied": [one.name for one in done.fresh] if done else [],
        "restored": list(done.back) if done else [],
        "left": [{"keep": keep, "set_aside_by": by} for keep, by in done.left] if done else [],
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
    lines += _applied_lines(args, done, bool(kinds))
    say(args, record, [*lines, f"{kept} pictures are kept", f"page: {page}"])
    return EXIT_DONE


def _applied_lines(args: argparse.Namespace, done: Applied | None, found: bool) -> list[str]:
    """What --apply did, or how to do it."""
    folder = shlex.quote(str(args.dataset))
    if done is None:
        how = f"nothing was set aside; do it with: vultus dataset dedupe {folder} --apply"
        return [how] if found else []
    return [
        f"{len(done.fresh)} set aside now; take it back with: vultus dataset dedupe {folder} --undo",
        *(f"  {name} is back: an older --apply had set it aside" for name in done.back),
        *(
            f"  the copies of {keep} stay: it is set aside by {by} (vultus dataset {by} {folder} --undo)"
            for keep, by in done.left
        ),
    ]


def _undo(args: argparse.Namespace, library: Library) -> int:
    with library.at_work():
        taken = library.undo("dedupe")
    names = [one.name for one in taken.set_aside] if taken else []
    told = f"{len(names)} pictures are back" if names else "there is nothing to take back"
    say(args, {"restored": names}, [told, *(f"  {name}" for name in names)])
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
