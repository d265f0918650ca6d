"""The pages of the measuring verbs of `vultus dataset`: what was found, as pictures beside the numbers.

Each function turns the records of one verb into a `Sheet`; `path_of` gives the file of a picture by its name. Pictures
that are questioned stand beside the persona's own most typical ones: a number is believed when the eye can follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus.datasets.audit import FINDING_WORDS, Finding
from vultus.datasets.coverage import FRAMINGS, Coverage
from vultus.datasets.frames import Choice
from vultus.datasets.pose import PITCH_BINS, YAW_BINS
from vultus.datasets.readings import Reading
from vultus.datasets.shotlist import Shot, paste
from vultus.datasets.split import Split
from vultus.datasets.stages import Audited, Captioned
from vultus.datasets.views import View, ViewsSpec, cut, face_mask, mask_effect
from vultus.images.geometry import fit_within
from vultus.images.load import load_picture
from vultus.reports.contact_sheet import Section, Sheet, Tile, Tone
from vultus.reports.html import Html, tag

__all__ = [
    "audit_sheet",
    "caption_sheet",
    "coverage_sheet",
    "frames_sheet",
    "split_sheet",
    "views_sheet",
]

PathOf = Callable[[str], Path]
TYPICAL = 3
MASK_SHOWN_PX = 256
IDENTITY = ("off_persona", "doubtful")


def audit_sheet(audited: Audited, path_of: PathOf, applied: int | None = None) -> Sheet:
    """Strangers beside the persona's most typical pictures, then everything else by reason."""
    dropped = {one.name for one in audited.findings if one.verdict == "drop"}
    looked = {one.name for one in audited.findings} - dropped
    sections: list[Section] = []
    typical = _typical(audited)
    strangers = [one for one in audited.findings if one.reason in IDENTITY]
    if strangers:
        strangers.sort(key=lambda one: one.z or 0.0)
        own = [
            Tile(path_of(r.name), (r.name, "typical of the set"), "persona", "good")
            for r in typical
        ]
        tiles = [_finding_tile(one, path_of) for one in strangers]
        sections.append(
            Section(
                "Somebody else?",
                "Far from the others by the persona's own spread. The first pictures are the set's most typical"
                " ones, to compare with.",
                (*own, *tiles),
            )
        )
    for reason, words in FINDING_WORDS.items():
        found = [one for one in audited.findings if one.reason == reason]
        if found and reason not in IDENTITY:
            tiles = [_finding_tile(one, path_of) for one in found]
            sections.append(Section(f"{words[:1].upper()}{words[1:]}", "", tuple(tiles)))
    if not sections:
        sections.append(Section("Nothing speaks against any picture", ""))
    lede = (
        f"{applied} pictures were set aside; undo takes them back."
        if applied is not None
        else "Proposals only: `--apply` sets the red ones aside, `--undo` takes them back."
    )
    facts = (
        ("pictures", str(len(audited.readings))),
        ("proposed to drop", str(len(dropped))),
        ("worth a look", str(len(looked))),
        ("median cosine", f"{audited.median:.2f}"),
    )
    return Sheet("Audit", lede, facts, tuple(sections))


def _typical(audited: Audited) -> list[Reading]:
    questioned = {one.name for one in audited.findings}
    clean = [r for r in audited.readings if r.emb is not None and r.name not in questioned]
    if not clean:
        return []
    rows = np.stack([r.emb for r in clean if r.emb is not None]).astype(np.float64)
    order = np.argsort(-(rows @ rows.sum(axis=0)), kind="stable")
    return [clean[int(i)] for i in order[:TYPICAL]]


def _finding_tile(one: Finding, path_of: PathOf) -> Tile:
    tone: Tone = "bad" if one.verdict == "drop" else "warn"
    badge = "drop?" if one.verdict == "drop" else "look"
    if one.z is not None:
        badge = f"z {one.z:.1f}"
    return Tile(path_of(one.name), (one.name, one.detail), badge, tone)


