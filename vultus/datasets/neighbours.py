"""Which pairs of pictures are worth comparing: all of a small set; of a large one, those that share fine detail.

**Notation**
    words      a tree of two levels of cluster centres over RootSIFT rows    (branch, 128), (branch, branch, 128)
    signature  64 signs of random projections of row minus centre            uint64
    postings   (word, picture, signature) of every key point, sorted by word
    votes      key points of one picture that meet one of another: same word, signatures within HAMMING bits

Up to ALL_PAIRS_MAX pictures every pair is compared. Above, each picture's strongest key points, plain and mirrored,
look their words up and vote (Hamming embedding: Jegou, Douze, Schmid 2008); the MOST best-voted pictures with at least
FEWEST votes are compared, and with them every pair whose hashes are near. The number of words grows with the number
of key points, so that a posting list keeps its length and the work per picture stays nearly the same: near-linear.
What remains quadratic is 256 bits a pair (10,000 pictures: a few seconds).

Cost, 10,000 pictures of 300 key points: 100 MB for postings, everything else in blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from vultus.core.seeds import stream
from vultus.datasets.prints import unpacked_rows, workers
from vultus.images.hashing import LOW_QUALITY, Hashes
from vultus.images.matching import mirrored_descriptors

__all__ = ["ALL_PAIRS_MAX", "candidate_pairs"]

ALL_PAIRS_MAX: Final = 200
STRONGEST: Final = 300
POSTING: Final = 180
"""Key points per word that the number of words aims at."""
HAMMING: Final = 22
FEWEST: Final = 4
MOST: Final = 10
SAMPLE: Final = 60_000
ROUNDS: Final = 6
BLOCK: Final = 256

Rows = npt.NDArray[np.float32]
Words = npt.NDArray[np.int32]
Signatures = npt.NDArray[np.uint64]
Fetch = Callable[[int, int], Sequence[tuple[Hashes, npt.NDArray[np.uint8]]]]
"""Hashes and packed descriptors of pictures start..stop, strongest key point first."""


@dataclass(frozen=True, eq=False)
class _Tree:
    tops: Rows
    leaves: Rows
    projections: Rows

    def read(self, rows: Rows) -> tuple[Words, Signatures]:
        """The word and the signature of every row."""
        branch = len(self.tops)
        top = _nearest(rows, self.tops)
        word = np.zeros(len(rows), np.int32)
        for t in np.unique(top):
            mine = np.flatnonzero(top == t)
            word[mine] = t * branch + _nearest(rows[mine], self.leaves[t])
        centre = self.leaves.reshape(-1, rows.shape[1])[word]
        signs = ((rows - centre) @ self.projections) > 0
        return word, np.packbits(signs, axis=1).view(np.uint64).reshape(-1)


def candidate_pairs(
    count: int,
    fetch: Fetch,
    hash_bits: int,
    follow: Callable[[int, int], None] = lambda done, of: None,
) -> list[tuple[int, int]]:
    """Return pairs (i, j), i < j, in order, that deserve a comparison."""
    if count <= ALL_PAIRS_MAX:
        return list(combinations(range(count), 2))
    tree = _grow(count, fetch)
    owner, word, signature, plain, mirrored, fine = _index(count, fetch, tree)
    starts = np.searchsorted(word, np.arange(len(tree.tops) ** 2 + 1))
    pairs = set(_near_hashes(plain, mirrored, fine, hash_bits))

    def vote(one: tuple[int, npt.NDArray[np.uint8]]) -> list[int]:
        return _voted(one[0], count, one[1], tree, starts, owner, signature)

    with ThreadPoolExecutor(max_workers=workers()) as pool:
        for start in range(0, count, BLOCK):
            asked = [packed for _, packed in fetch(start, min(count, start + BLOCK))]
            for i, found in enumerate(pool.map(vote, enumerate(asked, start)), start):
                pairs |= {(min(i, j), max(i, j)) for j in found}
            follow(min(count, start + BLOCK), count)
    return sorted(pairs)


def _grow(count: int, fetch: Fetch) -> _Tree:
    """Cluster a sample of key points, twice over."""
    rng = stream("datasets", "neighbours")
    sample: list[npt.NDArray[np.uint8]] = []
    total = 0
    share = SAMPLE / (count * STRONGEST)
    for start in range(0, count, BLOCK):
        for _, packed in fetch(start, min(count, start + BLOCK)):
            strong = packed[:STRONGEST]
            total += len(strong)
            sample.append(strong[rng.random(len(strong)) < max(share, 0.02)])
    rows = unpacked_rows(np.concatenate(sample)) if sample else np.zeros((0, 128), np.float32)
    branch = int(np.clip(round(np.sqrt(total / POSTING)), 8, 160))
    if len(rows) < branch:
        rows = np.vstack([rows, rng.random((branch, 128), dtype=np.float32)])
    tops = _clusters(rows, branch, rng)
    near = _nearest(rows, tops)
    leaves = np.stack([_clusters(rows[near == t], branch, rng, tops[t]) for t in range(branch)])
    projections = rng.standard_normal((128, 64), dtype=np.float32)
    return _Tree(tops, leaves, projections)


def _clusters(
    rows: Rows, branch: int, rng: np.random.Generator, centre: Rows | None = None
) -> Rows:
    """Centres (branch, 128) by a few rounds of k-means; where rows are few, some centres lie far away unused."""
    if len(rows) <= branch:
        far = np.full((branch, 128), 4.0, np.float32)
        far[: len(rows)] = rows
        if not len(rows) and centre is not None:
            far[0] = centre
        return far
    centres = rows[rng.permutation(len(rows))[:branch]].copy()
    for _ in range(ROUNDS):
        near = _nearest(rows, centres)
        sums = np.zeros_like(centres)
        np.add.at(sums, near, rows)
        sizes = np.bincount(near, minlength=branch)
        centres = np.where(
            sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres
        ).astype(np.float32)
    return centres


def _nearest(rows: Rows, centres: Rows) -> npt.NDArray[np.int64]:
    half = 0.5 * (centres * centres).sum(axis=1)
    return np.asarray((rows @ centres.T - half).argmax(axis=1))


def _index(
    count: int, fetch: Fetch, tree: _Tree
) -> tuple[Words, Words, Signatures, Signatures, Signatures, npt.NDArray[np.bool_]]:
    """Postings sorted by word, and the packed hashes (count, 4) of all pictures."""
    owners, words, signatures = [], [], []
    plain, mirrored = np.zeros((count, 4), np.uint64), np.zeros((count, 4), np.uint64)
    fine = np.zeros(count, np.bool_)
    for start in range(0, count, BLOCK):
        block = fetch(start, min(count, start + BLOCK))
        rows = unpacked_rows(np.concatenate([packed[:STRONGEST] for _, packed in block]))
        word, signature = tree.read(rows)
        sizes = [min(STRONGEST, len(packed)) for _, packed in block]
        owners.append(np.repeat(np.arange(start, start + len(block), dtype=np.int32), sizes))
        words.append(word)
        signatures.append(signature)
        for i, (hashes, _) in enumerate(block, start):
            plain[i] = np.packbits(hashes.plain).view(np.uint64)
            mirrored[i] = np.packbits(hashes.mirrored).view(np.uint64)
            fine[i] = hashes.quality >= LOW_QUALITY
    word = np.concatenate(words)
    order = np.argsort(word, kind="stable")
    return (
        np.concatenate(owners)[order],
        word[order],
        np.concatenate(signatures)[order],
        plain,
        mirrored,
        fine,
    )


def _voted(
    i: int,
    count: int,
    packed: npt.NDArray[np.uint8],
    tree: _Tree,
    starts: npt.NDArray[np.int64],
    owner: Words,
    signature: Signatures,
) -> list[int]:
    """The pictures that share most key points with picture i, in either orientation."""
    rows = unpacked_rows(packed[:STRONGEST])
    votes = np.zeros(count, np.int64)
    for asked in (rows, mirrored_descriptors(rows)):
        word, mine = tree.read(asked)
        first, last = starts[word], starts[word + 1]
        length = last - first
        if not length.sum():
            continue
        # Every posting of every asked word, laid out in one go.
        places = np.arange(length.sum()) + np.repeat(
            first - np.r_[0, np.cumsum(length)[:-1]], length
        )
        differ = np.bitwise_count(signature[places] ^ np.repeat(mine, length))
        agreeing = differ <= HAMMING
        # One key point has one vote for a picture, however often its pattern repeats there.
        ballots = (
            np.repeat(np.arange(len(rows)), length)[agreeing] * count + owner[places[agreeing]]
        )
        votes = np.maximum(votes, np.bincount(np.unique(ballots) % count, minlength=count))
    votes[i] = 0
    best = np.argsort(-votes, kind="stable")[:MOST]
    return [int(j) for j in best if votes[j] >= FEWEST]


def _near_hashes(
    plain: Signatures, mirrored: Signatures, fine: npt.NDArray[np.bool_], bits: int
) -> Iterator[tuple[int, int]]:
    """Pairs whose hashes are near in either orientation; flat pictures have no hash to speak of."""
    for i in range(len(plain) - 1):
        if not fine[i]:
            continue
        rest = plain[i + 1 :]
        near = np.minimum(
            np.bitwise_count(rest ^ plain[i]).sum(axis=1, dtype=np.int32),
            np.bitwise_count(rest ^ mirrored[i]).sum(axis=1, dtype=np.int32),
        )
        for j in np.flatnonzero((near <= bits) & fine[i + 1 :]):
            yield i, i + 1 + int(j)
