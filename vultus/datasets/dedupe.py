"""Which pictures are one shot: identical files, edited copies, mirrored copies, crops.

Notation
    bits     distance of two perceptual hashes, 0..256; at or below `hash_bits` two pictures are one
    cells    distinct 8-px cells with matched key points; at or above `match_cells` two pictures may be one shot

Three stages, cheapest first: equal pixels, equal hashes (plain and mirrored), matched key points (which alone find
crops). Eyes and mouths of *different* photographs of one person match too, so two pictures that match are laid over
each other (`datasets.overlay`): a copy agrees wherever it overlaps.

Of each group the best member is kept: no crop of another, most pixels, then with a caption of its own, then the face
most like the others of the set (a mirrored copy of an asymmetric face is not), then the sharpest, then by name.
Nothing is deleted; the others are told with the partner they repeat.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from vultus.datasets.ingest import Ingested, Measured
from vultus.datasets.overlay import Overlay, lay_over
from vultus.datasets.records import CurateSpec, Duplicate
from vultus.images.hashing import LOW_QUALITY, hamming
from vultus.images.matching import Features, Match, match

Kind = Literal["identical", "edited", "mirrored", "cropped"]

ALL_PAIRS_MAX = 200
"""Up to here every pair is matched (200 pictures: 20,000 pairs, about 6 minutes); above, hash neighbours only."""
NEIGHBOURS = 24
WHOLE = 0.97
"""A picture of which the other covers less than this holds more than the other: the other is a crop."""


@dataclass(frozen=True)
class _Link:
    """Why two pictures are one shot; `crop` says which of the two (0, 1) holds less, if one does."""

    kind: Kind
    evidence: str
    crop: int | None = None


def find_duplicates(seen: Ingested, spec: CurateSpec) -> list[Duplicate]:
    """Find every picture that repeats another one, with the one that is kept and the evidence."""
    pictures = seen.pictures
    links: dict[tuple[int, int], _Link] = {}
    group = list(range(len(pictures)))
    for i, j in _pairs(pictures):
        if _root(group, i) == _root(group, j) and (i, j) not in links:
            continue  # already one shot through a third picture: 20 ms saved, nothing learnt
        link = _compare(pictures[i], pictures[j], spec)
        if link is not None:
            links[i, j] = link
            group[_root(group, j)] = _root(group, i)
    typical = _typical_cosines(pictures)
    members: dict[int, list[int]] = {}
    for i in range(len(pictures)):
        members.setdefault(_root(group, i), []).append(i)
    found: list[Duplicate] = []
    for shot in members.values():
        if len(shot) > 1:
            found.extend(_told(pictures, shot, links, spec, typical))
    return sorted(found, key=lambda duplicate: duplicate.dropped)


def _root(group: list[int], i: int) -> int:
    while group[i] != i:
        group[i] = group[group[i]]
        i = group[i]
    return i


def _pairs(pictures: Sequence[Measured]) -> Iterator[tuple[int, int]]:
    """All pairs of a small set; in a large one each picture with its nearest hashes, plain and mirrored."""
    n = len(pictures)
    if n <= ALL_PAIRS_MAX:
        yield from combinations(range(n), 2)
        return
    plain = np.stack([picture.hashes.plain for picture in pictures]).astype(np.int32)
    mirrored = np.stack([picture.hashes.mirrored for picture in pictures]).astype(np.int32)
    nearest = np.minimum(_distances(plain, plain), _distances(mirrored, plain))
    pairs = set()
    for i in range(n):
        for j in np.argsort(nearest[i], kind="stable")[: NEIGHBOURS + 1]:
            if int(j) != i:
                pairs.add((min(i, int(j)), max(i, int(j))))
    yield from sorted(pairs)


def _distances(a: npt.NDArray[np.int32], b: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Hamming distances (n, n) of 0/1 rows."""
    return np.asarray(a.sum(1)[:, None] + b.sum(1)[None, :] - 2 * (a @ b.T))