def coverage_sheet(
    coverage: Coverage, shots: Sequence[Shot], readings: Sequence[Reading], path_of: PathOf
) -> Sheet:
    """The grid, the spreads, the shot list to copy, and the pictures by cell."""
    posed = len(coverage.cells)
    sections = [
        Section(
            "Direction by distance",
            "Left and right are sides of the picture. Empty cells are red, thin ones amber; small numbers are the"
            " pictures with the chin up, level and down.",
            figure=_grid(coverage),
        ),
        Section(
            "What to generate next",
            "Copy these lines. Each fills the largest hole that was left; what it leaves open is what the set has"
            " least of.",
            figure=tag("pre", paste(shots)) if shots else tag("p", "Nothing is missing."),
        ),
        Section("Light, mouth, places, clothes", "", lines=tuple(_spreads(coverage))),
    ]
    by_name = {reading.name: reading for reading in readings}
    for framing in FRAMINGS:
        cells = sorted(
            (c for c in coverage.cells if c.framing == framing),
            key=lambda c: (YAW_BINS.index(c.yaw), PITCH_BINS.index(c.pitch), c.name),
        )
        tiles = tuple(
            Tile(
                path_of(c.name), (c.name, f"{c.yaw}, {c.pitch}", _angles(by_name[c.name])), c.light
            )
            for c in cells
        )
        if tiles:
            sections.append(Section(f"{framing}: {len(tiles)}", "", tiles))
    if coverage.unposed:
        lost = tuple(Tile(path_of(name), (name,), "no face", "warn") for name in coverage.unposed)
        sections.append(Section("Without a face", "", lost))
    empty = sum(hole.have == 0 for hole in coverage.holes)
    facts = (
        ("pictures with a face", str(posed)),
        ("evenness of the grid", f"{coverage.evenness:.2f}"),
        ("empty cells", str(empty)),
        ("pictures to add", str(sum(hole.missing for hole in coverage.holes))),
    )
    return Sheet("Coverage", "How the set spreads, and what it lacks.", facts, tuple(sections))


def _angles(reading: Reading) -> str:
    pose = reading.pose
    return "" if pose is None else f"yaw {pose.yaw_deg:+.0f}, pitch {pose.pitch_deg:+.0f} deg"


def _grid(coverage: Coverage) -> Html:
    occupancy = coverage.occupancy
    wanted = {(hole.yaw, hole.framing): hole.want for hole in coverage.holes}
    head = tag("tr", tag("th", ""), *(tag("th", yaw) for yaw in YAW_BINS))
    rows = []
    for framing in FRAMINGS:
        cells = []
        for yaw in YAW_BINS:
            parts = [occupancy[yaw, pitch, framing] for pitch in PITCH_BINS]
            want = wanted.get((yaw, framing))
            tone = "" if want is None else "empty" if not any(parts) else "thin"
            small = " / ".join(str(part) for part in parts)
            goal = f" of {want}" if want is not None else ""
            cells.append(
                tag("td", tag("b", f"{sum(parts)}{goal}"), tag("span", small), class_=tone or None)
            )
        rows.append(tag("tr", tag("th", framing), *cells))
    return tag("table", head, *rows, class_="grid")


def _spreads(coverage: Coverage) -> list[str]:
    def told(counts: dict[str, int]) -> str:
        return ", ".join(f"{name} {count}" for name, count in counts.items())

    said = [
        f"Light: {told(dict(coverage.lights))}.",
        f"Mouth (width against the eyes, this persona's usual = usual): {told(dict(coverage.mouths))}.",
    ]
    for what, sizes in (("background", coverage.backgrounds), ("outfit", coverage.outfits)):
        if sizes:
            seen = sum(sizes)
            said.append(
                f"{len(sizes)} kinds of {what} in the {seen} pictures that show one; the most repeated in"
                f" {sizes[0]} ({100 * sizes[0] / seen:.0f} %)."
            )
    worn = told(dict(coverage.accessories)) or "none named in the captions"
    said.append(f"Accessories: {worn}.")
    return said


def caption_sheet(captioned: Captioned, path_of: PathOf) -> Sheet:
    """Faults with their numbers first, then every picture with its caption."""
    counts = {
        by: sum(c.by == by for c in captioned.captions) for by in {c.by for c in captioned.captions}
    }
    lints = tuple(f"{lint.count} of {lint.of}: {lint.detail}" for lint in captioned.lints)
    faulty = {name for lint in captioned.lints if lint.kind != "fragment" for name in lint.names}
    tiles = tuple(
        Tile(
            path_of(c.name),
            (c.name, c.text, f"by {c.by}"),
            "see above" if c.name in faulty else "",
            "warn",
        )
        for c in captioned.captions
    )
    sections = (
        Section("Faults", "", lines=lints or ("None found.",)),
        Section("Captions", "", tiles),
    )
    facts = (
        ("captions", str(len(captioned.captions))),
        ("written by the user", str(counts.get("user", 0))),
        ("faults", str(len(captioned.lints))),
        ("captioner", captioned.mark),
    )
    return Sheet("Captions", "The words each picture is trained with.", facts, sections)


