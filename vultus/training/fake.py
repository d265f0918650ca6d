"""A trainer that plants an answer instead of finding one: for tests that know the truth.

It reads which planted identity most of the pictures carry (`faces.engines.fake.plant`) and writes
checkpoints that say so in their metadata. The fake renderer reads them back, so a whole run has a
truth that every later part can be held to. Checkpoints are whole LoRA files with one module.

Notation
    identity    who was planted in most pictures    int 0..65535, -1 when none carried a plant
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vultus.core.errors import TrainingError
from vultus.core.seeds import stream
from vultus.core.weights import require_base
from vultus.faces.engines.fake import find_plant
from vultus.images.load import load_picture
from vultus.training.lora_file import LoraFacts, checkpoint_path, lora_metadata, write_lora
from vultus.training.records import (
    CheckpointRecord,
    Progress,
    TrainPicture,
    TrainResult,
    TrainSpec,
)

__all__ = ["train"]

_PREFIX = "lora_unet_middle_block_1_proj_in"
_WIDTH = 4


def _planted_identity(pictures: Sequence[TrainPicture]) -> int:
    found = [find_plant(load_picture(picture.path).rgb) for picture in pictures]
    counts = Counter(planted.identity for planted in found if planted is not None)
    # ties go to the smaller number, so the answer never depends on the order of the pictures
    return min(counts, key=lambda who: (-counts[who], who)) if counts else -1


def train(
    spec: TrainSpec,
    base: Path,
    pictures: Sequence[TrainPicture],
    out: Path,
    seed: int,
    progress: Progress | None = None,
    *,
    until: int | None = None,
) -> TrainResult:
    """Plant the pictures' identity in `spec.checkpoints` files, in milliseconds."""
    if not pictures:
        raise TrainingError("there is no picture to train on", expected="at least one picture")
    if not (base / "fake.json").exists():
        require_base(base)
    identity = _planted_identity(pictures)
    draw = stream("training", "fake", seed)
    rank = spec.rank
    end = spec.steps if until is None else until
    for step in spec.checkpoints_until(until):
        facts = LoraFacts("fake", base.stem, False, "epsilon", len(pictures), seed, step, 1)
        metadata = {
            **lora_metadata(spec, facts),
            "vultus.fake_identity": str(identity),
            "vultus.fake_share": repr(step / spec.steps),
        }
        tensors = {
            f"{_PREFIX}.lora_down.weight": draw.normal(size=(rank, _WIDTH)).astype(np.float16),
            f"{_PREFIX}.lora_up.weight": draw.normal(size=(_WIDTH, rank)).astype(np.float16),
            f"{_PREFIX}.alpha": np.asarray(spec.alpha, dtype=np.float16),
        }
        write_lora(checkpoint_path(out, step), tensors, metadata)
    if progress:
        progress.advance(end, "fake")
    return TrainResult(
        checkpoints=tuple(
            CheckpointRecord(step, checkpoint_path(out, step))
            for step in spec.checkpoints_until(until)
        ),
        losses=[(i + 1, 0.1 + 0.9 * 0.99**i) for i in range(end)],
        seconds=0.0,
    )
