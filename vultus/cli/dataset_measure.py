"""Verbs of `vultus dataset` that measure: audit, coverage, caption and split."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vultus.cli.dataset_opening import (
    measuring_verb,
    opened,
    paths_of,
    persona_of,
    progress_of,
    refuse_beside_undo,
    refuse_outside,
    settings_of,
    write_page,
)
from vultus.cli.wording import EXIT_DONE, Nouns, say

if TYPE_CHECKING:
    from vultus.datasets.audit import Finding

__all__ = ["add"]

SHARED_FROM = 5
"""So many more pictures with one and the same remark make it one line."""


def add(verbs: Nouns) -> None:
    """Add the verbs of this file below `vultus dataset`."""
    audit = measuring_verb(
        verbs,
        "audit",
        "find pictures of somebody else and pictures that are no good example",
        _audit,
        ["vultus dataset audit set", "vultus dataset audit set --apply"],
    )
    audit.add_argument("--apply", action="store_true", help="set aside what is proposed to drop")
    audit.add_argument("--undo", action="store_true", help="take the last audit's decision back")
    audit.add_argument(
        "--resolution",
        type=int,
        default=None,
        metavar="PX",
        help="what the set is trained at (default: 1024)",
    )
    audit.add_argument(
        "--z",
        type=float,
        default=None,
        help="how far below the usual a face is questioned, in robust deviations, 1 to 20 (default: 3.5)",
    )
    audit.add_argument(
        "--ratio", type=float, default=None, help="share of the median cosine of another person"
    )
    coverage = measuring_verb(
        verbs,
        "coverage",
        "measure how the set spreads over direction, distance, light and places, and list what is missing",
        _coverage,
        ["vultus dataset coverage set", "vultus dataset coverage set --wanted 36"],
        persona=True,
        settings=False,
    )
    coverage.add_argument(
        "--wanted", type=int, default=30, help="pictures that the set should reach"
    )
    _add_caption_and_split(verbs)


def _add_caption_and_split(verbs: Nouns) -> None:
    caption = measuring_verb(
        verbs,
        "caption",
        "caption every picture and say what is wrong with the captions; your own words are kept",
        _caption,
        [
            "vultus dataset caption set --persona ada/persona.toml",
            "vultus dataset caption set --captioner wd14 --model taggers/wd-swinv2",
        ],
        persona=True,
    )
    caption.add_argument("--captioner", default=None, help="template, transformers or wd14")
    caption.add_argument("--model", default=None, help="folder of the captioner's model")
    caption.add_argument("--revision", default=None, help="commit of a model on the hub, 40 digits")
    caption.add_argument(
        "--threshold", type=float, default=None, help="probability from which a tag counts"
    )
    split = measuring_verb(
        verbs,
        "split",
        "hold out references before anything trains; copies and frames of one shot stay together",
        _split,
        ["vultus dataset split set", "vultus dataset split set --references 12"],
    )
    split.add_argument("--seed", type=int, default=1, help="seed of the draw")
    split.add_argument("--references", type=int, default=None, help="fewest references")
    split.add_argument("--share", type=float, default=None, help="share held out, 0.1 to 0.7")


def _audit(args: argparse.Namespace) -> int:
    from vultus.datasets.library import Library
    from vultus.datasets.records import JudgeSpec
    from vultus.datasets.stages import apply_audit, audit_library
    from vultus.reports.measure_pages import audit_sheet

    if args.undo:
        refuse_beside_undo(args, "apply", "z", "ratio", "resolution", "settings")
        with Library.open(args.dataset) as library, library.at_work():
            taken = library.undo("audit")
        names = [one.name for one in taken.set_aside] if taken else []
        said = f"{len(names)} pictures are back" if taken else "there was nothing to take back"
        say(args, {"back": names}, [said])
        return EXIT_DONE
    resolution_px = 1024 if args.resolution is None else args.resolution
    refuse_outside("--resolution", resolution_px, 64, 4096)
    spec = settings_of(JudgeSpec, "audit", args, off_persona_z=args.z, off_persona_ratio=args.ratio)
    with opened(args) as (library, engine):
        with progress_of(args, library, "audit") as progress:
            audited = audit_library(library, engine, spec, resolution_px, progress.advance)
        gone = apply_audit(library, audited) if args.apply else None
        sheet = audit_sheet(audited, paths_of(library), None if gone is None else len(gone))
        page = write_page(library, "audit", sheet)
    lines = [
        f"{len(audited.readings)} pictures, median cosine {audited.median:.2f}"
        f" under {engine.pack.name} ({engine.pack.licence})",
        *_finding_lines(audited.findings),
        f"{len(gone)} set aside" if gone is not None else "nothing was set aside (--apply does it)",
        f"page: {page}",
    ]
    record = {
        "pictures": len(audited.readings),
        "median_cosine": audited.median,
        "pack": engine.pack.name,
        "findings": [vars(one) for one in audited.findings],
        "set_aside": None if gone is None else [row.name for row in gone],
        "page": str(page),
    }
    say(args, record, lines)
    return EXIT_DONE


def _finding_lines(findings: Sequence[Finding]) -> list[str]:
    """The findings, the farthest first; what many pictures share and nothing is proposed for is one line."""
    from vultus.datasets.audit import FINDING_WORDS

    shared = Counter(one.reason for one in findings if one.verdict == "look" and one.z is None)
    told: set[str] = set()
    lines = []
    for one in sorted(findings, key=lambda one: (one.z is None, one.verdict, one.z or 0.0)):
        words = f"{FINDING_WORDS[one.reason]} ({one.detail})"
        more = shared[one.reason] - 1 if one.verdict == "look" and one.z is None else 0
        if more < SHARED_FROM:
            lines.append(f"  {one.name}: {words}" + ("" if one.verdict == "drop" else " [look]"))
        elif one.reason not in told:
            told.add(one.reason)
            lines.append(f"  {one.name} and {more} more: {words} [look]")
    return lines


def _coverage(args: argparse.Namespace) -> int:
    from vultus.datasets.shotlist import paste
    from vultus.datasets.stages import cover_library
    from vultus.reports.measure_pages import coverage_sheet

    refuse_outside("--wanted", args.wanted, 1, 100_000)
    persona = persona_of(args, needed=False)
    with opened(args) as (library, engine):
        with progress_of(args, library, "coverage") as progress:
            coverage, shots, readings = cover_library(
                library, engine, persona, args.wanted, progress.advance
            )
        page = write_page(
            library, "coverage", coverage_sheet(coverage, shots, readings, paths_of(library))
        )
        outcome = library.read_stage("coverage") or {}
    missing = sum(hole.missing for hole in coverage.holes)
    lines = [
        f"{len(coverage.cells)} pictures with a face; evenness {coverage.evenness:.2f};"
        f" {missing} pictures missing for a set of {args.wanted}",
        *(
            f"  {hole.yaw}, {hole.framing}: {hole.have} of {hole.want}"
            for hole in coverage.holes[:8]
        ),
        *(["what to generate next:", paste(shots)] if shots else []),
        f"page: {page}",
    ]
    say(args, {**outcome, "page": str(page)}, lines)
    return EXIT_DONE


def _caption(args: argparse.Namespace) -> int:
    from vultus.datasets.captioners import CAPTIONERS, CaptionerSpec
    from vultus.datasets.stages import caption_library
    from vultus.reports.measure_pages import caption_sheet

    persona = persona_of(args, needed=True)
    assert persona is not None
    spec = settings_of(
        CaptionerSpec,
        "captioner",
        args,
        name=args.captioner,
        model=args.model,
        revision=args.revision,
        threshold=args.threshold,
    )
    captioner = CAPTIONERS.get(spec.name)(spec)
    with opened(args) as (library, engine):
        with progress_of(args, library, "caption") as progress:
            if captioner.mark != "template":
                progress.retotal(2 * progress.total)
            captioned = caption_library(library, engine, persona, captioner, progress.advance)
        page = write_page(library, "captions", caption_sheet(captioned, paths_of(library)))
    own = sum(caption.by == "user" for caption in captioned.captions)
    lines = [
        f"{len(captioned.captions)} captions, {own} of them yours, the rest by {captioned.mark}",
        *(f"  {lint.kind}: {lint.count} of {lint.of}: {lint.detail}" for lint in captioned.lints),
        f"page: {page}",
    ]
    record = {
        "captioner": captioned.mark,
        "captions": {c.name: {"text": c.text, "by": c.by} for c in captioned.captions},
        "lints": [vars(lint) for lint in captioned.lints],
        "page": str(page),
    }
    say(args, record, lines)
    return EXIT_DONE


def _split(args: argparse.Namespace) -> int:
    from vultus.datasets.records import JudgeSpec
    from vultus.datasets.stages import split_library
    from vultus.reports.measure_pages import split_sheet

    spec = settings_of(
        JudgeSpec, "audit", args, references_min=args.references, reference_share=args.share
    )
    with opened(args) as (library, engine):
        with progress_of(args, library, "split") as progress:
            split, readings = split_library(library, engine, spec, args.seed, progress.advance)
        page = write_page(library, "split", split_sheet(split, readings, paths_of(library)))
        outcome = library.read_stage("split") or {}
    lines = [
        f"{len(split.references)} references, {len(split.training)} to train on (seed {args.seed})",
        *(f"  {name}: {held} of {every} held out" for name, (held, every) in split.strata.items()),
        f"page: {page}",
    ]
    say(args, {**outcome, "page": str(page)}, lines)
    return EXIT_DONE
