"""Freezing: the pictures, captions, masks, views, buckets and sides of a dataset as one immutable manifest.

    manifest   {"format", "versions", "persona", "resolution_px", "pictures": [row, ...], "stages"}
    row        name, content_id, pixel_id, width_px, height_px, role, caption, mask, bucket, lineage
    digest     content id of the manifest's canonical text: the same pictures and decisions give the same digest

What a row is made of: the picture as it was ingested; `role` from the outcome of `split` ("training" or "reference");
`caption` from the outcome of `captions`, else the user's own words; `mask` from the outcome of `masks` (a content id
in the dataset's blobs); `bucket` is the size that aspect-bucketing trainers resize to. A view takes its parent's side.

A freeze is refused where a picture and its copy or burst sibling stand on different sides of the split: what is
measured on a reference whose copy was trained on says nothing. It is also refused where the split or the captions were
made of other pictures or other words than those of now: what came since would be trained on without anybody's word.
A frozen folder is never changed; a second freeze of the same thing finds it there.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from vultus.core.errors import DatasetError
from vultus.core.files import staged_folder, write_json
from vultus.core.keys import canonical, content_id
from vultus.datasets.captions import PERSONA_WORD
from vultus.datasets.kinship import links_of, parents_of
from vultus.datasets.library import Library, json_of
from vultus.datasets.persona import Persona
from vultus.datasets.prints import KIND
from vultus.datasets.records import Entry
from vultus.datasets.split import families

__all__ = [
    "MANIFEST_FILE",
    "Frozen",
    "bucket_of",
    "freeze",
    "frozen_digests",
    "is_view",
    "read_frozen",
]

MANIFEST_FILE: Final = "manifest.json"
FORMAT: Final = 1
BUCKET_STEP_PX: Final = 64
BUCKET_LOW_PX: Final = 256
BUCKET_HIGH_PX: Final = 2048
NAMED: Final = 4
"""So many pictures are named in a refusal."""


@dataclass(frozen=True)
class Frozen:
    """A frozen manifest: its digest, where it lies, what it says."""

    digest: str
    path: Path
    manifest: Mapping[str, Any]


def freeze(
    library: Library, *, persona: Persona | None = None, resolution_px: int = 1024
) -> Frozen:
    """Freeze what is kept. Raises DatasetError when nothing is kept, the split leaks or an outcome is outdated."""
    with library.at_work():
        kept = library.kept()
        if not kept:
            raise DatasetError(
                "every picture is set aside, or none was ingested",
                where=str(library.folder),
                expected="at least one picture to freeze",
                next_command=f"vultus dataset show {shlex.quote(str(library.folder))}",
            )
        _refuse_outdated(library, kept)
        shots = _shots(library, kept)
        roles = _roles(library, kept, shots)
        refuse_leaks(roles, shots)
        manifest = _manifest(library, kept, roles, persona, resolution_px)
        digest = content_id(canonical(manifest).encode())
        folder = library.folder / "frozen" / digest[7:23]
        if not (folder / MANIFEST_FILE).is_file():
            with staged_folder(folder) as draft:
                write_json(draft / MANIFEST_FILE, manifest)
    return Frozen(digest, folder / MANIFEST_FILE, manifest)


def frozen_digests(library: Library) -> list[str]:
    """Return the short digests of everything that was frozen, in order of name."""
    return sorted(
        path.parent.name for path in (library.folder / "frozen").glob(f"*/{MANIFEST_FILE}")
    )


def read_frozen(library: Library, digest: str = "") -> Frozen:
    """Read a frozen manifest and check that it is what its digest says. Without a digest: the only one there is."""
    known = frozen_digests(library)
    short = digest.removeprefix("sha256:")[:16]
    fitting = [one for one in known if one.startswith(short)] if short else known
    if len(fitting) != 1:
        folder = shlex.quote(str(library.folder))
        raise DatasetError(
            "nothing was frozen yet"
            if not known
            else f"{len(fitting)} frozen manifests fit {digest or 'that'!r}",
            where=str(library.folder / "frozen"),
            expected=f"one of: {', '.join(known)}" if known else "a frozen manifest",
            next_command=f"vultus dataset freeze {folder}"
            if not known
            else f"vultus dataset export {folder} --digest {known[-1]} ...",
        )
    path = library.folder / "frozen" / fitting[0] / MANIFEST_FILE
    manifest: dict[str, Any] = json_of(path, dict, f"remove {path.parent} and freeze again")
    found = content_id(canonical(manifest).encode())
    if found[7:23] != fitting[0]:
        raise DatasetError(
            "the manifest was changed after it was frozen",
            where=str(path),
            expected=f"content with the digest {fitting[0]}",
            next_command=f"remove {path.parent} and freeze again",
        )
    return Frozen(found, path, manifest)


def refuse_leaks(roles: Mapping[str, str], shots: Mapping[str, str]) -> None:
    """Raise DatasetError when two pictures of one shot stand on different sides."""
    sides: dict[str, dict[str, str]] = {}
    for name, role in sorted(roles.items()):
        sides.setdefault(shots.get(name, name), {}).setdefault(role, name)
    for shot in sides.values():
        if len(shot) > 1:
            raise DatasetError(
                f"{shot['reference']} is held out and {shot['training']} is trained on: they are one shot",
                expected="copies, crops, views and burst siblings on one side of the split",
                next_command="vultus dataset split DATASET (after dedupe), or dedupe --apply --bursts",
            )


def is_view(row: Mapping[str, Any]) -> bool:
    """Whether a row of a manifest is a part of another picture, made by this program."""
    return row["lineage"] is not None and row["lineage"]["how"] in ("view", "crop")


def bucket_of(width_px: int, height_px: int, resolution_px: int) -> tuple[int, int]:
    """The size a bucketing trainer resizes to: steps of 64 px, area at most the resolution squared, nearest aspect."""
    want = math.log(width_px / height_px)
    return min(_buckets(resolution_px), key=lambda b: (abs(math.log(b[0] / b[1]) - want), b))


@lru_cache(maxsize=8)
def _buckets(resolution_px: int) -> tuple[tuple[int, int], ...]:
    """As kohya's trainers make them: each width with the largest height that fits the area, and the other way."""
    area, step = resolution_px * resolution_px, BUCKET_STEP_PX
    square = max(step, resolution_px // step * step)
    found = {(square, square)}
    low = min(BUCKET_LOW_PX, square)
    for width in range(low, max(BUCKET_HIGH_PX, square) + 1, step):
        height = min(BUCKET_HIGH_PX, area // width // step * step)
        if height >= low:
            found |= {(width, height), (height, width)}
    return tuple(sorted(found))


def _roles(library: Library, kept: Sequence[Entry], shots: Mapping[str, str]) -> dict[str, str]:
    """The side of every kept picture; a view stands where its parent stands, everything trains without a split."""
    split = library.read_stage("split") or {}
    told: Mapping[str, str] = split.get("roles", {})
    unused = frozenset(split.get("unused", ()))
    parent = {e.name: e.lineage.parent for e in kept if e.lineage is not None and e.derived}
    sides = {shots[name]: side for name, side in told.items() if name in shots}

    def role(name: str) -> str:
        for _ in range(len(parent) + 1):
            name = parent.get(name, name)
        # A picture without a face that could be read has no side of its own: it stands where its shot stands.
        beside = sides.get(shots.get(name, name), "training") if name in unused else "training"
        return told.get(name, beside)

    return {entry.name: role(entry.name) for entry in kept}


def _shots(library: Library, kept: Sequence[Entry]) -> dict[str, str]:
    """Which shot each picture is of: groups of dedupe, equal pictures and lineage, joined as `split` joins them."""
    every = {entry.name: entry for entry in library.entries()}
    return families([entry.name for entry in kept], links_of(library), parents_of(every))


def _refuse_outdated(library: Library, kept: Sequence[Entry]) -> None:
    """Raise DatasetError where pictures came or changed after `split`, or the user's words after `caption`."""
    own = [entry for entry in kept if not entry.derived]
    folder = shlex.quote(str(library.folder))
    split = library.read_stage("split")
    if split is not None:
        known = split.get("contents")
        if known is None:  # of a version that noted names only
            names = {*split["roles"], *split["unused"]}
            late = [entry.name for entry in own if entry.name not in names]
        else:
            late = [entry.name for entry in own if known.get(entry.name) != entry.content_id]
        if late:
            # As it was asked for: with another seed half of what was held out would be trained on.
            asked = split.get("asked") or (f"--seed {split['seed']}" if "seed" in split else "")
            raise DatasetError(
                f"the split does not know {_named(late)}: they came, came back or were replaced since",
                where=str(library.folder),
                expected="a split of the pictures that are kept now",
                next_command=f"vultus dataset split {folder} {asked}".rstrip(),
            )
    captions = library.read_stage("captions") or {}
    words = captions.get("own", {})
    changed = [entry.name for entry in own if words.get(entry.name, entry.caption) != entry.caption]
    if changed:
        raise DatasetError(
            f"your own words changed after `caption` was run: {_named(changed)}",
            where=str(library.folder),
            expected=f"captions made of the words of now (the rest by {captions.get('captioner')}, as before)",
            next_command=f"vultus dataset caption {folder}",
        )


def _spoken(captions: Mapping[str, str], persona: Persona | None, folder: Path) -> dict[str, str]:
    """The captions with the persona's words in place of PERSONA_WORD. Raises DatasetError where nobody is known."""
    if persona is not None:
        return {n: text.replace(PERSONA_WORD, persona.with_trigger) for n, text in captions.items()}
    open_ones = [name for name, text in captions.items() if PERSONA_WORD in text]
    if open_ones:
        place = shlex.quote(str(folder))
        raise DatasetError(
            f"the captions of {_named(open_ones)} hold {PERSONA_WORD}, and nobody said whom that is",
            where=str(folder),
            expected="a persona: its trigger and class words take that place",
            next_command=f"vultus dataset freeze {place} --persona PERSONA.toml (or vultus dataset caption)",
        )
    return dict(captions)


def _named(names: Iterable[str]) -> str:
    every = list(names)
    more = len(every) - NAMED
    return ", ".join(every[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _manifest(
    library: Library,
    kept: Sequence[Entry],
    roles: Mapping[str, str],
    persona: Persona | None,
    resolution_px: int,
) -> dict[str, Any]:
    from vultus import __version__

    told: Mapping[str, str] = (library.read_stage("captions") or {}).get("captions", {})
    texts = {entry.name: told.get(entry.name, entry.caption) for entry in kept}
    captions = _spoken(texts, persona, library.folder)
    masks: Mapping[str, str] = (library.read_stage("masks") or {}).get("masks", {})
    rows = [
        {
            "name": entry.name,
            "content_id": entry.content_id,
            "pixel_id": entry.pixel_id,
            "width_px": entry.width_px,
            "height_px": entry.height_px,
            "role": roles[entry.name],
            "caption": captions[entry.name],
            "mask": masks.get(entry.name, ""),
            "bucket": list(bucket_of(entry.width_px, entry.height_px, resolution_px)),
            "lineage": None if entry.lineage is None else asdict(entry.lineage),
        }
        for entry in kept
    ]
    return {
        "format": FORMAT,
        "versions": {"vultus": __version__, "prints": KIND},
        "persona": None if persona is None else asdict(persona),
        "resolution_px": resolution_px,
        "stages": _stages(library),
        "pictures": rows,
    }


def _stages(library: Library) -> dict[str, str]:
    """What was done before: the digest of each verb's outcome."""
    found = {}
    for verb in ("ingest", "dedupe", "audit", "coverage", "captions", "split", "masks"):
        outcome = library.read_stage(verb)
        if outcome is not None:
            found[verb] = content_id(canonical(outcome).encode())
    return found
