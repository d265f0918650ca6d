"""How well a face pack tells people apart on a set of pictures: genuine against impostor pairs.

**Notation**
    g, i       cosines of genuine pairs (one person), of impostor pairs (two)    float64 (n,)
    eer        share at which as many genuine pairs are refused as impostor pairs are accepted
    tar(f)     share of genuine pairs above the cosine that a share f of the impostors exceeds
    d_prime    (mean g - mean i) / root mean variance: distance of the two humps in their widths
    interval   95 %, by leaving out one *person* at a time (pairs of one person hang together)
A cut on cosines belongs to one pack and one kind of pictures; it is told with both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vultus.core.errors import FaceError
from vultus.faces.similarity import Vectors, cosine
from vultus.stats.jackknife import student_quantile

__all__ = [
    "FMRS",
    "Verified",
    "centroid_trials",
    "equal_error_rate",
    "pair_trials",
    "true_accept_rate",
    "verify",
    "verify_people",
]

FMRS: Final = (1e-2, 1e-3)
Cosines = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Verified:
    """The figures of one set. Shares are 0..1, `cut` is the cosine of the equal error rate."""

    genuine: int
    impostors: int
    genuine_mean: float
    impostor_mean: float
    impostor_max: float
    eer: float
    eer_low: float
    eer_high: float
    cut: float
    tar: dict[float, float]
    d_prime: float


def verify(
    g: Cosines, i: Cosines, *, interval: tuple[float, float] = (float("nan"), float("nan"))
) -> Verified:
    """All figures of two samples. Raises FaceError when one of them is empty."""
    if not len(g) or not len(i):
        raise FaceError(
            f"{len(g)} genuine and {len(i)} impostor pairs",
            expected="at least one of each: two pictures of one person, and a second person",
        )
    eer, cut = equal_error_rate(g, i)
    widths = float(np.sqrt((g.var() + i.var()) / 2))
    return Verified(
        genuine=len(g),
        impostors=len(i),
        genuine_mean=float(g.mean()),
        impostor_mean=float(i.mean()),
        impostor_max=float(i.max()),
        eer=eer,
        eer_low=interval[0],
        eer_high=interval[1],
        cut=cut,
        tar={f: true_accept_rate(g, i, f) for f in FMRS},
        d_prime=float(g.mean() - i.mean()) / widths if widths > 0 else float("inf"),
    )


def equal_error_rate(g: Cosines, i: Cosines) -> tuple[float, float]:
    """The rate and the cosine at which it holds. Refused: below the cut; accepted: at or above."""
    cuts = np.unique(np.concatenate([g, i]))
    refused = np.searchsorted(np.sort(g), cuts, side="left") / len(g)
    accepted = 1.0 - np.searchsorted(np.sort(i), cuts, side="left") / len(i)
    best = int(np.argmin(np.abs(refused - accepted)))
    return float(refused[best] + accepted[best]) / 2, float(cuts[best])


def true_accept_rate(g: Cosines, i: Cosines, fmr: float) -> float:
    """Share of genuine pairs above the impostors' quantile 1 - fmr."""
    return float((g > np.quantile(i, 1.0 - fmr)).mean())


def pair_trials(v: Vectors, who: Sequence[str]) -> tuple[Cosines, Cosines]:
    """All pairs of the set: genuine and impostor cosines."""
    table = cosine(v, v)
    first, second = np.triu_indices(len(v), 1)
    names = np.array(who)
    same = names[first] == names[second]
    found = table[first, second]
    return found[same], found[~same]


def verify_people(v: Vectors, who: Sequence[str]) -> Verified:
    """The figures over all pairs, the EER with its interval over people."""
    g, i = pair_trials(v, who)
    whole = verify(g, i)
    names = np.array(who)
    left_out = []
    for person in sorted(set(who)):
        rest = names != person
        g_rest, i_rest = pair_trials(Vectors(v.rows[rest], v.pack_digest), list(names[rest]))
        if len(g_rest) and len(i_rest):
            left_out.append(equal_error_rate(g_rest, i_rest)[0])
    n = len(left_out)
    if n < 3:
        return whole
    rates = np.array(left_out)
    spread = float(np.sqrt((n - 1) / n * np.sum((rates - rates.mean()) ** 2)))
    half = student_quantile(0.975, n - 1) * spread
    return verify(g, i, interval=(max(0.0, whole.eer - half), min(1.0, whole.eer + half)))


def centroid_trials(
    v: Vectors, who: Sequence[str], rng: np.random.Generator, *, size: int = 4, draws: int = 10
) -> tuple[Cosines, Cosines]:
    """Each vector against the centroid of `size` others of its person, and of every other person.

    The references are drawn anew `draws` times; a probe is never among them. Trials of one draw
    share references, so they are not independent: use them for rates, not for intervals.
    """
    names = np.array(who)
    rows = v.rows.astype(np.float64)
    people = [p for p in sorted(set(who)) if int((names == p).sum()) > size]
    if len(people) < 2:
        raise FaceError(
            f"{len(people)} people have more than {size} pictures", expected="at least two"
        )
    genuine: list[float] = []
    impostors: list[float] = []
    for _ in range(draws):
        for probe in np.flatnonzero(np.isin(names, people)):
            for person in people:
                own = np.flatnonzero((names == person) & (np.arange(len(v)) != probe))
                mean = rows[rng.choice(own, size, replace=False)].mean(axis=0)
                value = float(rows[probe] @ mean / np.linalg.norm(mean))
                (genuine if person == names[probe] else impostors).append(value)
    return np.array(genuine), np.array(impostors)
