"""Kind `inspect`: what guard-rails need of a picture beside its face: fingerprint, light, how it obeys.

inputs   pictures (content ids, in order), prompts (one each, or none), eye ({kind, digest}, or null)
files    p000, p001, ..., eye unless null
outputs  inspect.json (a list of {bits, mirrored, structure, luma_mean, luma_sd, clipped, obeyed})
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vultus.core.files import write_json
from vultus.images.hashing import bits_to_hex
from vultus.images.load import load_picture
from vultus.images.records import Rgb
from vultus.scoring.eyes import open_eye
from vultus.scoring.guards import light_of
from vultus.steps.table import Job

INSPECT_BATCH = 16


def work(job: Job) -> Mapping[str, Path]:
    """Look at every picture."""
    paths = [job.files[f"p{i:03d}"] for i in range(len(job.inputs["pictures"]))]
    prompts = [str(prompt) for prompt in job.inputs["prompts"]]
    asked = job.inputs["eye"]
    eye = None if asked is None else open_eye(str(asked["kind"]), job.files["eye"])
    rows: list[dict[str, Any]] = []
    for start in range(0, len(paths), INSPECT_BATCH):
        batch = [load_picture(path).rgb for path in paths[start : start + INSPECT_BATCH]]
        told: Sequence[float | None] = [None] * len(batch)
        if eye is not None:
            told = eye.look(batch, prompts[start : start + INSPECT_BATCH])
        rows += [_row(rgb, obeyed) for rgb, obeyed in zip(batch, told, strict=True)]
        job.advance(len(batch))
    write_json(job.scratch / "inspect.json", rows)
    return {"inspect.json": job.scratch / "inspect.json"}


def read_inspection(path: Path) -> list[dict[str, Any]]:
    """Read back what this kind wrote."""
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def _row(rgb: Rgb, obeyed: float | None) -> dict[str, Any]:
    light = light_of(rgb)
    return {
        "bits": bits_to_hex(light.hashes.plain),
        "mirrored": bits_to_hex(light.hashes.mirrored),
        "structure": light.hashes.quality,
        "luma_mean": light.mean,
        "luma_sd": light.sd,
        "clipped": light.clipped,
        "obeyed": obeyed,
    }


__all__ = ["INSPECT_BATCH", "read_inspection", "work"]
