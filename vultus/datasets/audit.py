"""Who is not the persona, and what else makes a picture a bad example: told with numbers, decided by the user.

Notation
    E    embeddings of the candidates' faces      float32 (n, d), unit rows, one face pack
    S    cosines of all pairs                     float64 (n, n)
    c    leave-one-out cosine of each face to the centroid of the others' core   float64 (n,)
    z    robust z of c: (c - median) / (1.4826 MAD), MAD at least 0.03

A face is called another person when two things hold: its z is below -off_persona_z, and its cosine is below
off_persona_ratio x the median. The z alone would drop a true profile from a set of frontal pictures; the
ratio alone depends on the face pack. The centroid is taken over the *core*, the half of the faces with the
highest median cosine to all others, so that strangers do not pull it towards themselves: it stays with the
persona while strangers are fewer than half and less alike each other than the persona is. A questioned face that is
alike enough to stay, but less than doubtful_ratio x the median, is *doubtful*: shown beside the persona's own, most
doubtful first, never proposed for removal. The z alone says "another pose" far oftener than "another person": on 24
tuning personas it questioned 103 of 828 own faces, of which 5 lie below 0.7 x the median; their 92 strangers end
at 0.40 x. On ORL mixes: 37 instead of 201 of 2,700, and 300 strangers end at 0.42 x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus.datasets.readings import Reading
from vultus.datasets.records import JudgeSpec

MAD_FLOOR = 0.03
LARGEST_RATIO = 2.5
"""Width over height (or the other way round) beyond which bucketing cuts away most of a picture."""
BAR_SHARE = 0.02
MARK_PICTURES = 5
MARK_EDGE_LEVELS = 6.0
MARK_SIGMAS = 5.0
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Audit:
    """The likeness of each face to the others, and which faces are somebody else's."""

    cosines: Floats
    z: Floats
    strangers: npt.NDArray[np.bool_]
    median: float


@dataclass(frozen=True)
class Finding:
    """One thing about one picture: what, how sure, and the number behind it.

    `verdict`: "drop" is proposed for removal, "look" is shown and left to the user.
    """

    name: str
    reason: str
    verdict: str
    detail: str
    cosine: float | None = None
    z: float | None = None


FINDING_WORDS: dict[str, str] = {
    "off_persona": "another person",
    "doubtful": "unlike the others, but not unlike enough to be somebody else",
    "no_face": "no face found",
    "several_faces": "several faces",
    "small_face": "face too small to be measured",
    "blurred": "blurred",
    "small_picture": "smaller than the training resolution",
    "odd_shape": "far from square: bucketing cuts most of it away",
    "bars": "bars or a frame at the edges",
    "mark": "the same mark at the same place as in other pictures",
}


def audit_identity(emb: npt.NDArray[np.float32], *, z_cut: float, ratio_cut: float) -> Audit:
    """Measure each face against the core of the others and mark strangers."""
    n = len(emb)
    if n < 3:  # two faces cannot outvote each other
        return Audit(np.ones(n), np.zeros(n), np.zeros(n, dtype=np.bool_), 1.0)
    unit = emb.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    core = _core(unit)
    cosines = _leave_one_out(unit, core)
    median = float(np.median(cosines[core]))
    spread = max(1.4826 * float(np.median(np.abs(cosines[core] - median))), MAD_FLOOR)
    z = (cosines - median) / spread
    strangers = (z < -z_cut) & (cosines < ratio_cut * median)
    return Audit(cosines, z, strangers, median)


def audit_pictures(
    readings: Sequence[Reading], spec: JudgeSpec, *, resolution_px: int
) -> tuple[list[Finding], float]:
    """Everything that speaks against a picture, in name order, and the set's median cosine.

    One picture can have several findings. Pictures without a usable face are told first and take no part in the
    audit of identity; blurred ones do take part.
    """
    found: list[Finding] = []
    for reading in readings:
        found.extend(_face_findings(reading))
        found.extend(_size_findings(reading, resolution_px))
    found.extend(_blur_findings(readings, spec))
    found.extend(_mark_findings(readings))
    identity, median = _identity_findings(readings, spec)
    order = {reason: i for i, reason in enumerate(FINDING_WORDS)}
    whole = sorted([*found, *identity], key=lambda one: (one.name, order[one.reason]))
    return whole, median


def _identity_findings(readings: Sequence[Reading], spec: JudgeSpec) -> tuple[list[Finding], float]:
    seen = [r for r in readings if r.emb is not None and r.face_state != "several"]
    rows = [r.emb for r in seen if r.emb is not None]
    if len(rows) < 3:
        return [], 1.0
    audit = audit_identity(
        np.stack(rows), z_cut=spec.off_persona_z, ratio_cut=spec.off_persona_ratio
    )
    found: list[Finding] = []
    for reading, cosine, z, stranger in zip(
        seen, audit.cosines, audit.z, audit.strangers, strict=True
    ):
        detail = f"cosine {cosine:.2f} where the others have {audit.median:.2f} (z {z:.1f})"
        if stranger:
            reason, verdict = "off_persona", "drop"
        elif z < -spec.off_persona_z and cosine < spec.doubtful_ratio * audit.median:
            reason, verdict = "doubtful", "look"
        else:
            continue
        found.append(Finding(reading.name, reason, verdict, detail, float(cosine), float(z)))
    return found, audit.median


