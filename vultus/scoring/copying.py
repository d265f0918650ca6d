"""Copying: whether renders repeat training pictures instead of showing the person anew.

Notation
    T, R      embeddings of training pictures and of held-out references   float32 (t, d), (n, d), unit rows, one pack
    g         embedding of one render                                      float32 (d,)
    near_k    expected greatest cosine to k pictures drawn from a set      float; k is equal for T and R, because the
                                                                           nearest of many is nearer than of few
    gap       near_k(g, T) - near_k(g, R), on the m10 scale                0 = no nearer to what it was trained on
    angle     (theta(g, r) - theta(g, t)) / theta(t, r), t and r the nearest training picture and reference of g:
              -1 .. 1, 1 = the training picture itself (the copy-paste angle of WithAnyone, arXiv 2510.14975)
    bits      perceptual fingerprint of a whole picture                    bool (256,)
Identity is wanted, repetition is not: a good LoRA is as near to pictures it never saw as to those it saw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vultus.images.hashing import LOW_QUALITY, SAME_PICTURE_BITS, Bits, hamming_matrix
from vultus.scoring.guards import Seen, not_measured, paired
from vultus.scoring.records import Guard

__all__ = [
    "GAP_MARGIN_M10",
    "Known",
    "black_hole",
    "copied_pictures",
    "copy_angle",
    "copying",
    "near",
]

GAP_MARGIN_M10 = 1.5
"""m10 that renders may lie nearer to trained pictures than to held-out ones, beyond what the base shows."""

HOLE_SHARE = 0.5
"""Share of renders with one and the same nearest training picture from which it may be called a black hole."""

HOLE_CHANCE = 0.001
"""Chance, corrected for the number of training pictures, below which luck does not explain it."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Known:
    """The persona's own pictures: what was trained on, and what was held out.

    `span` is the genuine mean minus the impostor mean, in cosine.
    """

    trained: NDArray[np.float32]
    references: NDArray[np.float32]
    trained_bits: NDArray[np.bool_]
    """(t, 2, 256): plain and mirrored"""
    reference_bits: NDArray[np.bool_]
    """(n, 256), plain"""
    span: float


def copying(chosen: Sequence[Seen], base: Sequence[Seen], known: Known) -> Guard:
    """The gap between trained and held-out pictures, against the base's gap on the same blocks."""
    if min(len(known.trained), len(known.references)) < 2:
        return not_measured("copying", "copying: it takes two trained and two held-out pictures")
    there = {(one.prompt_id, one.seed): one for one in base}
    pairs = []
    for one in chosen:
        other = there.get((one.prompt_id, one.seed))
        if one.emb is None:
            continue
        own = _gap(one, known)
        zero = _gap(other, known) if other is not None and other.emb is not None else 0.0
        pairs.append((one.prompt_id, own - zero))
    angle = copy_angle(chosen, known)
    return paired(
        "copying",
        pairs,
        "m10",
        GAP_MARGIN_M10,
        lambda gap: (
            f"nearer to trained than to held-out pictures by {gap} m10 (copy-paste angle {angle:.2f})"
        ),
        bad=1,
    )


def copy_angle(chosen: Sequence[Seen], known: Known) -> float:
    """Mean copy-paste angle over the renders with a face; 0 where there is none."""
    found = []
    for one in chosen:
        if one.emb is not None:
            face = one.emb.astype(np.float64)
            t = known.trained[int((known.trained @ face).argmax())].astype(np.float64)
            r = known.references[int((known.references @ face).argmax())].astype(np.float64)
            apart = max(_angle(t, r), 1e-6)
            found.append(np.clip((_angle(face, r) - _angle(face, t)) / apart, -1.0, 1.0))
    return float(np.mean(found)) if found else 0.0