def _compare(a: Measured, b: Measured, spec: CurateSpec) -> _Link | None:
    if a.candidate.content_id == b.candidate.content_id:
        return _Link("identical", "the files are equal byte for byte")
    if a.pixels == b.pixels:
        return _Link("identical", "the decoded pixels are equal")
    if min(a.hashes.quality, b.hashes.quality) >= LOW_QUALITY:
        bits = hamming(a.hashes.plain, b.hashes.plain)
        if bits <= spec.hash_bits:
            return _Link("edited", f"perceptual hashes differ in {bits} of 256 bits")
        bits = hamming(a.hashes.mirrored, b.hashes.plain)
        if bits <= spec.hash_bits:
            return _Link("mirrored", f"mirrored, the hashes differ in {bits} of 256 bits")
    if not _worth_matching(a.features, b.features, spec.match_cells):
        return None
    found = match(a.features, b.features)
    if found.cells < spec.match_cells or found.matrix is None:
        return None
    laid = lay_over(a.small, b.small, found.matrix, a.features.width_px, b.features.width_px)
    return _one_shot(found, laid) if laid.same_shot else None


def _one_shot(found: Match, laid: Overlay) -> _Link:
    evidence = (
        f"laid over each other they agree (correlation {laid.ncc:.2f},"
        f" {found.cells} matched places)"
    )
    crop: int | None = None
    if min(laid.overlap_a, laid.overlap_b) < WHOLE:
        crop = 0 if laid.overlap_a > laid.overlap_b else 1
    if found.mirrored:
        return _Link("mirrored", f"mirrored, {evidence}", crop)
    return _Link("edited" if crop is None else "cropped", evidence, crop)


def _worth_matching(a: Features, b: Features, cells: int) -> bool:
    """False when fewer key points choose each other than cells are needed: no map can then reach the cut.

    Spares most pairs the search for that map: 4 ms instead of 20.
    """
    return (
        _agreeing(a.descriptors, b.descriptors) >= cells
        or _agreeing(a.mirrored_descriptors, b.descriptors) >= cells
    )


def _agreeing(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> int:
    """How many rows choose each other and pass the ratio test of `images.matching` (0.8 of the second distance)."""
    if min(len(a), len(b)) < 2:
        return 0
    alike = a @ b.T
    first = alike.argmax(axis=1)
    rows = np.arange(len(a))
    mutual = alike.argmax(axis=0)[first] == rows
    best = alike[rows, first]
    alike[rows, first] = -1.0
    # Unit rows: distance^2 = 2 - 2 cosine, so the ratio test is one on 1 - cosine.
    return int((mutual & (1.0 - best < 0.64 * (1.0 - alike.max(axis=1)))).sum())


def _told(
    pictures: Sequence[Measured],
    shot: Sequence[int],
    links: dict[tuple[int, int], _Link],
    spec: CurateSpec,
    typical: Sequence[float],
) -> Iterator[Duplicate]:
    crops = {pair[link.crop] for pair, link in links.items() if link.crop is not None}
    best = min(shot, key=lambda i: (i in crops, *_worth(pictures[i], typical[i])))
    for i in shot:
        if i == best:
            continue
        pair = (min(i, best), max(i, best))
        link = links.get(pair) or _compare(pictures[pair[0]], pictures[pair[1]], spec)
        if link is None:  # only alike through a third picture of the group
            link = next(link for (a, b), link in links.items() if i in (a, b))
        yield Duplicate(
            pictures[best].candidate.name, pictures[i].candidate.name, link.kind, link.evidence
        )


def _worth(picture: Measured, typical: float) -> tuple[int, int, float, float, str]:
    candidate = picture.candidate
    own_caption = picture.path.with_suffix(".txt").is_file()
    pixels = candidate.width_px * candidate.height_px
    # Rounded: a recompressed copy differs in the third decimal, a mirrored asymmetric face in the first.
    alike = -round(typical, 2)
    return (-pixels, 0 if own_caption else 1, alike, -candidate.sharpness, candidate.name)


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


__all__ = ["ALL_PAIRS_MAX", "find_duplicates"]
