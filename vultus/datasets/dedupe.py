"""Which pictures are one shot, in three honest classes: identical, edited copy, same-shot burst.

Two callers: `find_duplicates` judges the pictures of one `vultus run` in memory, `dedupe` judges a dataset folder of
any size. Both compare by `datasets.compare` and group by `datasets.groups`; up to 200 pictures every pair is
compared, above that only those that share detail (`datasets.neighbours`).

Nothing is deleted: a group is a proposal with a reason and a proof. `apply` writes the user's word down as a decision,
which can be undone. A burst is told but not part of a plain `--apply`: two exposures are two pictures, and which
of them is better is a matter of taste (they may still not stand on both sides of the split). Views, crops and masks
that the project itself made are never judged: they follow their parent.

Killed anywhere, the next call goes on: prints are remembered by content id, comparisons by picture.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, Final, Literal

import numpy as np

from vultus.core.errors import DatasetError
from vultus.core.keys import canonical, content_id
from vultus.datasets import prints
from vultus.datasets.compare import RECIPE, Link, compare, same_file
from vultus.datasets.groups import ASKED_FOR, Group, Worth, find_groups
from vultus.datasets.ingest import Ingested, Measured
from vultus.datasets.library import Library
from vultus.datasets.neighbours import ALL_PAIRS_MAX, candidate_pairs
from vultus.datasets.prints import Print
from vultus.datasets.records import CurateSpec, Duplicate, Entry, SetAside
from vultus.images.hashing import Hashes
from vultus.images.load import load_picture

__all__ = ["ALL_PAIRS_MAX", "Applied", "Follow", "apply", "dedupe", "find_duplicates"]

TOGETHER: Final = 64
HELD_PRINTS: Final = 600
"""Unpacked prints in memory at once: 0.4 MB each."""
Follow = Callable[[str, int, int], None]
"""Hears (stage, done, of)."""


def unfollowed(stage: str, done: int, of: int) -> None:
    """Nobody follows the progress."""


def find_duplicates(seen: Ingested, spec: CurateSpec) -> list[Duplicate]:
    """Find every picture of a run that repeats another one, with the one that is kept and the evidence."""
    pictures = seen.pictures
    known = [one.print for one in pictures]

    def again(i: int, j: int) -> Link | None:
        a, b = pictures[i].candidate.content_id, pictures[j].candidate.content_id
        same = same_file(a, pictures[i].pixels, b, pictures[j].pixels)
        return same or compare(known[i], known[j], spec)

    def fetch(start: int, stop: int) -> list[tuple[Hashes, Any]]:
        return [prints.packed_parts(prints.pack(one)) for one in known[start:stop]]

    links: dict[tuple[int, int], Link] = {}
    for i, j in candidate_pairs(len(pictures), fetch, spec.hash_bits):
        link = again(i, j)
        if link is not None:
            links[i, j] = link
    typical = _typical_cosines(pictures)
    linked = {i for pair in links for i in pair}
    worth = [_worth(one, typical[i], i in linked) for i, one in enumerate(pictures)]
    found = [
        Duplicate(
            pictures[group.keep].candidate.name,
            pictures[member.index].candidate.name,
            _word(member.link),
            member.link.evidence,
        )
        for group in find_groups(links, worth, again)
        for member in group.members
    ]
    return sorted(found, key=lambda duplicate: duplicate.dropped)


def dedupe(
    library: Library, spec: CurateSpec, *, keep: Sequence[str] = (), follow: Follow = unfollowed
) -> dict[str, Any]:
    """Find the groups of a dataset folder and write them down as the outcome of `dedupe`.

    `keep` names pictures that shall be kept whatever speaks against them. Returns the outcome:
    {"pictures", "pairs", "groups": [{"keep", "reason", "members": [{"name", "kind", "how", "evidence", "partner",
    "matrix"}]}]}, where `matrix` lays the member over its partner in shares of their longer sides, or is None.
    """
    with library.at_work():
        prints.measure_prints(library, lambda done, of: follow("reading", done, of))
        entries = [entry for entry in library.entries() if not entry.derived]
        _refuse_unknown(keep, entries)
        store = _Prints(library, entries)
        pairs = candidate_pairs(
            len(entries), store.parts, spec.hash_bits, lambda n, of: follow("searching", n, of)
        )
        asked = {
            group["keep"]
            for group in (library.read_stage("dedupe") or {"groups": []})["groups"]
            if group["reason"] == ASKED_FOR
        }
        links = _compared(library, entries, store, pairs, spec, follow)
        linked = {i for pair in links for i in pair}
        colours = prints.colours_of(library, {entries[i].content_id for i in linked})
        worth = [
            Worth(
                pixels=entry.width_px * entry.height_px,
                sharpness=store.get(i).sharpness if i in linked else 0.0,
                lossless=entry.format in ("PNG", "BMP", "TIFF", "PPM"),
                colour=colours.get(entry.content_id, 0.0),
                captioned=bool(entry.caption),
                name=entry.name,
                forced=2 if entry.name in keep else int(entry.name in asked),
            )
            for i, entry in enumerate(entries)
        ]

        def again(i: int, j: int) -> Link | None:
            return _judged(entries[i], store.get(i), spec, entries[j], store.get(j))

        groups = find_groups(links, worth, again)
        outcome = _told(entries, groups, len(pairs))
        library.write_stage("dedupe", outcome)
    return outcome


@dataclass(frozen=True)
class Applied:
    """What `apply` decided: set aside now, back again, and groups left as they are.

    `left` pairs the picture to keep with the verb that set it aside: its copies would have gone with it.
    """

    fresh: tuple[SetAside, ...]
    back: tuple[str, ...]
    left: tuple[tuple[str, str], ...]


def apply(library: Library, outcome: Mapping[str, Any], *, bursts: bool = False) -> Applied:
    """Set aside what the groups propose, by the user's word. Undo: `Library.undo`.

    An older word of `dedupe` against a picture that shall be kept now is taken back first.
    """
    with library.at_work():
        before = library.set_aside()
        keepers = {group["keep"] for group in outcome["groups"]}
        library.release("dedupe", keepers)
        verbs = {
            one.name: decision.verb
            for decision in library.decisions()
            if not decision.undone
            for one in decision.set_aside
        }
        rows = [
            SetAside(member["name"], f"{member['kind']}: {member['evidence']}", group["keep"])
            for group in outcome["groups"]
            if group["keep"] not in verbs
            for member in group["members"]
            if bursts or member["kind"] != "burst"
        ]
        library.decide("dedupe", rows)
        after = library.set_aside()
    return Applied(
        tuple(row for row in rows if row.name not in before),
        tuple(sorted(set(before) - set(after))),
        tuple((keep, verbs[keep]) for keep in sorted(keepers & set(verbs))),
    )


class _Prints:
    """The prints of a dataset's pictures by position; few are in memory at a time."""

    def __init__(self, library: Library, entries: Sequence[Entry]) -> None:
        self._library = library
        self._ids = [entry.content_id for entry in entries]
        self._held: OrderedDict[str, Print] = OrderedDict()

    def get(self, i: int) -> Print:
        """Return one print, unpacked."""
        one = self._ids[i]
        if one not in self._held:
            self._held[one] = prints.unpack(self._library.recall(prints.KIND, [one])[one])
            if len(self._held) > HELD_PRINTS:
                self._held.popitem(last=False)
        self._held.move_to_end(one)
        return self._held[one]

    def parts(self, start: int, stop: int) -> list[tuple[Hashes, Any]]:
        """Return hashes and packed descriptors of a range of pictures."""
        found = self._library.recall(prints.KIND, self._ids[start:stop])
        return [prints.packed_parts(found[one]) for one in self._ids[start:stop]]


