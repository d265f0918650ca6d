"""Kind `ceiling`: the persona's own references through a base's VAE and back, at several sizes of the face.

    inputs   references (digest), base digest, spec (of the renders), pack (digest), widths_px
    files    dataset, base
    hints    device, face_pack (name or folder)
    outputs  ceiling.json (a list of CeilingRow)

Only a crop around the face goes through the VAE: its reach is short, and a whole picture of 1024 px costs seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vultus.core import specs
from vultus.core.files import write_json
from vultus.datasets.manifest import read_embeddings, read_manifest
from vultus.datasets.records import Dataset, Member
from vultus.faces.records import Face, FaceEngine, Rgb
from vultus.generation.records import RenderSpec
from vultus.images.geometry import crop_square
from vultus.images.load import load_picture
from vultus.scoring.ceiling import ceiling_row
from vultus.scoring.similarity import pose_bins
from vultus.steps.kinds.resident import face_engine
from vultus.steps.table import Job

CROP_SHARE = 2.5
"""Side of the crop in widths of the face: a portrait with some background, as detectors want it."""

STEP_PX = 8
"""Pictures of SDXL's VAE have sides that are multiples of this."""


def work(job: Job) -> Mapping[str, Path]:
    """Send every reference through the VAE at every width that its face is large enough for."""
    from vultus.generation.backends.codec import open_codec  # torch: only where the work is done

    folder = job.files["dataset"]
    dataset = read_manifest(folder)
    engine = face_engine(str(job.hints["face_pack"]), str(job.inputs["pack"]))
    spec = specs.parse(RenderSpec, job.inputs["spec"], "render")
    codec = open_codec(
        str(job.inputs["renderer"]), job.files["base"], spec, str(job.hints.get("device", "auto"))
    )
    own, centroids = _others(folder, dataset)
    faces = [_face(engine, folder, member) for member in dataset.references]
    rows = []
    for width_px in (int(width) for width in job.inputs["widths_px"]):
        kept = [
            i for i, (_, face) in enumerate(faces) if face is not None and _width(face) >= width_px
        ]
        if kept:
            crops = [_crop(*faces[i], width_px) for i in kept]
            small = _cosines(engine, crops, centroids[kept])
            coded = _cosines(engine, [codec.round_trip(rgb) for rgb in crops], centroids[kept])
            rows.append(
                ceiling_row(width_px, [float(own[i]) for i in kept], small, coded).to_json()
            )
        job.advance(1)
    write_json(job.scratch / "ceiling.json", rows)
    return {"ceiling.json": job.scratch / "ceiling.json"}


def _others(folder: Path, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Each reference's cosine to the others (n,), and the centroid of those others (n, d)."""
    bins = pose_bins(
        read_embeddings(folder, dataset, "reference"), [m.facing for m in dataset.references]
    )
    return bins.genuine(), bins.others()


def _face(engine: FaceEngine, folder: Path, member: Member) -> tuple[Rgb, Face | None]:
    rgb = load_picture(folder / member.picture).rgb
    return rgb, engine.read(rgb).face


def _width(face: Face) -> float:
    return face.box_px[2] - face.box_px[0]


def _crop(rgb: Rgb, face: Face | None, width_px: int) -> Rgb:
    """The face this many pixels wide, with room around it."""
    assert face is not None
    x0, y0, x1, y1 = face.box_px
    side = CROP_SHARE * _width(face)
    out_px = max(STEP_PX, round(CROP_SHARE * width_px / STEP_PX) * STEP_PX)
    return crop_square(rgb, ((x0 + x1) / 2, (y0 + y1) / 2), side, out_px, 128)[0]


def _cosines(engine: FaceEngine, crops: Sequence[Rgb], centroids: np.ndarray) -> list[float]:
    """Cosine of each crop's face to its reference's others; nan where no face is found."""
    found = []
    for result, centroid in zip(engine.read_many(crops), centroids, strict=True):
        emb = result.emb
        found.append(float("nan") if emb is None else float(emb.astype(np.float64) @ centroid))
    return found


__all__ = ["CROP_SHARE", "STEP_PX", "work"]
