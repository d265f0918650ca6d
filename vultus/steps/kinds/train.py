"""Kind `train`: frozen training pictures become the checkpoints of one LoRA.

inputs   trainer, base digest, training digest, spec, seed; where they are asked for: faces (digest of boxes, points),
         identity (digest of the pack whose likeness is taught), tool (digest of kohya's environment); of a part of a
         training: first and until (the step it goes on from, its last one), after (key of the part before it)
files    base, dataset; of a later part: state, and memory where the part before left it
outputs  checkpoint-<step>.safetensors (one weight file each), losses.json (from the first step on); of a part that is
         not the last: state.safetensors, and memory.json where something was given up for memory
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from vultus.core import specs
from vultus.core.errors import DatasetError
from vultus.core.files import staged, write_json
from vultus.core.registry import Registry
from vultus.datasets.manifest import faces_digest, read_manifest, training_digest
from vultus.datasets.records import Dataset
from vultus.faces.packs import find_pack
from vultus.steps.kinds.resident import release
from vultus.steps.table import Job
from vultus.tools.places import current
from vultus.training.checks import faces_wanted_by
from vultus.training.records import Trainer, TrainPicture, TrainSpec

TRAINERS: Registry[Trainer] = Registry("trainer")
TRAINERS.add(
    "native",
    "vultus.training.native.recipe:train",
    help="the trainer of this package; resumes exactly",
)
TRAINERS.add(
    "kohya",
    "vultus.training.kohya.trainer:train",
    help="kohya's sd-scripts in an environment of its own (vultus tools install kohya)",
)
TRAINERS.add(
    "fake", "vultus.training.fake:train", help="plants answers instead of training, for tests"
)


CARRIED = {"state": "state.safetensors", "memory": "memory.json"}
"""What a part of a training hands on to the next: where it stands, and what was given up for memory."""


def work(job: Job) -> Mapping[str, Path]:
    """Train, or go on where a killed attempt stopped."""
    folder = job.files["dataset"]
    spec = specs.parse(TrainSpec, job.inputs["spec"], "train")
    dataset = read_manifest(folder)
    for name, found in training_inputs(spec, dataset, str(job.inputs["trainer"])).items():
        _refuse_other(name, found, str(job.inputs.get(name, "")), folder)
    pictures = training_pictures(folder, dataset)
    release()
    trainer = TRAINERS.get(str(job.inputs["trainer"]))
    out = job.scratch / "training"
    until = int(job.inputs["until"]) if "until" in job.inputs else None
    _take_up(job, out)
    seed = int(job.inputs["seed"])
    listener = _Listener(job, int(job.inputs.get("first", 0)), until or spec.steps)
    done = trainer(spec, job.files["base"], pictures, out, seed, listener, until=until)
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
    if until is not None and until < spec.steps:
        left = {name: out / name for name in CARRIED.values() if (out / name).exists()}
        outputs.update(left)
    return {**outputs, "losses.json": losses}


def _take_up(job: Job, out: Path) -> None:
    """Put the state of the part before in place, unless a killed attempt of this part already went on from it."""
    out.mkdir(parents=True, exist_ok=True)
    if (out / CARRIED["state"]).exists():
        return
    for name in ("memory", "state"):  # the state last: it is what says that all is in place
        if name in job.files:
            with staged(out / CARRIED[name]) as draft:
                shutil.copyfile(job.files[name], draft)


def training_inputs(spec: TrainSpec, dataset: Dataset, trainer: str = "native") -> dict[str, str]:
    """What a training reads of the dataset, of face packs and of other programs, as digests: a part of its key.

    Where faces are enters only when the spec looks at them, so that another face pack does not repeat a plain training.
    """
    found = {"training": training_digest(dataset)}
    if faces_wanted_by(spec):
        found["faces"] = faces_digest(dataset)
    if spec.identity_weight > 0:
        found["identity"] = find_pack(spec.identity_recogniser).digest
    if trainer == "kohya":
        found["tool"] = current("kohya").digest
    return found


def training_pictures(folder: Path, dataset: Dataset) -> list[TrainPicture]:
    """The training side of a frozen dataset, each picture with the face that curation found in it."""
    return [
        TrainPicture(
            folder / m.picture,
            m.caption,
            (m.width_px, m.height_px),
            m.crop_px,
            faces=() if m.box_px is None else (m.box_px,),
            points=m.points_px,
        )
        for m in dataset.training
    ]


_OTHER = {
    "training": "the frozen dataset does not hold the pictures this training was asked for",
    "faces": "the frozen dataset has faces in other places than this training was asked for",
    "identity": "the face pack whose likeness is taught changed while the run was under way",
    "tool": "the trainer's environment changed while the run was under way",
}


def _refuse_other(name: str, found: str, asked: str, folder: Path) -> None:
    if found != asked:
        raise DatasetError(
            _OTHER[name],
            where=str(folder),
            expected=asked or f"a request that names its {name}",
            next_command="run the same command again",
        )


class _Listener:
    """Hands a trainer's progress on to whoever follows the job; a part of a training counts its own steps only."""

    def __init__(self, job: Job, first: int, last: int) -> None:
        self._job, self._first, self._left = job, first, float(last - first)

    def advance(self, n: float = 1.0, note: str = "", *, remembered: bool = False) -> None:
        """Tell of `n` finished steps; those of a killed attempt were done too, only earlier."""
        own = min(self._left, max(0.0, n - self._first) if remembered else n)
        self._left -= own
        self._job.advance(own, note, remembered=remembered)


__all__ = ["CARRIED", "TRAINERS", "training_inputs", "training_pictures", "work"]
