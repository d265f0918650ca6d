"""The verbs of a dataset folder that make pictures: views with their masks, and frames of a video.

Made pictures carry what they were made of (lineage): a view follows its parent wherever it goes, a frame is judged
like any other picture and stays with the frames of its shot when the set is split.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from vultus.core.keys import file_content_id
from vultus.datasets.frames import Choice, FramesSpec, Seen, choose, look, refuse_nothing, windows
from vultus.datasets.library import Library
from vultus.datasets.readings import Reading, read_library
from vultus.datasets.records import Entry, Lineage, SetAside
from vultus.datasets.stages import Advance, readings_of, rounded, unheard
from vultus.datasets.video import Film, count_frames, pick, watch
from vultus.datasets.views import (
    View,
    ViewsSpec,
    bucket,
    cut,
    face_mask,
    plan_views,
    view_caption,
)
from vultus.faces.records import FaceEngine
from vultus.images.hashing import pixel_id
from vultus.images.records import Rgb
from vultus.images.write import png_bytes

FILM = "film/1"
FRAMES = "frames"
"""The verb under which frames are set aside and brought back."""


def view_library(
    library: Library,
    engine: FaceEngine,
    spec: ViewsSpec,
    *,
    write: bool = False,
    advance: Advance = unheard,
) -> tuple[list[View], list[str], tuple[Reading, ...]]:
    """Plan the views of every kept picture; `write` also keeps crops as pictures and masks as blobs."""
    with library.at_work():
        readings = readings_of(library, engine, advance)
        views, left_out = plan_views(readings, spec)
        entries = {entry.name: entry for entry in library.kept()}
        if write:
            masks = {}
            for view in views:
                name, mask = _derive(library, entries[view.parent], view, spec)
                masks[name] = mask
                advance(1)
            library.write_stage("masks", {"dataset": library.digest(), "masks": masks})
        library.write_stage(
            "views",
            {
                "dataset": library.digest(),
                "pack_digest": engine.pack.digest,
                "spec": dataclasses.asdict(spec),
                "views": [rounded(dataclasses.asdict(view)) for view in views],
                "buckets": {
                    r.name: list(bucket(r.width_px, r.height_px, spec.resolution_px))
                    for r in readings
                },
                "left_out": left_out,
                "written": write,
            },
        )
    return views, left_out, readings


def view_name(view: View) -> str:
    """The name of a written view."""
    return f"views/{Path(view.parent).with_suffix('').as_posix()}.{view.kind}.png"


def frames_into_library(
    library: Library,
    engine: FaceEngine,
    path: Path,
    spec: FramesSpec,
    *,
    apply: bool = False,
    watched: Advance = unheard,
    looked: Advance = unheard,
) -> tuple[Choice, list[Entry]]:
    """Choose frames of a video; with `apply` they become pictures of the dataset, marked as frames."""
    with library.at_work():
        film = remember_film(library, path, watched)
        looked(0, total=len(windows(film, spec.window_s)))
        seen = look(path, film, engine, spec, looked)
        rows = [
            r.emb
            for r in read_library(library, engine, [e for e in library.kept() if not is_frame(e)])
            if r.emb is not None and r.face_state != "several"
        ]
        choice = choose(seen, film, spec, np.stack(rows) if rows else None)
        refuse_nothing(choice, path)
        added = _add_frames(library, path, choice) if apply else []
        if added:  # frames that were taken out before are back by the same word
            library.undo(FRAMES, {entry.name for entry in added})
    return choice, added


def take_frames_out(library: Library, path: Path) -> list[SetAside]:
    """Set aside what `frames_into_library` added from this video; applying it again brings them back."""
    with library.at_work():
        rows = [
            SetAside(entry.name, f"the frames of {path.name} were taken out")
            for entry in library.kept()
            if is_frame(entry) and entry.lineage is not None and entry.lineage.parent == path.name
        ]
        library.decide(FRAMES, rows)
    return rows


def is_frame(entry: Entry) -> bool:
    """Whether a picture was taken from a video."""
    return entry.lineage is not None and entry.lineage.how == "frame"


def remember_film(library: Library, path: Path, advance: Advance = unheard) -> Film:
    """Watch a video, or remember what was seen: the pass over all frames is the long part."""
    one = file_content_id(path) if path.is_file() else ""
    known = library.recall(FILM, [one])
    if one in known:
        table = json.loads(known[one])
        return Film(tuple(table["times_s"]), tuple(table["edges"]), tuple(table["cuts"]))
    advance(0, total=count_frames(path))
    film = watch(path, advance)
    library.remember(FILM, {one: json.dumps(dataclasses.asdict(film)).encode()})
    return film


def _add_frames(library: Library, path: Path, choice: Choice) -> list[Entry]:
    by_frame = {one.frame: one for one in choice.chosen}
    added: list[Entry] = []
    for index, rgb in pick(path, set(by_frame)):
        seen = by_frame[index]
        entry = Entry(
            name=seen.reading.name,
            content_id=library.blobs.put_bytes(png_bytes(rgb, xmp_ai=False)),
            pixel_id=pixel_id(rgb),
            width_px=int(rgb.shape[1]),
            height_px=int(rgb.shape[0]),
            format="PNG",
            lineage=Lineage(path.name, "frame", frame_detail(seen)),
            origin=(("origin", "video"), ("video", path.name)),
        )
        added.append(entry)
    library.add(added)
    return added


def frame_detail(seen: Seen) -> str:
    """Where a frame comes from, in words: `frame 96 at 4.0 s, shot 2`."""
    return f"frame {seen.frame} at {seen.time_s:.1f} s, shot {seen.shot}"


def _derive(library: Library, parent: Entry, view: View, spec: ViewsSpec) -> tuple[str, str]:
    """Keep a view's pixels (a full view is its parent) and its mask; returns the name and the mask's content id."""
    if view.kind == "full":
        x0, y0, x1, y1 = (0, 0, parent.width_px, parent.height_px)
        whole = replace(view, crop_px=(x0, y0, x1, y1), target=(x1, y1), face_px=_in_picture(view))
        return parent.name, library.blobs.put_bytes(png_bytes(_grey(whole, spec), xmp_ai=False))
    pixels = cut(library.picture(parent.content_id).rgb, view)
    box = " ".join(str(v) for v in view.crop_px)
    entry = Entry(
        name=view_name(view),
        content_id="",
        pixel_id=pixel_id(pixels),
        width_px=int(pixels.shape[1]),
        height_px=int(pixels.shape[0]),
        format="PNG",
        caption=_caption_of(library, parent, view),
        lineage=Lineage(parent.name, "view", f"{view.kind}, box {box}"),
    )
    library.derive(entry, png_bytes(pixels, xmp_ai=False))
    return entry.name, library.blobs.put_bytes(png_bytes(_grey(view, spec), xmp_ai=False))


def _in_picture(view: View) -> tuple[float, float, float, float] | None:
    """The face box of a view in pixels of the picture."""
    if view.face_px is None:
        return None
    k = (view.crop_px[2] - view.crop_px[0]) / view.target[0]
    left, top = view.crop_px[:2]
    a, b, c, d = view.face_px
    return a * k + left, b * k + top, c * k + left, d * k + top


def _grey(view: View, spec: ViewsSpec) -> Rgb:
    return np.repeat(face_mask(view, spec)[..., None], 3, axis=2)


def _caption_of(library: Library, parent: Entry, view: View) -> str:
    """The parent's caption with the framing of the view: a face crop of a standing body is a close-up."""
    told = (library.read_stage("captions") or {}).get("captions", {})
    text = str(told.get(parent.name, parent.caption))
    return view_caption(text, view.kind)


__all__ = [
    "frame_detail",
    "frames_into_library",
    "is_frame",
    "remember_film",
    "view_library",
    "view_name",
]
