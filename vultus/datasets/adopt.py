"""A dataset that the user froze becomes the dataset of a run: pictures, sides, captions and views as they were agreed.

    frozen manifest -> its pictures as files -> faces are read, nothing is judged -> the folder that a run trains on

Notation
    manifest   what `vultus dataset freeze` wrote (`datasets.freeze`)
    dataset    what a run's later steps read (`datasets.manifest`)
Nothing is dropped and no side is chosen here: the user did both. Faces are read because the scale is made of the
references' embeddings; a reference without a face the pack can read is therefore refused, a training picture without
one stays. A written view is trained on as a part of its parent (`Member.crop_px`), so that SDXL is told its true
size and place. Written masks belong to exports: the native trainer weighs faces by their boxes.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from vultus.core.errors import DatasetError
from vultus.datasets.audit import audit_identity
from vultus.datasets.captions import with_trigger
from vultus.datasets.curate import Judged, write_dataset
from vultus.datasets.freeze import Frozen, is_view, read_frozen
from vultus.datasets.ingest import Ingested, Measured, ingest, unheard
from vultus.datasets.library import Library
from vultus.datasets.manifest import EMBEDDINGS, write_manifest
from vultus.datasets.persona import Persona
from vultus.datasets.records import BoxPx, CurateSpec, Dataset, Member
from vultus.faces.records import FaceEngine

__all__ = ["adopt", "find_frozen", "refuse_unfit"]

Row = Mapping[str, Any]


def find_frozen(place: Path) -> tuple[Path, Frozen]:
    """Return the dataset folder and its frozen manifest. `place` is the folder, or one below its frozen/.

    Raises DatasetError when it is no dataset, or when nothing, or more than one thing, was frozen there.
    """
    folder, digest = (
        (place.parents[1], place.name) if place.parent.name == "frozen" else (place, "")
    )
    with Library.open(folder) as library:
        try:
            return folder, read_frozen(library, digest)
        except DatasetError as fault:
            if "frozen manifests fit" not in fault.what:
                raise
            raise DatasetError(
                "more than one thing was frozen here",
                where=str(folder / "frozen"),
                expected=fault.expected,
                next_command=f'in vultus.toml: dataset = "{place.name}/frozen/DIGEST"',
            ) from fault


def refuse_unfit(folder: Path, frozen: Frozen, persona: Persona, spec: CurateSpec) -> None:
    """Raise DatasetError, before any work, when a run cannot use this manifest."""
    rows: Sequence[Row] = frozen.manifest["pictures"]
    held_out = sum(row["role"] == "reference" for row in rows)
    fault = ""
    if held_out < spec.references_min:
        fault = f"holds {held_out} references"
    elif len(rows) - held_out < spec.training_min:
        fault = f"holds {len(rows) - held_out} pictures to train on"
    if fault:
        raise DatasetError(
            f"the frozen dataset {fault}",
            where=str(frozen.path),
            expected=f"at least {spec.references_min} held out and {spec.training_min} to train on",
            next_command=f"vultus dataset split {shlex.quote(str(folder))}, then freeze again",
        )
    told = frozen.manifest["persona"]
    if told is not None and told != asdict(persona):
        raise DatasetError(
            f"the dataset was frozen for {told['name']} ({told['trigger']} {told['class_words']}),"
            f" this workspace is of {persona.name} ({persona.with_trigger})",
            where=str(frozen.path),
            expected="one persona.toml for both",
            next_command=f"vultus dataset freeze {shlex.quote(str(folder))} --persona persona.toml",
        )


def adopt(
    library: Library,
    frozen: Frozen,
    persona: Persona,
    engine: FaceEngine,
    out: Path,
    advance: Callable[[float], None] = unheard,
) -> Dataset:
    """Write the dataset of a run into `out`; the manifest's pictures are copied, so that it stands by itself.

    Raises DatasetError when a picture is gone or changed, or a reference shows no face.
    """
    rows: Sequence[Row] = frozen.manifest["pictures"]
    views = [row for row in rows if is_view(row)]
    whole = {str(row["name"]): row for row in rows if not is_view(row)}
    scratch = out.with_name(out.name + ".pictures")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        for name, row in whole.items():
            place = scratch / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(library.blobs.read(row["content_id"]))
        seen = _as_frozen(ingest(scratch, persona, engine, advance), whole, persona)
        held_out = {name for name, row in whole.items() if row["role"] == "reference"}
        _refuse_faceless(seen, held_out, engine.pack.name)
        judged = _unjudged(seen)
        filled = Ingested(tuple(_with_row(one, _dim(seen)) for one in seen.pictures), ())
        dataset = write_dataset(filled, judged, held_out, persona, engine.pack.digest, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return _with_views(dataset, views, whole, persona, out)


def _as_frozen(seen: Ingested, rows: Mapping[str, Row], persona: Persona) -> Ingested:
    """The measured pictures with the manifest's captions. Raises DatasetError when one could not be opened."""
    if len(seen.pictures) != len(rows):
        lost = sorted(set(rows) - {one.candidate.name for one in seen.pictures})
        raise DatasetError(
            f"{len(lost)} frozen pictures cannot be opened (first: {lost[0]})",
            expected="every picture of the manifest",
            next_command="vultus dataset show DATASET",
        )
    pictures = tuple(
        replace(
            one,
            candidate=replace(
                one.candidate,
                caption=with_trigger(str(rows[one.candidate.name]["caption"]), persona),
            ),
        )
        for one in seen.pictures
    )
    return Ingested(pictures, ())


