"""Kinds `yardstick` and `score`: faces become a frozen scale, and numbers on it.

yardstick   inputs   references digest, faces (key of the impostors' `read` step), prompts, persona, base, recogniser
            files    dataset, emb, states, faces
            outputs  yardstick.json (the scale, or why none can be given)
score       inputs   yardstick (content id), cells (keys of `read` steps), blocks [[prompt, seed, framing]], made_with
            files    yardstick, e000_00/s000_00/f000_00 (emb, states and faces of the first cell's first part), ...
            outputs  scores.json (a list, one CellScore per cell)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vultus.core.files import write_json
from vultus.datasets.manifest import read_embeddings, read_manifest
from vultus.scoring.panel import score_cell
from vultus.scoring.records import RenderRow
from vultus.scoring.yardstick import Yardstick
from vultus.steps.table import Job

Face = tuple[npt.NDArray[np.float32] | None, str, str]
"""The embedding, or None where no face could be measured, the face state, and the side it looks to."""


def freeze(job: Job) -> Mapping[str, Path]:
    """Freeze the scale of one base; an unfit one is an answer, with its reasons."""
    dataset = read_manifest(job.files["dataset"])
    references = read_embeddings(job.files["dataset"], dataset, "reference")
    faces = read_faces(job.files["emb"], job.files["states"], job.files["faces"])
    prompts = [str(prompt) for prompt in job.inputs["prompts"]]
    found = [i for i, (emb, _, _) in enumerate(faces) if emb is not None]
    rows = [emb for emb, _, _ in faces if emb is not None]
    yardstick = Yardstick(
        references=references,
        impostors=np.stack(rows) if rows else np.zeros((0, references.shape[1]), np.float32),
        impostor_prompts=tuple(prompts[i] for i in found),
        pack_digest=dataset.pack_digest,
        persona=str(job.inputs["persona"]),
        base=str(job.inputs["base"]),
        reference_ids=tuple(member.content_id for member in dataset.references),
        impostor_misses=len(faces) - len(found),
        reference_poses=tuple(member.facing for member in dataset.references),
        impostor_poses=tuple(faces[i][2] for i in found),
        recogniser=str(job.inputs["recogniser"]),
    )
    refused = yardstick.faults()
    table: dict[str, Any] = {"refused": list(refused), "yardstick": yardstick.to_json()}
    write_json(job.scratch / "yardstick.json", table)
    job.advance(1)
    return {"yardstick.json": job.scratch / "yardstick.json"}


def score(job: Job) -> Mapping[str, Path]:
    """Score every cell on the frozen scale, missing faces included."""
    yardstick, _ = read_yardstick(job.files["yardstick"])
    scores: list[dict[str, Any]] = []
    for position, cell in enumerate(job.inputs["cells"]):
        blocks = [(str(p), int(s), str(g)) for p, s, g in cell["blocks"]]
        faces: list[Face] = []
        for batch in range(len(cell["faces"])):
            name = f"{position:03d}_{batch:02d}"
            faces += read_faces(*(job.files[f"{part}{name}"] for part in "esf"))
        made_with = [str(one) for one in job.inputs["made_with"]]
        scored = score_cell(yardstick, render_rows(faces, blocks), made_with=made_with)
        scores.append(scored.to_json())
        job.advance(1)
    write_json(job.scratch / "scores.json", scores)
    return {"scores.json": job.scratch / "scores.json"}


def read_yardstick(path: Path) -> tuple[Yardstick, tuple[str, ...]]:
    """Read a frozen scale back, with the reasons why it is refused (none when it is sound)."""
    table = json.loads(path.read_text(encoding="utf-8"))
    return Yardstick.from_json(table["yardstick"]), tuple(table["refused"])


def read_faces(emb: Path, states: Path, faces: Path) -> list[Face]:
    """Read back what kind `read` wrote: (embedding or None, state, side) per render."""
    rows = np.load(emb, allow_pickle=False)
    names = json.loads(states.read_text(encoding="utf-8"))
    places = json.loads(faces.read_text(encoding="utf-8"))
    return [
        (
            np.asarray(row, dtype=np.float32) if row.any() else None,
            str(state),
            "" if place is None else str(place["facing"]),
        )
        for row, state, place in zip(rows, names, places, strict=True)
    ]


def face_places(path: Path) -> list[dict[str, Any] | None]:
    """Read back where the faces lie: faces.json of kind `read`, None where nobody was found."""
    places: list[dict[str, Any] | None] = json.loads(path.read_text(encoding="utf-8"))
    return places


def render_rows(
    faces: Sequence[Face],
    blocks: Sequence[tuple[str, int, str]],
) -> list[RenderRow]:
    """Join faces and blocks: one row per render, in the order of the blocks."""
    return [
        RenderRow(prompt_id=prompt, seed=seed, emb=emb, state=state, group=group, pose=pose)
        for (emb, state, pose), (prompt, seed, group) in zip(faces, blocks, strict=True)
    ]


__all__ = ["Face", "face_places", "freeze", "read_faces", "read_yardstick", "render_rows", "score"]
