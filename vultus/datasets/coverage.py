"""How the kept faces spread over size and direction, and what a set lacks."""

from __future__ import annotations

from collections.abc import Sequence

from vultus.datasets.records import Member

FACE_SIZES = ("large", "medium", "small")
FACINGS = ("left", "ahead", "right")


def count_coverage(members: Sequence[Member]) -> dict[tuple[str, str], int]:
    """Count members by size of the face and facing; empty cells are there too, because they are the news."""
    counts = {(size, facing): 0 for size in FACE_SIZES for facing in FACINGS}
    for member in members:
        counts[member.face_size, member.facing] += 1
    return counts


__all__ = ["FACE_SIZES", "FACINGS", "count_coverage"]
