"""Verbs of `vultus dataset` that make pictures: views and frames."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vultus.cli.dataset_opening import (
    measuring_verb,
    opened,
    paths_of,
    progress_of,
    refuse_beside_undo,
    settings_of,
    write_page,
)
from vultus.cli.wording import EXIT_DONE, Nouns, say

if TYPE_CHECKING:
    from vultus.core.progress import Progress

__all__ = ["add"]

LEFT_OUT_SHOWN = 12


def add(verbs: Nouns) -> None:
    """Add the verbs of this file below `vultus dataset`."""
    views = measuring_verb(
        verbs,
        "views",
        "cut full, three-quarter and face views and weigh the face, drawn so that nothing is silent",
        _views,
        ["vultus dataset views set --kinds full face", "vultus dataset views set --write"],
    )
    views.add_argument("--kinds", nargs="+", default=None, help="full, three-quarter, face")
    views.add_argument(
        "--resolution", type=int, default=None, metavar="PX", help="size of the views"
    )
    views.add_argument("--rest", type=int, default=None, help="weight outside the face, 0 to 255")
    views.add_argument(
        "--write", action="store_true", help="keep the views and masks as pictures of the dataset"
    )
    frames = measuring_verb(
        verbs,
        "frames",
        "choose sharp, different frames of a video that show the persona",
        _frames,
        [
            "vultus dataset frames set clip.mp4",
            "vultus dataset frames set clip.mp4 --count 20 --apply",
            "vultus dataset frames set clip.mp4 --undo",
        ],
    )
    frames.add_argument("video", type=Path, help="a video file")
    frames.add_argument("--count", type=int, default=None, help="frames to choose")
    frames.add_argument("--per-shot", type=int, default=None, help="most frames of one shot")
    frames.add_argument(
        "--apply", action="store_true", help="make the chosen frames pictures of the dataset"
    )
    frames.add_argument(
        "--undo",
        action="store_true",
        help="set this video's frames aside (--apply brings them back)",
    )


def _views(args: argparse.Namespace) -> int:
    from vultus.datasets.makings import view_library
    from vultus.datasets.views import ViewsSpec
    from vultus.reports.measure_pages import views_sheet

    spec = settings_of(
        ViewsSpec,
        "views",
        args,
        kinds=args.kinds,
        resolution_px=args.resolution,
        mask_rest=args.rest,
    )
    with opened(args) as (library, engine):
        with progress_of(args, library, "views") as progress:
            if args.write:  # at most one crop or mask per kind of view is made of each picture
                progress.retotal(progress.total * (1 + len(spec.kinds)))
            views, left_out, _ = view_library(
                library, engine, spec, write=args.write, advance=progress.advance
            )
        page = write_page(library, "views", views_sheet(views, left_out, spec, paths_of(library)))
        outcome = library.read_stage("views") or {}
    more = len(left_out) - LEFT_OUT_SHOWN
    lines = [
        f"{len(views)} views, {len(left_out)} left out"
        + (", written into the dataset" if args.write else ""),
        *(f"  {line}" for line in left_out[:LEFT_OUT_SHOWN]),
        *([f"  and {more} more (all of them: --json)"] if more > 0 else []),
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

    if args.undo:
        refuse_beside_undo(args, "apply", "count", "per_shot", "settings")
        return _frames_out(args)
    spec = settings_of(FramesSpec, "frames", args, count=args.count, per_shot=args.per_shot)
    with opened(args) as (library, engine):
        with Progress(100, "frames", quiet=args.quiet or args.json) as progress:
            watched = _Stage(progress, "watching", 60)
            looked = _Stage(progress, "reading faces", 40)
            choice, added = frames_into_library(
                library, engine, args.video, spec, apply=args.apply, watched=watched, looked=looked
            )
        pixels = dict(pick(args.video, {one.frame for one in choice.chosen}))
        pictures = [pixels[one.frame] for one in choice.chosen]
        sheet = frames_sheet(choice, args.video.name, pictures, bool(added))
        page = write_page(library, "frames", sheet)
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


def _frames_out(args: argparse.Namespace) -> int:
    from vultus.datasets.library import Library
    from vultus.datasets.makings import take_frames_out

    with Library.open(args.dataset) as library:
        names = [one.name for one in take_frames_out(library, args.video)]
    said = f"{len(names)} frames of {args.video.name} are set aside"
    if not names:
        said = f"no frame of {args.video.name} is in the dataset"
    say(args, {"set_aside": names}, [said])
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
