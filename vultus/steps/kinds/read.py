"""Kind `read`: renders become faces: a state and, where there is one, an embedding.

    inputs   renders (content ids, in order), pack (digest)
    files    r000, r001, ...
    hints    face_pack (name or folder)
    outputs  states.json (a list), emb.npy (float32 (n, d); a row of zeros where there is no face), faces.json (where
             the chosen face lies: {size_px [w, h], box_px, points_px, spread_px, sharpness, facing}, or null)

A picture without a face is an answer, not a failure: it keeps its row.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vultus.core.files import json_text
from vultus.faces.facing import facing_of
from vultus.faces.records import FaceResult, Rgb
from vultus.images.load import load_picture
from vultus.steps.kinds.resident import face_engine
from vultus.steps.table import Job

READ_BATCH = 16


def work(job: Job) -> Mapping[str, Path]:
    """Read every render with the pack's engine."""
    engine = face_engine(str(job.hints["face_pack"]), str(job.inputs["pack"]))
    paths = [job.files[f"r{i:03d}"] for i in range(len(job.inputs["renders"]))]
    states: list[str] = []
    rows: list[np.ndarray | None] = []
    faces: list[dict[str, Any] | None] = []
    for start in range(0, len(paths), READ_BATCH):
        batch = [load_picture(path).rgb for path in paths[start : start + READ_BATCH]]
        for rgb, result in zip(batch, engine.read_many(batch), strict=True):
            faces.append(_face(rgb, result))
            states.append(result.state)
            rows.append(result.emb)
        job.advance(len(batch))
    width = next((len(row) for row in rows if row is not None), 1)
    emb = np.zeros((len(rows), width), dtype=np.float32)
    for i, row in enumerate(rows):
        if row is not None:
            emb[i] = row
    names = ("states.json", "emb.npy", "faces.json")
    outputs = {name: job.scratch / name for name in names}
    # Not flushed here: the ledger flushes all outputs of a step together when it takes them over.
    outputs["states.json"].write_text(json_text(states), encoding="utf-8")
    outputs["faces.json"].write_text(json_text(faces), encoding="utf-8")
    np.save(outputs["emb.npy"], emb, allow_pickle=False)
    return outputs


def _face(rgb: Rgb, result: FaceResult) -> dict[str, Any] | None:
    """Where the chosen face lies and looks; None where nobody was found."""
    if result.face is None:
        return None
    return {
        "size_px": [int(rgb.shape[1]), int(rgb.shape[0])],
        "box_px": [float(edge) for edge in result.face.box_px],
        "points_px": [[float(x), float(y)] for x, y in result.face.points_px],
        "spread_px": float(result.landmark_spread_px),
        "sharpness": float(result.sharpness),
        "facing": facing_of(result.face.points_px),
    }


__all__ = ["READ_BATCH", "work"]
