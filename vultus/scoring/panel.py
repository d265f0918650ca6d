"""Scores one cell: every render of its panel counts, also the ones without a face.

Notation
    s      cosine of a render to the centroid of the references; the impostor mean if no face
    G, I   cosines of references and impostors (see `scoring.yardstick`)
    m10  = 10 (mean s - mean I) / (mean G - mean I)
The interval adds up two kinds of luck, each measured by leaving one unit out (`stats.jackknife`):
which references (new centroid, new G, new I), and which prompts with all their seeds. A prompt that
impostors and renders share is left out of both: if it makes everybody look alike it moves both.
Intention to treat: a missing face scores the impostor mean, 0 points. Dropping it would reward a
LoRA for failing where it is bad.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vultus.core.errors import ScoreError
from vultus.scoring.records import CellScore, GroupScore, RenderRow, RenderScore
from vultus.scoring.yardstick import Yardstick
from vultus.stats.compare import paired_difference
from vultus.stats.estimate import Estimate, wilson
from vultus.stats.jackknife import Source, cluster_source, interval, pair_excess, source_of

__all__ = ["CLOSER_THAN_REAL", "binned_mean", "contamination", "difference", "score_cell"]

Floats = NDArray[np.float64]

CLOSER_THAN_REAL = 10.5
"""Above this the renders are closer to the persona than its own pictures: suspect copying."""


PAIRS_MOST = 120
"""References up to which pairs of them are left out: n^3 numbers, 7 MB at this size."""


def score_cell(
    yardstick: Yardstick,
    rows: Sequence[RenderRow],
    *,
    confidence: float = 0.95,
    n_runs: int = 1,
    made_with: Sequence[str] = (),
) -> CellScore:
    """The score of one cell from the faces of its renders, missing ones included.

    `made_with` identifies the recognisers that took part in making the renders (an identity loss, InstantID): when the
    judge is among them, every number carries the warning.
    Raises ScoreError on a yardstick that cannot carry a score, and on rows that are not one cell.
    """
    yardstick.require()
    _check(yardstick, rows)
    cosine = _cosines(yardstick, rows)
    renders = _render_scores(yardstick, rows, cosine)
    m10 = _m10(yardstick, rows, confidence, n_runs)
    groups: list[GroupScore] = []
    for name in dict.fromkeys(row.group for row in rows if row.group):
        part = [row for row in rows if row.group == name]
        estimate = _m10(yardstick, part, confidence, n_runs)
        groups.append(GroupScore(name, estimate, sum(row.missing for row in part), len(part)))
    poses: list[GroupScore] = []
    for name in sorted({row.pose for row in rows if row.pose and not row.missing}):
        part = [row for row in rows if row.pose == name and not row.missing]
        estimate = _m10(yardstick, part, confidence, n_runs, name)
        poses.append(GroupScore(name, estimate, 0, len(part)))
    misses = sum(row.missing for row in rows)
    above = int(np.sum(cosine[~np.isnan(cosine)] >= yardstick.genuine_cut))
    counted = np.where(np.isnan(cosine), yardstick.impostor_mean, cosine)
    return CellScore(
        m10=m10,
        cosine_mean=float(counted.mean()),
        misses=misses,
        n_renders=len(rows),
        miss_rate=wilson(misses, len(rows), confidence=confidence),
        yield_share=wilson(above, len(rows), confidence=confidence),
        llr10_mean=float(yardstick.calibration.llr10(counted).mean()),
        groups=tuple(groups),
        renders=renders,
        flags=(*contamination(yardstick, made_with), *_flags(m10, misses, rows)),
        yardstick_digest=yardstick.digest,
        poses=tuple(poses),
        without_reference=tuple(_without_reference(yardstick, rows).tolist()),
    )


def contamination(yardstick: Yardstick, made_with: Sequence[str]) -> tuple[str, ...]:
    """The warning that loss and judge are one net, or nothing."""
    if not {yardstick.recogniser, yardstick.pack_digest} & set(made_with) - {""}:
        return ()
    return (
        "the recogniser that judges also took part in making these renders: every number is flattered; "
        "judge with another face pack",
    )


def difference(a: CellScore, b: CellScore, *, confidence: float = 0.95) -> Estimate:
    """a - b in m10, paired by block and clustered by prompt.

    Both cells must have rendered the same blocks. What the references add mostly cancels when the arms share a
    yardstick, but not all of it: they set the length of a point, so a large gap is as uncertain as they are.
    """
    left = {(r.prompt_id, r.seed): r.points for r in a.renders}
    right = {(r.prompt_id, r.seed): r.points for r in b.renders}
    if left.keys() != right.keys():
        common = len(left.keys() & right.keys())
        raise ScoreError(
            f"the cells share {common} blocks of {len(left)} and {len(right)}",
            expected="the same prompts and seeds on both sides",
        )
    blocks = sorted(left)
    gap = np.array([left[block] - right[block] for block in blocks])
    prompts = [prompt for prompt, _ in blocks]
    if a.yardstick_digest != b.yardstick_digest or not a.without_reference:
        return paired_difference(gap, np.zeros(len(gap)), prompts, "m10", confidence=confidence)
    sources = [
        cluster_source(gap, prompts),
        source_of(np.array(a.without_reference) - np.array(b.without_reference)),
    ]
    value = float(gap.mean())
    low, high = interval(value, sources, confidence=confidence)
    return Estimate(value, low, high, "m10", len(blocks), 1, confidence)


def _check(yardstick: Yardstick, rows: Sequence[RenderRow]) -> None:
    if not rows:
        raise ScoreError("a cell without renders has no score", expected="at least one render")
    blocks = {row.block for row in rows}
    if len(blocks) != len(rows):
        raise ScoreError(
            f"{len(rows)} renders but only {len(blocks)} different prompt and seed pairs",
            expected="every block once per cell",
        )
    width = yardstick.references.shape[1]
    for row in rows:
        if row.emb is not None and row.emb.shape != (width,):
            raise ScoreError(
                f"an embedding of shape {row.emb.shape} met a yardstick of width {width}",
                where=f"prompt {row.prompt_id}, seed {row.seed}",
                expected="faces read with the yardstick's own pack",
            )


def _cosines(yardstick: Yardstick, rows: Sequence[RenderRow]) -> Floats:
    """(n,) cosines, nan where there is no face."""
    faces = [row.emb for row in rows if row.emb is not None]
    values = np.full(len(rows), np.nan)
    if faces:
        found = np.array([row.emb is not None for row in rows])
        poses = [row.pose for row in rows if row.emb is not None]
        values[found] = yardstick.cosines(
            np.stack(faces).astype(np.float32), poses if any(poses) else ()
        )
    return values


def _render_scores(
    yardstick: Yardstick, rows: Sequence[RenderRow], cosine: Floats
) -> tuple[RenderScore, ...]:
    points = yardstick.points(cosine)
    evidence = yardstick.calibration.llr10(cosine)
    scored = []
    for row, c, p, e in zip(rows, cosine, points, evidence, strict=True):
        scored.append(
            RenderScore(
                prompt_id=row.prompt_id,
                seed=row.seed,
                group=row.group,
                state=row.state,
                cosine=None if row.missing else float(c),
                points=0.0 if row.missing else float(p),
                llr10=None if row.missing else float(e),
                pose=row.pose,
            )
        )
    return tuple(scored)


def _m10(
    yardstick: Yardstick,
    rows: Sequence[RenderRow],
    confidence: float,
    n_runs: int,
    pose: str = "",
) -> Estimate:
    """The anchored mean and its interval; a miss adds 0 points and is counted below.

    With a pose, the anchors are that pose's; the luck is measured on the common scale and carried over.
    """
    points = np.nan_to_num(yardstick.points(_cosines(yardstick, rows), pose), nan=0.0)
    value = float(points.mean())
    zero, ten = yardstick.anchors(pose)
    stretch = ((yardstick.genuine_mean - yardstick.impostor_mean) / (ten - zero)) ** 2
    sources = [_reference_luck(yardstick, rows), *_prompt_luck(yardstick, rows)]
    scaled = [Source(source.variance * stretch, source.freedom) for source in sources]
    low, high = interval(value, scaled, confidence=confidence)
    return Estimate(value, low, high, "m10", len(rows), n_runs, confidence)


def _reference_luck(yardstick: Yardstick, rows: Sequence[RenderRow]) -> Source:
    """How m10 moves when each reference is left out: centroid and both anchors move with it."""
    found = source_of(_without_reference(yardstick, rows))
    return Source(found.variance * _honest_share(yardstick, rows), found.freedom)


def _without_reference(yardstick: Yardstick, rows: Sequence[RenderRow]) -> Floats:
    """(n,): m10 of these rows on the scale without each reference."""
    left = yardstick.left_out
    impostor_means = binned_mean(
        left.centroids, yardstick, yardstick.impostors, yardstick.impostor_poses
    )
    faces = [row.emb for row in rows if row.emb is not None]
    excess = np.zeros(len(left.centroids))
    if faces:
        poses = [row.pose for row in rows if row.emb is not None]
        means = binned_mean(left.centroids, yardstick, np.stack(faces), poses if any(poses) else ())
        excess = (means - impostor_means) * (len(faces) / len(rows))
    return np.asarray(10.0 * excess / (left.genuine_means - impostor_means))


def _honest_share(yardstick: Yardstick, rows: Sequence[RenderRow]) -> float:
    """The share of the references' jackknife variance that is there: 1 minus the excess of pairs, at least a half.

    Measured with poses ignored, where leaving out two is one Gram matrix, and carried over. A pure sum has 1, a pure
    statistic of pairs a half. From PAIRS_MOST references on the excess is below a twentieth and not looked for.
    """
    n = len(yardstick.references)
    faces = [row.emb for row in rows if row.emb is not None]
    if not faces or not 4 <= n <= PAIRS_MOST:
        return 1.0
    mean_face = np.stack(faces).astype(np.float64).mean(axis=0)
    toward = np.stack([mean_face, yardstick.impostors.astype(np.float64).mean(axis=0)])
    plain = yardstick.plain_left_out
    render, zero = plain.centroids[:, 0] @ toward[0], plain.centroids[:, 0] @ toward[1]
    left_out = (render - zero) / (plain.genuine_means - zero)
    pairs = yardstick.pairs_out
    render2, zero2 = (
        pairs.shares @ (yardstick.references.astype(np.float64) @ side) for side in toward
    )
    pairs_out = (render2 - zero2) / (pairs.genuine_means - zero2)
    centroid, genuine = yardstick.centroids[-1], yardstick.plain_genuine_mean
    whole = float((centroid @ toward[0] - centroid @ toward[1]) / (genuine - centroid @ toward[1]))
    variance = source_of(left_out).variance
    if variance <= 0.0:
        return 1.0
    return min(1.0, max(0.5, 1.0 - pair_excess(whole, left_out, pairs_out) / variance))


def binned_mean(
    centroids: Floats, yardstick: Yardstick, faces: NDArray[np.float32], poses: Sequence[str]
) -> Floats:
    """Mean cosine of faces to the centroids of their poses, for (n, B + 1, d) alternatives of these: (n,)."""
    rows = faces.astype(np.float64)
    if not poses:
        return np.asarray(centroids[:, -1] @ rows.mean(axis=0))
    sums = np.zeros(centroids.shape[1:])
    np.add.at(sums, yardstick.bins.place(poses), rows)
    return np.asarray(np.einsum("nbd,bd->n", centroids, sums) / len(rows))


def _prompt_luck(yardstick: Yardstick, rows: Sequence[RenderRow]) -> tuple[Source, ...]:
    """How m10 moves when each prompt is left out; other prompts of the impostors come on top."""
    cosine = _cosines(yardstick, rows)
    own = sorted({row.prompt_id for row in rows})
    others = sorted(set(yardstick.impostor_prompts) - set(own))
    prompts = np.array([row.prompt_id for row in rows])
    strangers = np.array(yardstick.impostor_prompts)

    def without(name: str) -> float:
        kept, impostors = cosine[prompts != name], yardstick.strangers[strangers != name]
        zero = float(impostors.mean())
        span = yardstick.genuine_mean - zero
        return float(10.0 * np.where(np.isnan(kept), 0.0, kept - zero).mean() / span)

    if len(own) < 2 or (len(others) == 0 and len(set(yardstick.impostor_prompts)) < 2):
        return (source_of(np.zeros(1)),)
    sources = [source_of(np.array([without(name) for name in own]))]
    if len(others) > 1:
        sources.append(source_of(np.array([without(name) for name in others])))
    return tuple(sources)


def _flags(m10: Estimate, misses: int, rows: Sequence[RenderRow]) -> tuple[str, ...]:
    found: list[str] = []
    if m10.value > CLOSER_THAN_REAL:
        found.append(
            "closer to the persona than its own pictures are to each other: "
            "check for copied training pictures"
        )
    if misses * 10 > len(rows):
        found.append(f"no face in {misses} of {len(rows)} renders; each counts as 0 points")
    prompts = len({row.prompt_id for row in rows})
    if prompts < 6:
        found.append(f"only {prompts} prompts: the interval is a rough one")
    return tuple(found)