_FACE_STATES = {
    "none": ("no_face", "drop", "the face pack finds nobody"),
    "several": ("several_faces", "drop", "a second face is at least half as large as the first"),
    "too_small": ("small_face", "drop", "fewer pixels than the face pack can read"),
    "blurred": ("blurred", "drop", "the face is less sharp than the face pack can read"),
}


def _face_findings(reading: Reading) -> list[Finding]:
    found = _FACE_STATES.get(reading.face_state)
    return [] if found is None else [Finding(reading.name, *found)]


def _size_findings(reading: Reading, resolution_px: int) -> list[Finding]:
    found: list[Finding] = []
    width, height = reading.width_px, reading.height_px
    if width * height < (0.8 * resolution_px) ** 2:
        detail = (
            f"{width} x {height} px, trained at about {resolution_px} px squared: it is enlarged"
        )
        found.append(Finding(reading.name, "small_picture", "look", detail))
    ratio = max(width, height) / max(1, min(width, height))
    if ratio > LARGEST_RATIO:
        found.append(Finding(reading.name, "odd_shape", "look", f"{ratio:.1f} : 1"))
    sides = ("left", "top", "right", "bottom")
    spans = (width, height, width, height)
    bars = [
        f"{bar} px {side}"
        for bar, side, span in zip(reading.bars_px, sides, spans, strict=True)
        if bar >= max(2, BAR_SHARE * span)
    ]
    if bars:
        found.append(Finding(reading.name, "bars", "look", ", ".join(bars)))
    return found


def _blur_findings(readings: Sequence[Reading], spec: JudgeSpec) -> list[Finding]:
    """Faces far less sharp than this set usually is: an absolute cut belongs to one camera and one formula."""
    seen = [r for r in readings if r.face_state not in _FACE_STATES]
    if len(seen) < 4:
        return []
    usual = float(np.median([r.sharpness for r in seen]))
    return [
        Finding(r.name, "blurred", "drop", f"sharpness {r.sharpness:.2f}, usual here {usual:.2f}")
        for r in seen
        if r.sharpness < spec.blur_ratio * usual
    ]


def _mark_findings(readings: Sequence[Reading]) -> list[Finding]:
    """Watermarks: an edge at one place near the border in most pictures of one shape.

    The median over pictures of the *signed* gradient is near zero where pictures differ and keeps what all of them
    have (Dekel et al. 2017, "On the effectiveness of visible watermarks"). Only the outer fifth counts: the middle
    of a persona's pictures is a face in all of them.
    """
    groups: dict[bool, list[Reading]] = {}
    for reading in readings:
        groups.setdefault(reading.width_px >= reading.height_px, []).append(reading)
    found: list[Finding] = []
    for group in groups.values():
        if len(group) < MARK_PICTURES:
            continue
        grey = np.stack([r.grey for r in group]).astype(np.float32)
        steps = np.stack([np.gradient(grey, axis=2), np.gradient(grey, axis=1)], axis=1)
        usual = np.median(steps, axis=0)
        strength = np.hypot(usual[0], usual[1])
        # What the median of that many unrelated edges would be by chance: 1.25 sd / sqrt(n), sd = 1.48 MAD.
        chance = 1.85 * np.median(np.abs(steps - usual), axis=0).max(axis=0) / len(group) ** 0.5
        side = strength.shape[0]
        rim = np.ones_like(strength, dtype=np.bool_)
        rim[side // 5 : -side // 5, side // 5 : -side // 5] = False
        rim[:2], rim[-2:], rim[:, :2], rim[:, -2:] = False, False, False, False
        marked = rim & (strength > MARK_EDGE_LEVELS) & (strength > MARK_SIGMAS * chance)
        if int(marked.sum()) < 6:
            continue
        rows, columns = np.nonzero(marked)
        place = _place(float(columns.mean()) / side, float(rows.mean()) / side)
        for reading, own in zip(group, steps, strict=True):
            agree = float((own * usual)[:, marked].sum() / (usual[:, marked] ** 2).sum())
            if agree > 0.5:
                detail = f"an edge at the {place}, in most of {len(group)} pictures"
                found.append(Finding(reading.name, "mark", "look", detail))
    return found


def _place(x: float, y: float) -> str:
    across = "left" if x < 0.4 else "right" if x > 0.6 else "middle"
    down = "top" if y < 0.4 else "bottom" if y > 0.6 else "side"
    return f"{down} {across}"


def _core(unit: Floats) -> npt.NDArray[np.int64]:
    """Indices of the better half by median cosine to the others, at least two."""
    pairs = unit @ unit.T
    np.fill_diagonal(pairs, np.nan)
    typical = np.nanmedian(pairs, axis=1)
    return np.sort(np.argsort(-typical, kind="stable")[: max(2, (len(unit) + 1) // 2)])


def _leave_one_out(unit: Floats, core: npt.NDArray[np.int64]) -> Floats:
    """Cosine of each face to the centroid of the core without itself."""
    total = unit[core].sum(axis=0)
    inside = np.zeros(len(unit), dtype=np.bool_)
    inside[core] = True
    centroid = total[None, :] - np.where(inside[:, None], unit, 0.0)
    centroid /= np.maximum(np.linalg.norm(centroid, axis=1, keepdims=True), 1e-12)
    return np.asarray((unit * centroid).sum(axis=1))


__all__ = [
    "FINDING_WORDS",
    "MAD_FLOOR",
    "Audit",
    "Finding",
    "audit_identity",
    "audit_pictures",
]