def split_sheet(split: Split, readings: Sequence[Reading], path_of: PathOf) -> Sheet:
    """References and training pictures side by side, families named."""
    sizes: dict[str, int] = {}
    for family in split.family.values():
        sizes[family] = sizes.get(family, 0) + 1
    by_name = {reading.name: reading for reading in readings}

    def tiles(names: Sequence[str], badge: str, tone: Tone) -> tuple[Tile, ...]:
        return tuple(
            Tile(
                path_of(name),
                (name, _angles(by_name[name]), *_family(name)),
                badge,
                tone,
            )
            for name in names
        )

    def _family(name: str) -> tuple[str, ...]:
        family = split.family[name]
        return (f"one shot with {family}",) if sizes[family] > 1 and family != name else ()

    lines = tuple(
        f"{stratum}: {held} of {every} held out" for stratum, (held, every) in split.strata.items()
    )
    sections = (
        Section("Spread", "", lines=lines),
        Section(
            "References",
            "Held out: never trained on, they measure the LoRA.",
            tiles(split.references, "reference", "good"),
        ),
        Section("Training", "", tiles(split.training, "", "")),
    )
    facts = (
        ("references", str(len(split.references))),
        ("to train on", str(len(split.training))),
        ("shots of several pictures", str(sum(n > 1 for n in sizes.values()))),
    )
    return Sheet(
        "Split", "No copy, crop, burst or frame of one shot lies on both sides.", facts, sections
    )


def views_sheet(
    views: Sequence[View], left_out: Sequence[str], spec: ViewsSpec, path_of: PathOf
) -> Sheet:
    """Every view as the trainer sees it, and beside it the same view with its mask laid over."""
    tiles: list[Tile] = []
    effects: list[float] = []
    parents: dict[str, npt.NDArray[np.uint8]] = {}
    for view in views:
        if view.parent not in parents:
            parents = {view.parent: load_picture(path_of(view.parent)).rgb}
        pixels, frame = fit_within(cut(parents[view.parent], view), MASK_SHOWN_PX)
        mask = face_mask(view, spec)
        effects.append(mask_effect(mask))
        small = fit_within(np.repeat(mask[..., None], 3, axis=2), MASK_SHOWN_PX)[0]
        del frame
        conditioning = (
            f"told: size {view.original_size[0]} x {view.original_size[1]},"
            f" crop {view.crop_top_left[0]}, {view.crop_top_left[1]}"
        )
        size = f"{view.target[0]} x {view.target[1]} px, scaled {view.scale:.2f}"
        tiles.append(Tile(pixels, (view.parent, size, conditioning), view.kind))
        tone: Tone = "good" if effects[-1] > 1.01 else "bad"
        weight = f"a face pixel weighs {effects[-1]:.2f} times the mean"
        tiles.append(Tile(_weighted(pixels, small), ("the mask, as light", weight), "mask", tone))
    dead = sum(effect <= 1.01 for effect in effects)
    lines: tuple[str, ...] = ()
    if dead:
        lines = (f"{dead} masks do nothing: no face in the view, or mask_rest = 255.",)
    facts = (
        ("views", str(len(views))),
        ("left out", str(len(left_out))),
        ("masks that do nothing", str(dead)),
    )
    lede = "What the trainer sees, and how the loss is weighed: bright counts, dark counts less."
    sections = [Section("Views", "", tuple(tiles), lines)]
    if left_out:
        sections.append(Section("Left out", "", lines=tuple(left_out)))
    return Sheet("Views and masks", lede, facts, tuple(sections))


def _weighted(rgb: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The picture as bright as it weighs."""
    return np.asarray(rgb.astype(np.float32) * (mask.astype(np.float32) / 255.0), dtype=np.uint8)


def frames_sheet(
    choice: Choice, video: str, pictures: Sequence[npt.NDArray[np.uint8]], added: bool
) -> Sheet:
    """The chosen frames in order of choice; `pictures` are their pixels in the same order."""
    tiles = tuple(
        Tile(
            rgb,
            (
                f"{one.time_s:.1f} s, frame {one.frame}",
                _angles(one.reading),
                f"sharpness {one.reading.sharpness:.2f}",
            ),
            f"shot {one.shot + 1}",
        )
        for one, rgb in zip(choice.chosen, pictures, strict=True)
    )
    lines = tuple(f"{count} frames {why}" for why, count in choice.fallen.items())
    facts = (
        ("frames in the video", str(choice.frames)),
        ("shots", str(choice.shots)),
        ("chosen", str(len(choice.chosen))),
    )
    lede = (
        "The frames are pictures of the dataset now, marked as frames of this video."
        if added
        else "Proposals only: `--apply` makes them pictures of the dataset."
    )
    return Sheet(
        f"Frames of {video}",
        lede,
        facts,
        (
            Section(
                "Chosen", "Each is farthest from those before it in direction and face.", tiles
            ),
            Section("What was passed over", "", lines=lines or ("Nothing.",)),
        ),
    )
