"""Scores a folder of pictures against a folder of references: no training, no database.

Notation
    emb      embedding of the one chosen face    float32 (d,), unit length, one pack
    cosine   to the centroid of the references   float in [-1, 1]
    share    mean cosine of the pictures as a share of the references' own leave-one-out mean
References are read strictly (state ok only: a blurred or crowded picture is no anchor); pictures
are read by intention to treat (any face that could be measured counts, none counts as a miss).
Without impostors there is no zero, hence no m10: what is left is the cosine beside the references'
own self-consistency, and the report says so instead of inventing a zero. Impostors are best renders
of the same base without the LoRA; strangers of another kind are too easy and flatter the score.
Pictures of a folder count as independent, because nobody says which belong together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vultus.core.errors import ScoreError
from vultus.core.progress import Progress
from vultus.datasets.audit import audit_identity
from vultus.datasets.records import CurateSpec
from vultus.faces.facing import facing_of
from vultus.faces.records import FaceEngine, FaceResult
from vultus.images.load import iter_folder
from vultus.images.records import Picture, PictureFault
from vultus.scoring import copying, guards
from vultus.scoring.guards import Light, Seen, light_of
from vultus.scoring.panel import binned_mean, score_cell
from vultus.scoring.records import CellScore, Guard, RenderRow
from vultus.scoring.yardstick import REFERENCES_MIN, Yardstick
from vultus.stats.estimate import Estimate
from vultus.stats.jackknife import interval, source_of

__all__ = ["FolderScore", "ReadPicture", "score_folders"]

REFERENCES_LEAST = 2
"""Below this nothing can be said: one picture cannot be compared with itself."""

WAITING = 8
"""Pictures held in memory at a time (12 MP pictures are 36 MB each)."""


@dataclass(frozen=True)
class ReadPicture:
    """One picture of a folder after the face engine has looked at it."""

    path: Path
    content_id: str
    state: str
    cosine: float | None
    points: float | None = None
    llr10: float | None = None


@dataclass(frozen=True)
class FolderScore:
    """Everything that can honestly be said about a folder of pictures.

    `score` is None when no yardstick could be frozen; `refused` then says why. `cosine` is the
    mean over the pictures with a face; `share` its ratio to the references' own mean.
    """

    pack_name: str
    pack_digest: str
    pack_licence: str
    references: tuple[ReadPicture, ...]
    pictures: tuple[ReadPicture, ...]
    impostors: tuple[ReadPicture, ...]
    cosine: Estimate | None
    share: Estimate | None
    yardstick: Yardstick | None
    score: CellScore | None
    refused: tuple[str, ...]
    faults: tuple[PictureFault, ...]
    guards: tuple[Guard, ...] = ()
    """guard-rails that need neither prompts nor a base; copying only where the trained pictures were given"""
    odd: tuple[ReadPicture, ...] = ()
    """references that the others say are another person: they lower the 10 and flatter every score"""

    @property
    def misses(self) -> int:
        """Pictures without a face that could be compared."""
        return sum(picture.cosine is None for picture in self.pictures)


@dataclass(frozen=True, eq=False)
class _Read:
    """What one folder gave: path, content id and face reading of each picture."""

    seen: list[tuple[Path, str, FaceResult]]
    faults: list[PictureFault]
    lights: list[Light] = field(default_factory=list)
    """fingerprint and brightness of each picture in `seen`"""

    def poses(self, states: Sequence[str] = ()) -> tuple[str, ...]:
        """Where the faces of `rows` look."""
        return tuple(
            _pose(result)
            for _, _, result in self.seen
            if result.emb is not None and (not states or result.state in states)
        )

    def rows(self, states: Sequence[str] = ()) -> NDArray[np.float32]:
        """Embeddings of the pictures in these states (any state when empty)."""
        found = [
            result.emb
            for _, _, result in self.seen
            if result.emb is not None and (not states or result.state in states)
        ]
        return np.stack(found).astype(np.float32) if found else np.zeros((0, 0), np.float32)


def score_folders(
    engine: FaceEngine,
    references: Path,
    pictures: Path,
    impostors: Sequence[Path] = (),
    *,
    trained: Sequence[Path] = (),
    progress: Progress | None = None,
) -> FolderScore:
    """Read the folders with one engine and score the pictures against the references.

    `trained` are folders of pictures that the LoRA learnt from: with them copying can be told.

    Raises ScoreError when fewer than two references or no picture could be read.
    """
    own = _read(engine, [references], progress)
    probes = _read(engine, [pictures], progress)
    mine = {content for _, content, _ in own.seen}
    overlap = mine & {content for _, content, _ in probes.seen}
    # An impostor folder may hold everybody (all persons of a test set): nobody is his own stranger.
    known = mine | {content for _, content, _ in probes.seen}
    strangers = _read(engine, impostors, progress, skip=known)
    learnt = _read(engine, trained, progress) if trained else None
    _require(own, probes, references, pictures)
    yardstick = _yardstick(engine, own, strangers, references.name)
    refused = _refusals(yardstick, bool(impostors), len(overlap))
    score = None if refused else score_cell(yardstick, _rows(probes))
    cosine, share = _unanchored(yardstick, probes)
    told = _leave_one_out(own, yardstick)
    return FolderScore(
        pack_name=engine.pack.name,
        pack_digest=engine.pack.digest,
        pack_licence=engine.pack.licence,
        references=told,
        pictures=_told(probes, yardstick, None if refused else yardstick),
        impostors=_told(strangers, yardstick, None),
        cosine=cosine,
        share=share,
        yardstick=yardstick,
        score=score,
        refused=refused,
        faults=(*own.faults, *probes.faults, *strangers.faults),
        guards=_guards(yardstick, own, probes, learnt, bool(strangers.rows().size)),
        odd=_odd(yardstick, told),
    )


def _odd(yardstick: Yardstick, references: Sequence[ReadPicture]) -> tuple[ReadPicture, ...]:
    """References of somebody else, by the rule and the cuts of `vultus dataset audit`."""
    spec = CurateSpec()
    audit = audit_identity(
        yardstick.references, z_cut=spec.off_persona_z, ratio_cut=spec.off_persona_ratio
    )
    anchors = [picture for picture in references if picture.state == "ok"]
    return tuple(one for one, odd in zip(anchors, audit.strangers, strict=True) if odd)


def _require(own: _Read, probes: _Read, references: Path, pictures: Path) -> None:
    """Raise ScoreError when there is nothing to compare, or nothing to compare with."""
    if len(own.rows(("ok",))) < REFERENCES_LEAST:
        raise ScoreError(
            f"{len(own.rows(('ok',)))} of {len(own.seen)} references shows one clear face",
            where=str(references),
            expected=f"at least {REFERENCES_LEAST} pictures of one person, 12 for a score",
            next_command="add pictures that show the face alone, sharp and large enough",
        )
    if not probes.seen:
        raise ScoreError(
            "there is no picture to score", where=str(pictures), expected="at least one picture"
        )


def _yardstick(engine: FaceEngine, own: _Read, strangers: _Read, persona: str) -> Yardstick:
    """The scale of this folder, fit or not."""
    anchors = own.rows(("ok",))
    return Yardstick(
        references=anchors,
        impostors=strangers.rows() if strangers.rows().size else anchors[:0],
        impostor_prompts=tuple(c for _, c, result in strangers.seen if result.emb is not None),
        pack_digest=engine.pack.digest,
        persona=persona,
        reference_ids=tuple(c for _, c, result in own.seen if result.state == "ok"),
        impostor_misses=sum(result.emb is None for _, _, result in strangers.seen),
        reference_poses=own.poses(("ok",)),
        impostor_poses=strangers.poses(),
        recogniser=engine.pack.recogniser.sha256,
    )


def _guards(
    yardstick: Yardstick, own: _Read, probes: _Read, learnt: _Read | None, anchored: bool
) -> tuple[Guard, ...]:
    """What can be told of pictures whose prompts and base nobody knows."""
    seen = [
        Seen(
            prompt_id=content,
            seed=0,
            emb=result.emb,
            face_share=None,
            sharpness=None,
            bits=light.hashes.plain,
            structure=light.hashes.quality,
            luma_mean=light.mean,
            luma_sd=light.sd,
            clipped=light.clipped,
        )
        for (_, content, result), light in zip(probes.seen, probes.lights, strict=True)
    ]
    found = [guards.flat_pictures(seen, ())]
    if learnt is None:
        words = "copying was not measured: name the pictures that were trained on with --trained"
        return (*found, guards.not_measured("copying", words))
    rows = learnt.rows()
    genuine = yardstick.genuine_mean
    known = copying.Known(
        trained=rows if rows.size else yardstick.references[:0],
        references=yardstick.references,
        trained_bits=np.array(
            [[one.hashes.plain, one.hashes.mirrored] for one in learnt.lights], dtype=np.bool_
        ),
        reference_bits=np.array([one.hashes.plain for one in own.lights], dtype=np.bool_),
        span=genuine - (yardstick.impostor_mean if anchored else 0.0),
    )
    return (
        *found,
        copying.copying(seen, (), known),
        copying.copied_pictures(seen, (), known),
        copying.black_hole(seen, known),
    )


def _read(
    engine: FaceEngine,
    folders: Sequence[Path],
    progress: Progress | None,
    skip: Collection[str] = (),
) -> _Read:
    """Every picture of some folders, a handful in memory at a time; the same bytes count once."""
    read = _Read([], [])
    known = set(skip)
    waiting: list[Picture] = []

    def work_off() -> None:
        results = engine.read_many([picture.rgb for picture in waiting])
        for picture, result in zip(waiting, results, strict=True):
            read.seen.append((picture.path, picture.content_id, result))
            read.lights.append(light_of(picture.rgb))
            if progress is not None:
                progress.advance(1, note=picture.path.name)
        waiting.clear()

    for found in _each(folders):
        if isinstance(found, Picture) and found.content_id not in known:
            known.add(found.content_id)
            waiting.append(found)
            if len(waiting) == WAITING:
                work_off()
            continue
        if isinstance(found, PictureFault):
            read.faults.append(found)
        if progress is not None:
            progress.advance(1, remembered=True)
    work_off()
    return read


def _each(folders: Sequence[Path]) -> Iterable[Picture | PictureFault]:
    for folder in folders:
        yield from iter_folder(folder)


def _refusals(yardstick: Yardstick, impostors: bool, overlap: int) -> tuple[str, ...]:
    """Why no m10 is given, in words; empty when it is."""
    reasons: list[str] = []
    if impostors:
        reasons.extend(yardstick.faults())
    else:
        reasons.append(
            "no impostors were given, so nobody knows what 0 would be: render the same prompts "
            "without the LoRA and name that folder with --impostors"
        )
        if len(yardstick.references) < REFERENCES_MIN:
            reasons.append(
                f"{len(yardstick.references)} clear references, at least {REFERENCES_MIN} needed"
            )
    if overlap:
        reasons.append(f"{overlap} of the pictures are references themselves")
    return tuple(reasons)


def _rows(probes: _Read) -> list[RenderRow]:
    return [
        RenderRow(c, 0, result.emb, result.state, pose=_pose(result))
        for _, c, result in probes.seen
    ]


def _pose(result: FaceResult) -> str:
    return "" if result.face is None else facing_of(result.face.points_px)


def _unanchored(yardstick: Yardstick, probes: _Read) -> tuple[Estimate | None, Estimate | None]:
    """Mean cosine of the faces found, and its share of the references' own mean.

    Intervals by leaving out each picture and, from three references on, each reference.
    """
    faces, poses = probes.rows(), probes.poses()
    if not faces.size:
        return None, None
    cosine = yardstick.cosines(faces, poses)
    value, genuine = float(cosine.mean()), yardstick.genuine_mean
    without = (cosine.sum() - cosine) / max(1, len(cosine) - 1)
    sources, share_sources = [source_of(without)], [source_of(without / genuine)]
    if len(yardstick.references) >= 3:
        left = yardstick.left_out
        moved = binned_mean(left.centroids, yardstick, faces, poses)
        sources.append(source_of(moved))
        share_sources.append(source_of(moved / left.genuine_means))
    n = len(cosine)
    return (
        Estimate(value, *interval(value, sources), "cosine", n),
        Estimate(value / genuine, *interval(value / genuine, share_sources), "share", n),
    )


def _leave_one_out(own: _Read, yardstick: Yardstick) -> tuple[ReadPicture, ...]:
    """References with their cosine to all the others; unclear ones have none."""
    values = iter(yardstick.genuine.tolist())
    return tuple(
        ReadPicture(path, c, result.state, next(values) if result.state == "ok" else None)
        for path, c, result in own.seen
    )


def _told(read: _Read, yardstick: Yardstick, anchored: Yardstick | None) -> tuple[ReadPicture, ...]:
    """Pictures with their cosine and, on a sound yardstick, their place on the scale."""
    told = []
    for path, content, result in read.seen:
        if result.emb is None:
            told.append(ReadPicture(path, content, result.state, None))
            continue
        cosine = yardstick.cosines(result.emb[None].astype(np.float32), [_pose(result)])
        points = None if anchored is None else float(anchored.points(cosine)[0])
        llr10 = None if anchored is None else float(anchored.calibration.llr10(cosine)[0])
        told.append(ReadPicture(path, content, result.state, float(cosine[0]), points, llr10))
    return tuple(told)
