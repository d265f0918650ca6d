"""Verbs of `vultus dataset` that measure: audit, coverage, caption, split, views and frames."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vultus.cli.wording import EXIT_DONE, Nouns, say, verb

if TYPE_CHECKING:
    from vultus.core.progress import Progress
    from vultus.datasets.library import Library
    from vultus.datasets.persona import Persona
    from vultus.faces.records import FaceEngine
    from vultus.reports.contact_sheet import Sheet

__all__ = ["add"]

T = TypeVar("T")


def add(verbs: Nouns) -> None:
    """Add the verbs of this file below `vultus dataset`."""
    audit = _verb(
        verbs,
        "audit",
        "find pictures of somebody else and pictures that are no good example",
        _audit,
        ["vultus dataset audit set", "vultus dataset audit set --apply"],
    )
    audit.add_argument("--apply", action="store_true", help="set aside what is proposed to drop")
    audit.add_argument("--undo", action="store_true", help="take the last audit's decision back")
    audit.add_argument(
        "--resolution", type=int, default=1024, metavar="PX", help="what the set is trained at"
    )
    audit.add_argument(
        "--z", type=float, default=None, help="robust z below which a face is questioned"
    )
    audit.add_argument(
        "--ratio", type=float, default=None, help="share of the median cosine of another person"
    )
    coverage = _verb(
        verbs,
        "coverage",
        "measure how the set spreads over direction, distance, light and places, and list what is missing",
        _coverage,
        ["vultus dataset coverage set", "vultus dataset coverage set --wanted 36"],
    )
    coverage.add_argument(
        "--wanted", type=int, default=30, help="pictures that the set should reach"
    )
    caption = _verb(
        verbs,
        "caption",
        "caption every picture and say what is wrong with the captions; your own words are kept",
        _caption,
        [
            "vultus dataset caption set --persona ada/persona.toml",
            "vultus dataset caption set --captioner wd14 --model taggers/wd-swinv2",
        ],
    )
    caption.add_argument("--captioner", default="template", help="template, transformers or wd14")
    caption.add_argument("--model", default="", help="folder of the captioner's model")
    caption.add_argument("--revision", default="", help="commit of a model on the hub, 40 digits")
    caption.add_argument(
        "--threshold", type=float, default=0.35, help="probability from which a tag counts"
    )
    split = _verb(
        verbs,
        "split",
        "hold out references before anything trains; copies and frames of one shot stay together",
        _split,
        ["vultus dataset split set", "vultus dataset split set --references 12"],
    )
    split.add_argument("--seed", type=int, default=1, help="seed of the draw")
    split.add_argument("--references", type=int, default=None, help="fewest references")
    split.add_argument("--share", type=float, default=None, help="share held out, 0.1 to 0.7")
    views = _verb(
        verbs,
        "views",
        "cut full, three-quarter and face views and weigh the face, drawn so that nothing is silent",
        _views,
        ["vultus dataset views set --kinds full face", "vultus dataset views set --write"],
    )
    views.add_argument(
        "--kinds", nargs="+", default=["full", "face"], help="full, three-quarter, face"
    )
    views.add_argument(
        "--resolution", type=int, default=1024, metavar="PX", help="size of the views"
    )
    views.add_argument("--rest", type=int, default=96, help="weight outside the face, 0 to 255")
    views.add_argument(
        "--write", action="store_true", help="keep the views and masks as pictures of the dataset"
    )
    frames = _verb(
        verbs,
        "frames",
        "choose sharp, different frames of a video that show the persona",
        _frames,
        [
            "vultus dataset frames set clip.mp4",
            "vultus dataset frames set clip.mp4 --count 20 --apply",
        ],
    )
    frames.add_argument("video", type=Path, help="a video file")
    frames.add_argument("--count", type=int, default=20, help="frames to choose")
    frames.add_argument("--per-shot", type=int, default=5, help="most frames of one shot")
    frames.add_argument(
        "--apply", action="store_true", help="make the chosen frames pictures of the dataset"
    )


def _verb(
    verbs: Nouns, name: str, help: str, handle: Any, examples: list[str]
) -> argparse.ArgumentParser:
    parser = verb(verbs, name, help=help, examples=examples)
    parser.add_argument("dataset", type=Path, help="dataset folder made by `vultus dataset ingest`")
    parser.add_argument("--pack", default="free", help="face pack: a name or a folder")
    parser.add_argument(
        "--persona", type=Path, default=None, help="persona.toml; else the one beside the dataset"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    parser.set_defaults(handle=handle)
    return parser


def _spec(cls: type[T], **given: Any) -> T:
    """Settings from the command line, checked like those of a file; None is the setting's default."""
    from vultus.core.specs import parse

    named = {key: value for key, value in given.items() if value is not None}
    return parse(cls, named, "command line")


