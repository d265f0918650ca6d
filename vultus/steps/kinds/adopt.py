"""Kind `adopt`: a dataset that the user froze becomes the dataset of a run.

inputs   manifest (digest), persona, pack (digest)
files    library (the dataset folder)
    hints    face_pack (name or folder)
outputs  dataset (a folder: manifest.json, pictures/, embeddings.npy)
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from vultus.datasets.adopt import adopt
from vultus.datasets.freeze import read_frozen
from vultus.datasets.library import Library
from vultus.datasets.persona import Persona
from vultus.steps.kinds.resident import face_engine
from vultus.steps.table import Job


def work(job: Job) -> Mapping[str, Path]:
    """Copy the pictures of the manifest and read their faces; nothing is judged."""
    out = job.scratch / "dataset"
    shutil.rmtree(out, ignore_errors=True)  # half a dataset of a killed attempt
    persona = Persona(**job.inputs["persona"])
    engine = face_engine(str(job.hints["face_pack"]), str(job.inputs["pack"]))
    with Library.open(job.files["library"]) as library:
        frozen = read_frozen(library, str(job.inputs["manifest"]))
        adopt(library, frozen, persona, engine, out, job.advance)
    return {"dataset": out}


__all__ = ["work"]
