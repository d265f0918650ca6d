"""Kind `train`: frozen training pictures become the checkpoints of one LoRA.

inputs   trainer, base digest, training digest, spec, seed
files    base, dataset
outputs  checkpoint-<step>.safetensors (one weight file each), losses.json
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vultus.core import specs
from vultus.core.errors import DatasetError
from vultus.core.files import write_json
from vultus.core.registry import Registry
from vultus.datasets.manifest import read_manifest, training_digest
from vultus.steps.kinds.resident import release
from vultus.steps.table import Job
from vultus.training.records import Trainer, TrainPicture, TrainSpec

TRAINERS: Registry[Trainer] = Registry("trainer")
TRAINERS.add(
    "native",
    "vultus.training.native.recipe:train",
    help="the trainer of this package; resumes exactly",
)
TRAINERS.add(
    "fake", "vultus.training.fake:train", help="plants answers instead of training, for tests"
)


def work(job: Job) -> Mapping[str, Path]:
    """Train, or go on where a killed attempt stopped."""
    folder = job.files["dataset"]
    dataset = read_manifest(folder)
    if training_digest(dataset) != job.inputs["training"]:
        raise DatasetError(
            "the frozen dataset does not hold the pictures this training was asked for",
            where=str(folder),
            expected=str(job.inputs["training"]),
            next_command="run the same command again",
        )
    pictures = [
        TrainPicture(folder / m.picture, m.caption, (m.width_px, m.height_px), m.crop_px)
        for m in dataset.training
    ]
    spec = specs.parse(TrainSpec, job.inputs["spec"], "train")
    release()
    trainer = TRAINERS.get(str(job.inputs["trainer"]))
    out = job.scratch / "training"
    done = trainer(spec, job.files["base"], pictures, out, int(job.inputs["seed"]), _Listener(job))
    losses = job.scratch / "losses.json"
    write_json(
        losses,
        {
            "losses": [[step, loss] for step, loss in done.losses],
            "seconds": done.seconds,
            "resumed_from": done.resumed_from,
            "notes": list(done.notes),
        },
    )
    outputs = {
        f"checkpoint-{record.step:06d}.safetensors": record.path for record in done.checkpoints
    }
    return {**outputs, "losses.json": losses}


class _Listener:
    """Hands a trainer's progress on to whoever follows the job."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def advance(self, n: float = 1.0, note: str = "", *, remembered: bool = False) -> None:
        """Tell of `n` finished steps; those of a killed attempt were done too, only earlier."""
        self._job.advance(n, note, remembered=remembered)


__all__ = ["TRAINERS", "work"]