@contextmanager
def _opened(args: argparse.Namespace) -> Iterator[tuple[Library, FaceEngine]]:
    from vultus.datasets.library import Library
    from vultus.faces.engines import open_engine
    from vultus.faces.packs import find_pack

    with Library.open(args.dataset) as library:
        yield library, open_engine(find_pack(args.pack))


def _progress(args: argparse.Namespace, library: Library, label: str) -> Progress:
    from vultus.core.progress import Progress

    count = sum(not entry.derived for entry in library.kept())
    return Progress(count, label, "pictures", quiet=args.quiet or args.json)


def _persona(args: argparse.Namespace, *, needed: bool) -> Persona | None:
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
            next_command=f"vultus dataset caption {args.dataset} --persona PERSONA.toml",
        )
    return None


def _page(library: Library, name: str, sheet: Sheet) -> Path:
    from vultus.reports.contact_sheet import write_sheet

    return write_sheet(library.page(name), sheet)


def _paths(library: Library) -> Any:
    entries = {entry.name: entry for entry in library.entries()}
    return lambda name: library.path(entries[name])


def _audit(args: argparse.Namespace) -> int:
    from vultus.datasets.audit import FINDING_WORDS
    from vultus.datasets.library import Library
    from vultus.datasets.records import CurateSpec
    from vultus.datasets.stages import apply_audit, audit_library
    from vultus.reports.measure_pages import audit_sheet

    if args.undo:
        with Library.open(args.dataset) as library, library.at_work():
            taken = library.undo("audit")
        names = [one.name for one in taken.set_aside] if taken else []
        said = f"{len(names)} pictures are back" if taken else "there was nothing to take back"
        say(args, {"back": names}, [said])
        return EXIT_DONE
    spec = _spec(CurateSpec, off_persona_z=args.z, off_persona_ratio=args.ratio)
    with _opened(args) as (library, engine):
        with _progress(args, library, "audit") as progress:
            audited = audit_library(library, engine, spec, args.resolution, progress.advance)
        gone = apply_audit(library, audited) if args.apply else None
        sheet = audit_sheet(audited, _paths(library), None if gone is None else len(gone))
        page = _page(library, "audit", sheet)
    lines = [
        f"{len(audited.readings)} pictures, median cosine {audited.median:.2f}"
        f" under {engine.pack.name} ({engine.pack.licence})",
        *(
            f"  {one.name}: {FINDING_WORDS[one.reason]} ({one.detail})"
            + ("" if one.verdict == "drop" else " [look]")
            for one in audited.findings
        ),
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


def _coverage(args: argparse.Namespace) -> int:
    from vultus.datasets.shotlist import paste
    from vultus.datasets.stages import cover_library
    from vultus.reports.measure_pages import coverage_sheet

    persona = _persona(args, needed=False)
    with _opened(args) as (library, engine):
        with _progress(args, library, "coverage") as progress:
            coverage, shots, readings = cover_library(
                library, engine, persona, args.wanted, progress.advance
            )
        page = _page(
            library, "coverage", coverage_sheet(coverage, shots, readings, _paths(library))
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

    persona = _persona(args, needed=True)
    assert persona is not None
    spec = _spec(
        CaptionerSpec,
        name=args.captioner,
        model=args.model,
        revision=args.revision,
        threshold=args.threshold,
    )
    captioner = CAPTIONERS.get(spec.name)(spec)
    with _opened(args) as (library, engine):
        with _progress(args, library, "caption") as progress:
            if captioner.mark != "template":
                progress.retotal(2 * progress.total)
            captioned = caption_library(library, engine, persona, captioner, progress.advance)
        page = _page(library, "captions", caption_sheet(captioned, _paths(library)))
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
    from vultus.datasets.records import CurateSpec
    from vultus.datasets.stages import split_library
    from vultus.reports.measure_pages import split_sheet

    spec = _spec(CurateSpec, references_min=args.references, reference_share=args.share)
    with _opened(args) as (library, engine):
        with _progress(args, library, "split") as progress:
            split, readings = split_library(library, engine, spec, args.seed, progress.advance)
        page = _page(library, "split", split_sheet(split, readings, _paths(library)))
        outcome = library.read_stage("split") or {}
    lines = [
        f"{len(split.references)} references, {len(split.training)} to train on (seed {args.seed})",
        *(f"  {name}: {held} of {every} held out" for name, (held, every) in split.strata.items()),
        f"page: {page}",
    ]
    say(args, {**outcome, "page": str(page)}, lines)
    return EXIT_DONE


def _views(args: argparse.Namespace) -> int:
    from vultus.datasets.makings import view_library
    from vultus.datasets.views import ViewsSpec
    from vultus.reports.measure_pages import views_sheet

    spec = _spec(ViewsSpec, kinds=args.kinds, resolution_px=args.resolution, mask_rest=args.rest)
    with _opened(args) as (library, engine):
        with _progress(args, library, "views") as progress:
            views, left_out, _ = view_library(
                library, engine, spec, write=args.write, advance=progress.advance
            )
        page = _page(library, "views", views_sheet(views, left_out, spec, _paths(library)))
        outcome = library.read_stage("views") or {}
    lines = [
        f"{len(views)} views, {len(left_out)} left out"
        + (", written into the dataset" if args.write else ""),
        *(f"  {line}" for line in left_out[:12]),
        f"page: {page}",
    ]
    say(args, {**outcome, "page": str(page)}, lines)
    return EXIT_DONE


def _frames(args: argparse.Namespace) -> int:
    from vultus.core.progress import Progress
    from vultus.datasets.frames import FramesSpec
    from vultus.datasets.makings import frame_detail, frames_into_library
    from vultus.datasets.video import pick
    from vultus.reports.measure_pages import frames_sheet

    spec = _spec(FramesSpec, count=args.count, per_shot=args.per_shot)
    with _opened(args) as (library, engine):
        with Progress(100, "frames", quiet=args.quiet or args.json) as progress:
            watched = _Stage(progress, "watching", 60)
            looked = _Stage(progress, "reading faces", 40)
            choice, added = frames_into_library(
                library, engine, args.video, spec, apply=args.apply, watched=watched, looked=looked
            )
        pixels = dict(pick(args.video, {one.frame for one in choice.chosen}))
        pictures = [pixels[one.frame] for one in choice.chosen]
        sheet = frames_sheet(choice, args.video.name, pictures, bool(added))
        page = _page(library, "frames", sheet)
    lines = [
        f"{len(choice.chosen)} of {choice.frames} frames in {choice.shots} shots"
        + (", added to the dataset" if added else " (--apply adds them to the dataset)"),
        *(f"  {count} {why}" for why, count in choice.fallen.items()),
        f"page: {page}",
    ]
    record = {
        "frames": choice.frames,
        "shots": choice.shots,
        "chosen": [{"name": one.reading.name, "from": frame_detail(one)} for one in choice.chosen],
        "fallen": choice.fallen,
        "added": [entry.name for entry in added],
        "page": str(page),
    }
    say(args, record, lines)
    return EXIT_DONE


class _Stage:
    """Opens a stage of the progress line when its total is known, and follows it."""

    def __init__(self, whole: Progress, label: str, weight: float) -> None:
        self._whole, self._label, self._weight = whole, label, weight
        self._stage: Progress | None = None

    def __call__(self, n: float = 1, *, total: float | None = None) -> None:
        if total is not None:
            if self._whole._child is not None:
                self._whole._child.finish()
            self._stage = self._whole.stage(self._label, total, "frames", weight=self._weight)
        if self._stage is not None and n:
            self._stage.advance(n)
