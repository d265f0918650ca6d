"""Pictures in, frozen dataset out: the whole of curation, read from top to bottom.

    ingest -> exact and perceptual duplicates -> faces that cannot be used -> other people -> references first

Order matters. Duplicates go first, because a copied stranger would vote twice in the identity audit and a copied
reference would leak into training. References are chosen last, from what survived, before anything trains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus.core.errors import DatasetError
from vultus.datasets.audit import audit_identity
from vultus.datasets.captions import find_leaks
from vultus.datasets.dedupe import find_duplicates
from vultus.datasets.ingest import Ingested, Measured, ingest, unheard
from vultus.datasets.manifest import EMBEDDINGS, write_manifest
from vultus.datasets.persona import Persona
from vultus.datasets.records import (
    REASON_WORDS,
    Candidate,
    CurateSpec,
    Dataset,
    Drop,
    Duplicate,
    Member,
    Reason,
)
from vultus.datasets.split import choose_references
from vultus.faces.records import FaceEngine
from vultus.images.geometry import fit_within
from vultus.images.load import load_picture
from vultus.images.write import save_png

THUMBNAIL_PX = 256
LONGEST_PX = 4096
"""Frozen pictures are not larger: four times what any SDXL training looks at."""


@dataclass(frozen=True)
class Judged:
    """What was decided about the candidates before the split."""

    drops: tuple[Drop, ...]
    findings: tuple[Duplicate, ...]
    kept: tuple[int, ...]
    cosines: dict[str, float]
    coherence: float


def curate(
    folder: Path,
    persona: Persona,
    engine: FaceEngine,
    spec: CurateSpec,
    seed: int,
    out: Path,
    advance: Callable[[float], None] = unheard,
) -> Dataset:
    """Curate a folder of pictures and freeze the outcome into `out`.

    Raises DatasetError when the folder is empty, shows no faces, or holds too few usable pictures.
    """
    seen = ingest(folder, persona, engine, advance)
    judged = judge(seen, spec)
    _refuse_nothing_left(seen, judged, spec)
    kept = [seen.pictures[i].candidate for i in judged.kept]
    shot = {one.dropped: one.kept for one in judged.findings}
    lineage = {candidate.name: shot.get(candidate.name, candidate.name) for candidate in kept}
    held_out = choose_references(kept, lineage, spec, seed)
    return write_dataset(seen, judged, held_out, persona, engine.pack.digest, out)


def judge(seen: Ingested, spec: CurateSpec) -> Judged:
    """Decide which pictures are used, and give each of the others one reason."""
    findings = find_duplicates(seen, spec)
    # Two exposures of one burst are two pictures: both stay, on one side of the split.
    drops = {
        finding.dropped: Drop(finding.dropped, finding.kind, finding.evidence, finding.kept)
        for finding in findings
        if finding.kind != "burst"
    }
    candidates = [picture.candidate for picture in seen.pictures]
    for candidate in candidates:
        if candidate.name not in drops:
            drop = _face_drop(candidate)
            if drop is not None:
                drops[candidate.name] = drop
    remaining = [i for i, c in enumerate(candidates) if c.name not in drops]
    for drop in _blurred(seen, remaining, spec):
        drops[drop.name] = drop
    remaining = [i for i in remaining if candidates[i].name not in drops]
    cosines: dict[str, float] = {}
    coherence = 1.0
    if remaining:
        rows = np.stack([_emb(seen, i) for i in remaining])
        audit = audit_identity(rows, z_cut=spec.off_persona_z, ratio_cut=spec.off_persona_ratio)
        coherence = audit.median
        for i, cosine, z, stranger in zip(
            remaining, audit.cosines, audit.z, audit.strangers, strict=True
        ):
            name = candidates[i].name
            cosines[name] = float(cosine)
            if stranger:
                detail = f"cosine {cosine:.2f} where the others have {audit.median:.2f} (z {z:.1f})"
                drops[name] = Drop(name, "off_persona", detail)
    kept = tuple(i for i in remaining if candidates[i].name not in drops)
    order = {candidate.name: i for i, candidate in enumerate(candidates)}
    ordered = sorted(drops.values(), key=lambda drop: order[drop.name])
    return Judged((*ordered, *seen.unreadable), tuple(findings), kept, cosines, coherence)


def _emb(seen: Ingested, i: int) -> npt.NDArray[np.float32]:
    emb = seen.pictures[i].emb
    # Judged before: a face without an embedding was dropped as no_face or small_face.
    assert emb is not None, f"{seen.pictures[i].candidate.name} has no embedding"
    return emb


FACE_DROPS: dict[str, tuple[Reason, str]] = {
    "none": ("no_face", "the face pack finds nobody"),
    "several": ("several_faces", "a second face is at least half as large as the first"),
    "too_small": ("small_face", "fewer pixels than the face pack can read"),
    "blurred": ("blurred", "the face is less sharp than the face pack can read"),
}


def _face_drop(candidate: Candidate) -> Drop | None:
    found = FACE_DROPS.get(candidate.face_state)
    if found is None:
        return None
    reason, detail = found
    return Drop(candidate.name, reason, detail)


def _blurred(seen: Ingested, remaining: list[int], spec: CurateSpec) -> list[Drop]:
    """Mark faces far less sharp than this set usually is.

    An absolute cut belongs to one camera and one formula; the set's own median belongs to the set.
    """
    if len(remaining) < 4:
        return []
    candidates = [seen.pictures[i].candidate for i in remaining]
    usual = float(np.median([candidate.sharpness for candidate in candidates]))
    return [
        Drop(one.name, "blurred", f"sharpness {one.sharpness:.2f}, usual here {usual:.2f}")
        for one in candidates
        if one.sharpness < spec.blur_ratio * usual
    ]


def _refuse_nothing_left(seen: Ingested, judged: Judged, spec: CurateSpec) -> None:
    if judged.kept and judged.coherence >= spec.coherence_min:
        return
    if judged.kept:
        raise DatasetError(
            f"the {len(judged.kept)} pictures with a face do not show one person"
            f" (median cosine {judged.coherence:.2f})",
            expected=f"faces that are alike: a median cosine of at least {spec.coherence_min:g}",
            next_command="check the pictures folder, or choose another face_pack in vultus.toml",
        )
    states = [picture.candidate.face_state for picture in seen.pictures]
    if all(state == "none" for state in states):
        raise DatasetError(
            f"no face was found in any of the {len(states)} pictures",
            expected="pictures that show the persona's face",
            next_command="check the pictures folder; for photographs: vultus models fetch free, then"
            ' face_pack = "free" in vultus.toml',
        )
    counts: dict[str, int] = {}
    for drop in judged.drops:
        counts[drop.reason] = counts.get(drop.reason, 0) + 1
    told = ", ".join(f"{n} {REASON_WORDS[reason]}" for reason, n in sorted(counts.items()))
    raise DatasetError(
        f"none of the {len(states)} pictures can be used: {told}",
        expected="sharp pictures with one clear face",
        next_command="replace the pictures and run the same command again",
    )


def write_dataset(
    seen: Ingested,
    judged: Judged,
    held_out: set[str],
    persona: Persona,
    pack_digest: str,
    out: Path,
) -> Dataset:
    """Write pictures, embeddings and manifest of what was judged: the folder that a run's later steps read."""
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    (out / "dropped").mkdir(exist_ok=True)
    members: list[Member] = []
    for position, i in enumerate(judged.kept):
        candidate = seen.pictures[i].candidate
        picture = f"pictures/{position:04d}.png"
        width, height = _copy_picture(seen.pictures[i], out / picture, LONGEST_PX)
        box, points = _frozen_face(candidate, width / candidate.width_px)
        members.append(
            Member(
                name=candidate.name,
                role="reference" if candidate.name in held_out else "training",
                content_id=candidate.content_id,
                picture=picture,
                caption=candidate.caption,
                face_share=round(candidate.face_share, 4),
                face_size=candidate.face_size,
                facing=candidate.facing,
                width_px=width,
                height_px=height,
                cosine=judged.cosines[candidate.name],
                lineage=candidate.name,
                box_px=box,
                points_px=points,
            )
        )
    np.save(out / EMBEDDINGS, np.stack([_emb(seen, i) for i in judged.kept]))
    at = {picture.candidate.name: picture for picture in seen.pictures}
    for position, drop in enumerate(judged.drops):
        if drop.name in at:
            _copy_picture(at[drop.name], out / f"dropped/{position:04d}.png", THUMBNAIL_PX)
    trained = [member.caption for member in members if member.role == "training"]
    notes = tuple(
        f"{leak.share:.0%} of the captions say {leak.fragment!r}: the persona may absorb it"
        for leak in find_leaks(trained, persona)
    )
    dataset = Dataset(
        persona.name, pack_digest, tuple(members), judged.drops, judged.findings, notes
    )
    write_manifest(out, dataset)
    return dataset