def _compared(
    library: Library,
    entries: Sequence[Entry],
    store: _Prints,
    pairs: Sequence[tuple[int, int]],
    spec: CurateSpec,
    follow: Follow,
) -> dict[tuple[int, int], Link]:
    """Compare the pairs, picture by picture; what an earlier call did with the same partners is looked up.

    Matrix products and OpenCV leave Python's lock, so a picture's partners are shared out to threads.
    """
    kind = f"{RECIPE}/{content_id(canonical([spec.match_cells, spec.hash_bits]).encode())[7:15]}"
    links: dict[tuple[int, int], Link] = {}
    done = 0
    with ThreadPoolExecutor(max_workers=prints.workers()) as pool:
        for i, mine in groupby(pairs, key=lambda pair: pair[0]):
            partners = [j for _, j in mine]
            own = entries[i].content_id
            asked = content_id("".join(entries[j].content_id for j in partners).encode())
            known = library.recall(f"{kind}/{asked[7:23]}", [own]).get(own)
            if known is None:
                # The store is read by this thread alone; a picture of thousands of partners is not held at once.
                found: list[Link | None] = []
                for start in range(0, len(partners), TOGETHER):
                    some = partners[start : start + TOGETHER]
                    found += pool.map(
                        partial(_judged, entries[i], store.get(i), spec),
                        [entries[j] for j in some],
                        [store.get(j) for j in some],
                    )
                rows = [[n, link.packed()] for n, link in enumerate(found) if link is not None]
                known = json.dumps(rows).encode()
                library.remember(f"{kind}/{asked[7:23]}", {own: known})
            for position, row in json.loads(known):
                links[i, partners[position]] = Link.unpacked(row)
            done += len(partners)
            follow("comparing", done, len(pairs))
    return links