def _refuse_faceless(seen: Ingested, held_out: set[str], pack: str) -> None:
    lost = [
        one.candidate for one in seen.pictures if one.candidate.name in held_out and one.emb is None
    ]
    if lost:
        raise DatasetError(
            f"{len(lost)} references show no face that the pack {pack!r} can read"
            f" (first: {lost[0].name}: {lost[0].face_state})",
            expected="a readable face in every reference: the scale is made of them",
            next_command="vultus dataset split DATASET (with the same face pack), then freeze again",
        )


def _dim(seen: Ingested) -> int:
    return next(len(one.emb) for one in seen.pictures if one.emb is not None)


def _with_row(one: Measured, dim: int) -> Measured:
    """A picture without a face has a row of zeros: it is like nobody."""
    return one if one.emb is not None else replace(one, emb=np.zeros(dim, np.float32))


def _unjudged(seen: Ingested) -> Judged:
    """Everything is kept; who looks unlike the others is told as a cosine, not acted upon."""
    cosines = {one.candidate.name: 0.0 for one in seen.pictures}
    shown = [one for one in seen.pictures if one.emb is not None]
    coherence = 1.0
    if shown:
        spec = CurateSpec()
        audit = audit_identity(
            np.stack([one.emb for one in shown if one.emb is not None]),
            z_cut=spec.off_persona_z,
            ratio_cut=spec.off_persona_ratio,
        )
        coherence = audit.median
        cosines |= {
            one.candidate.name: float(c) for one, c in zip(shown, audit.cosines, strict=True)
        }
    return Judged((), (), tuple(range(len(seen.pictures))), cosines, coherence)


def _with_views(
    dataset: Dataset,
    views: Sequence[Row],
    whole: Mapping[str, Row],
    persona: Persona,
    out: Path,
) -> Dataset:
    """Add the written views as parts of their parents, and write the manifest anew."""
    if not views:
        return dataset
    place = {member.name: n for n, member in enumerate(dataset.members)}
    members, parents = list(dataset.members), list(range(len(dataset.members)))
    for row in views:
        parent = place[row["lineage"]["parent"]]
        parents.append(parent)
        frozen = dataset.members[parent]
        # A picture of more than 4096 px is copied smaller.
        scale = frozen.width_px / whole[frozen.name]["width_px"]
        members.append(_view_member(frozen, row, persona, scale))
    rows = np.load(out / EMBEDDINGS, allow_pickle=False)
    # A view of a reference is no second reference: it would vote twice.
    keep = [n for n, one in enumerate(members) if one.crop_px is None or one.role == "training"]
    np.save(out / EMBEDDINGS, rows[[parents[n] for n in keep]])
    found = replace(dataset, members=tuple(members[n] for n in keep))
    write_manifest(out, found)
    return found


def _view_member(parent: Member, row: Row, persona: Persona, scale: float) -> Member:
    _, _, box = str(row["lineage"]["detail"]).rpartition("box ")
    x0, y0, x1, y1 = (round(int(edge) * scale) for edge in box.split())
    crop: BoxPx = (x0, y0, min(x1, parent.width_px), min(y1, parent.height_px))
    return replace(
        parent,
        name=str(row["name"]),
        role="reference" if row["role"] == "reference" else "training",
        content_id=str(row["content_id"]),
        caption=with_trigger(str(row["caption"]), persona),
        lineage=parent.name,
        crop_px=crop,
    )
