"""Kind `curate`: a folder of pictures becomes a frozen dataset.

inputs   pictures [[name, content id, caption id]], persona, spec, seed, pack (digest)
files    folder
    hints    face_pack (name or folder)
outputs  dataset (a folder: manifest.json, pictures/, dropped/, embeddings.npy)
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vultus.core import specs
from vultus.core.errors import DatasetError
from vultus.datasets.curate import curate
from vultus.datasets.listing import list_inputs
from vultus.datasets.persona import Persona
from vultus.datasets.records import CurateSpec
from vultus.steps.kinds.resident import face_engine
from vultus.steps.table import Job


def work(job: Job) -> Mapping[str, Path]:
    """Curate the folder as it was listed; a picture that changed since is refused."""
    folder = job.files["folder"]
    _refuse_changed(folder, job.inputs["pictures"])
    out = job.scratch / "dataset"
    shutil.rmtree(out, ignore_errors=True)  # half a dataset of a killed attempt
    persona = Persona(**job.inputs["persona"])
    spec = specs.parse(CurateSpec, job.inputs["spec"], "curate")
    engine = face_engine(str(job.hints["face_pack"]), str(job.inputs["pack"]))
    curate(folder, persona, engine, spec, int(job.inputs["seed"]), out, job.advance)
    return {"dataset": out}


def _refuse_changed(folder: Path, listed: Sequence[Sequence[Any]]) -> None:
    now = list_inputs(folder)
    if [list(row) for row in now] != [list(row) for row in listed]:
        raise DatasetError(
            "the pictures changed while they were being read",
            where=str(folder),
            expected="a folder that stays as it is during the run",
            next_command="run the same command again",
        )


__all__ = ["work"]
