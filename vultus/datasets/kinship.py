"""Which pictures of a dataset folder are one shot: what `split` keeps on one side and `freeze` looks at again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise

from vultus.datasets.library import Library
from vultus.datasets.records import Entry

__all__ = ["links_of", "parents_of"]


def links_of(library: Library) -> list[tuple[str, str]]:
    """Pairs of pictures that are one shot: by `dedupe` (copies and bursts alike), or by equal bytes or pixels.

    The latter need no outcome of `dedupe`: a picture may have come since.
    """
    outcome = library.read_stage("dedupe") or {}
    links = [
        (str(group["keep"]), str(member["name"]))
        for group in outcome.get("groups", ())
        for member in group["members"]
    ]
    same: dict[str, list[str]] = defaultdict(list)
    for entry in library.entries():
        for mark in (entry.content_id, entry.pixel_id):
            if mark:
                same[mark].append(entry.name)
    return links + [pair for names in same.values() for pair in pairwise(names)]


def parents_of(entries: Mapping[str, Entry]) -> dict[str, str]:
    """What each picture was made of: a frame's parent is its *shot*, so that frames of two shots may part."""
    parents: dict[str, str] = {}
    for name, entry in entries.items():
        if entry.lineage is None:
            continue
        shot = entry.lineage.detail.rpartition(" shot ")[2]
        is_shot = entry.lineage.how == "frame" and shot.isdigit()
        parents[name] = f"{entry.lineage.parent}#shot {shot}" if is_shot else entry.lineage.parent
    return parents