def copied_pictures(chosen: Sequence[Seen], base: Sequence[Seen], known: Known) -> Guard:
    """Whole renders that are a training picture, mirrored or not, by fingerprint.

    The cut is the usual one for the same picture, or three quarters of how near any held-out picture comes to a trained
    one: serial shots of one person come near without being copies.
    """
    if not len(known.trained_bits):
        return not_measured(
            "copied pictures", "copied pictures: nobody looked at the training pictures"
        )
    cut = float(SAME_PICTURE_BITS)
    if len(known.reference_bits):
        cut = min(cut, 0.75 * float(_distances(known.reference_bits, known).min()))
    own, there = _copies(chosen, known, cut), _copies(base, known, cut)
    more = own - there
    words = (
        f"{own} of {len(chosen)} renders repeat a training picture (within {cut:.0f} of 256 bits)"
    )
    kept = True if more <= 0 else None if more == 1 else False
    return Guard("copied pictures", kept, f"{words}, {there} of the base's own")


def black_hole(chosen: Sequence[Seen], known: Known) -> Guard:
    """One training picture that most renders fall into.

    A central picture attracts honest pictures as well: the chance of each training picture is taken from how the
    held-out references fall, drawn to equal shares by one reference for each picture.
    """
    faces = [one.emb for one in chosen if one.emb is not None]
    t = len(known.trained)
    if t < 4 or len(faces) < 8:
        return not_measured(
            "black hole", "black hole: it takes 4 training pictures and 8 renders with a face"
        )
    hits = np.bincount((np.stack(faces) @ known.trained.T).argmax(axis=1), minlength=t)
    honest = np.bincount((known.references @ known.trained.T).argmax(axis=1), minlength=t)
    chance = (honest + 1.0) / (honest.sum() + t)
    tails = np.array(
        [_tail(int(k), len(faces), float(p)) for k, p in zip(hits, chance, strict=True)]
    )
    worst = int((hits / chance).argmax()) if tails.min() > 0 else int(tails.argmin())
    share, luck = float(hits[worst] / len(faces)), float(min(1.0, tails[worst] * t))
    words = (
        f"{share:.0%} of the faces have the same nearest training picture, where {chance[worst]:.0%} were to be"
        f" expected (chance {luck:.2g})"
    )
    hole = share >= HOLE_SHARE and luck < HOLE_CHANCE
    return Guard("black hole", not hole, words)


def near(cosines: Floats, k: int) -> Floats:
    """Expected greatest of k values drawn without replacement from each row: (n, m) -> (n,)."""
    m = cosines.shape[1]
    if not 1 <= k <= m:
        raise ValueError(f"{k} of {m} pictures cannot be drawn")
    weights = np.array([math.comb(j, k - 1) / math.comb(m, k) for j in range(m)])
    return np.asarray(np.sort(cosines, axis=1) @ weights)


def _gap(one: Seen, known: Known) -> float:
    assert one.emb is not None
    face = one.emb.astype(np.float64)[None]
    k = min(len(known.trained), len(known.references))
    trained, held_out = (
        near(face @ rows.T.astype(np.float64), k)[0] for rows in (known.trained, known.references)
    )
    return float(10.0 * (trained - held_out) / max(known.span, 1e-6))


def _angle(a: Floats, b: Floats) -> float:
    return math.acos(min(1.0, max(-1.0, float(a @ b))))


def _distances(bits: Bits, known: Known) -> NDArray[np.int64]:
    """(n,): bits between each picture and the nearest training picture, plain or mirrored."""
    every = known.trained_bits.reshape(-1, known.trained_bits.shape[-1])
    return np.asarray(hamming_matrix(bits, every).min(axis=1))


def _copies(seen: Sequence[Seen], known: Known, cut: float) -> int:
    told = [one.bits for one in seen if one.structure >= LOW_QUALITY]
    return int((_distances(np.stack(told), known) <= cut).sum()) if told else 0


def _tail(k: int, n: int, p: float) -> float:
    """Chance of k or more of n."""
    return float(sum(math.comb(n, i) * p**i * (1.0 - p) ** (n - i) for i in range(k, n + 1)))