def _judged(a: Entry, print_a: Print, spec: CurateSpec, b: Entry, print_b: Print) -> Link | None:
    same = same_file(a.content_id, a.pixel_id, b.content_id, b.pixel_id)
    return same or compare(print_a, print_b, spec)


def _told(entries: Sequence[Entry], groups: Sequence[Group], pairs: int) -> dict[str, Any]:
    rows = []
    for group in groups:
        members = []
        for member in group.members:
            link, entry = member.link, entries[member.index]
            evidence = link.evidence
            if entry.lineage is not None and entry.lineage.parent == entries[member.partner].name:
                evidence += f"; {entry.lineage.detail}"
            members.append(
                {
                    "name": entry.name,
                    "kind": link.kind,
                    "how": link.how,
                    "evidence": evidence,
                    "partner": entries[member.partner].name,
                    "matrix": link.onto(member.index > member.partner),
                }
            )
        rows.append({"keep": entries[group.keep].name, "reason": group.reason, "members": members})
    return {"pictures": len(entries), "pairs": pairs, "groups": rows}


def _refuse_unknown(keep: Sequence[str], entries: Sequence[Entry]) -> None:
    names = {entry.name for entry in entries}
    for name in keep:
        if name not in names:
            raise DatasetError(
                f"there is no picture {name!r} in this dataset",
                expected="a name as `vultus dataset show` tells it",
                next_command="vultus dataset show DATASET",
            )


def _word(link: Link) -> Literal["identical", "edited", "mirrored", "cropped", "burst"]:
    """One word for a user of `vultus run`, who is told how two pictures differ."""
    if link.kind != "edited":
        return link.kind
    return link.how if link.how in ("mirrored", "cropped") else "edited"


def _worth(picture: Measured, typical: float, linked: bool) -> Worth:
    candidate = picture.candidate
    return Worth(
        pixels=candidate.width_px * candidate.height_px,
        sharpness=picture.print.sharpness,
        lossless=picture.path.suffix.lower() in (".png", ".bmp", ".tif", ".tiff"),
        colour=prints.colourfulness(load_picture(picture.path).rgb) if linked else 0.0,
        captioned=picture.path.with_suffix(".txt").is_file(),
        name=candidate.name,
        # Rounded: a recompressed copy differs in the third decimal, a mirrored asymmetric face in the first.
        rank=-round(typical, 2),
    )


def _typical_cosines(pictures: Sequence[Measured]) -> list[float]:
    """Median cosine of each face to all other faces of the set; -1 without a face."""
    known = [(i, picture.emb) for i, picture in enumerate(pictures) if picture.emb is not None]
    typical = [-1.0] * len(pictures)
    if len(known) > 2:
        rows = np.stack([emb for _, emb in known]).astype(np.float64)
        pairs = rows @ rows.T
        np.fill_diagonal(pairs, np.nan)
        for (i, _), value in zip(known, np.nanmedian(pairs, axis=1), strict=True):
            typical[i] = float(value)
    return typical
