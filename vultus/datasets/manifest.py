"""The frozen dataset on disk: decoded pictures, their embeddings, and one manifest that says what is what.

Notation
    manifest.json        the Dataset record, written last: a folder without it is not a dataset
    pictures/<n>.png     upright sRGB pictures of all members
    dropped/<n>.png      small pictures of what was left out, for the report
    embeddings.npy       float32 (n_members, d), unit rows, in the order of the manifest

The trainer reads these copies, not the user's files: pictures that were changed, added or removed while a
run sleeps cannot slip into it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vultus.core.errors import DatasetError
from vultus.core.files import write_json
from vultus.core.keys import canonical, content_id
from vultus.datasets.records import Dataset, Drop, Duplicate, Member

MANIFEST = "manifest.json"
EMBEDDINGS = "embeddings.npy"


def write_manifest(folder: Path, dataset: Dataset) -> Path:
    """Write the manifest into a folder that already holds the pictures."""
    path = folder / MANIFEST
    write_json(path, dataclasses.asdict(dataset))
    return path


def read_manifest(folder: Path) -> Dataset:
    """Read a frozen dataset back."""
    path = folder / MANIFEST
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return _dataset(table)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            "this is not a frozen dataset",
            where=str(path),
            expected="a manifest written by `vultus run`",
            next_command="remove the workspace's .vultus folder and run again",
        ) from error


def read_embeddings(folder: Path, dataset: Dataset, role: str) -> npt.NDArray[np.float32]:
    """Return the embeddings (n, d) of the members with a role, in manifest order."""
    rows = np.load(folder / EMBEDDINGS, allow_pickle=False)
    keep = [i for i, member in enumerate(dataset.members) if member.role == role]
    return np.asarray(rows[keep], dtype=np.float32)


def training_digest(dataset: Dataset) -> str:
    """Identify what a trainer sees: pictures and captions of the training side, nothing else."""
    rows = [[member.content_id, member.caption] for member in dataset.training]
    return content_id(canonical(rows).encode())


def faces_digest(dataset: Dataset) -> str:
    """Identify where the faces of the training side are: boxes and points, to a hundredth of a pixel."""
    rows = [[m.content_id, m.box_px, [list(p) for p in m.points_px]] for m in dataset.training]
    return content_id(canonical(rows).encode())


def reference_digest(dataset: Dataset) -> str:
    """Identify the held-out side: the references and the pack that measured them."""
    rows: list[Any] = [dataset.pack_digest, [member.content_id for member in dataset.references]]
    return content_id(canonical(rows).encode())


def _member(row: Mapping[str, Any]) -> Member:
    """JSON has no tuples."""
    box, crop, points = row.get("box_px"), row.get("crop_px"), row.get("points_px", ())
    found = {
        "box_px": None if box is None else tuple(box),
        "crop_px": None if crop is None else tuple(crop),
        "points_px": tuple(map(tuple, points)),
    }
    return Member(**{**row, **found})


def _dataset(table: Mapping[str, Any]) -> Dataset:
    return Dataset(
        persona=str(table["persona"]),
        pack_digest=str(table["pack_digest"]),
        members=tuple(_member(row) for row in table["members"]),
        drops=tuple(Drop(**row) for row in table["drops"]),
        findings=tuple(Duplicate(**row) for row in table["findings"]),
        notes=tuple(str(note) for note in table["notes"]),
    )


__all__ = [
    "EMBEDDINGS",
    "MANIFEST",
    "faces_digest",
    "read_embeddings",
    "read_manifest",
    "reference_digest",
    "training_digest",
    "write_manifest",
]