def _frozen_face(
    candidate: Candidate, scale: float
) -> tuple[tuple[float, float, float, float] | None, tuple[tuple[float, float], ...]]:
    """Box and points in pixels of the frozen copy, to a hundredth: the last bits differ from machine to machine."""
    if candidate.box_px is None:
        return None, ()
    x0, y0, x1, y1 = (round(edge * scale, 2) for edge in candidate.box_px)
    points = candidate.points_px or ()
    return (x0, y0, x1, y1), tuple((round(x * scale, 2), round(y * scale, 2)) for x, y in points)


def _copy_picture(picture: Measured, path: Path, longest_px: int) -> tuple[int, int]:
    """Write the decoded picture as PNG, return its size; a file that changed since it was measured is refused."""
    loaded = load_picture(picture.path)
    if loaded.content_id != picture.candidate.content_id:
        raise DatasetError(
            "the picture changed while the folder was being read",
            where=str(picture.path),
            expected="a folder that stays as it is during the run",
            next_command="run the same command again",
        )
    rgb = loaded.rgb
    if max(rgb.shape[:2]) > longest_px:
        rgb, _ = fit_within(rgb, longest_px)
    save_png(path, rgb, xmp_ai=False)
    return int(rgb.shape[1]), int(rgb.shape[0])


__all__ = ["FACE_DROPS", "THUMBNAIL_PX", "Judged", "curate", "judge", "write_dataset"]
