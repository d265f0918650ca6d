"""Kind `train`: what curation found of faces reaches the trainer, is part of the key, and changes the weights."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.tiny_base import write_tiny_base
from vultus.core.errors import DatasetError, TrainingError
from vultus.core.weights import read_header
from vultus.datasets.curate import curate
from vultus.datasets.manifest import read_manifest, write_manifest
from vultus.datasets.persona import Persona
from vultus.datasets.records import CurateSpec, Dataset
from vultus.faces.engines.fake import FakeEngine, fake_pack
from vultus.steps.kinds.train import training_inputs, training_pictures
from vultus.steps.table import Job, do
from vultus.testing.planted import make_pictures
from vultus.training.records import TrainSpec

SPEC = TrainSpec(
    rank=2,
    alpha=2.0,
    steps=3,
    batch=2,
    checkpoints=1,
    resolution_px=64,
    learning_rate=1e-2,
    save_precision="fp32",
)
PERSONA = Persona("Ada", "ohwx", "woman", "synthetic", adult=True)


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    folder = tmp_path_factory.mktemp("frozen")
    make_pictures(folder / "pictures", 12)
    spec = CurateSpec(references_min=4)
    curate(folder / "pictures", PERSONA, FakeEngine(fake_pack()), spec, 1, folder / "dataset")
    return folder / "dataset", read_manifest(folder / "dataset")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


def _train(spec: TrainSpec, folder: Path, base: Path, scratch: Path, **changes: Any) -> str:
    scratch.mkdir()
    table = {name: value for name, value in asdict(spec).items() if value is not None}
    inputs = {
        "trainer": "native",
        "base": "sha256:0",
        "spec": table,
        "seed": 5,
        **training_inputs(spec, read_manifest(folder)),
        **changes,
    }
    made = do(Job("train", inputs, {"base": base, "dataset": folder}, scratch))
    return read_header(made["checkpoint-000003.safetensors"]).metadata["sshs_model_hash"]


def test_every_training_picture_brings_its_face(frozen: tuple[Path, Dataset]) -> None:
    folder, dataset = frozen
    pictures = training_pictures(folder, dataset)
    assert len(pictures) == len(dataset.training) >= 6
    for picture in pictures:
        (x0, y0, x1, y1) = picture.faces[0]
        assert 0 <= x0 < x1 <= 64 and 0 <= y0 < y1 <= 64
        assert len(picture.points) == 5
        assert all(x0 < x < x1 and y0 < y < y1 for x, y in picture.points)
    assert len({picture.faces for picture in pictures}) > 3


def test_faces_are_asked_for_by_who_looks_at_them(frozen: tuple[Path, Dataset]) -> None:
    _, dataset = frozen
    plain = training_inputs(SPEC, dataset)
    assert set(plain) == {"training"}
    moved = replace(
        dataset,
        members=tuple(replace(m, box_px=(1.0, 1.0, 30.0, 30.0)) for m in dataset.members),
    )
    assert training_inputs(SPEC, moved) == plain
    for spec in (replace(SPEC, face_weight=5.0), replace(SPEC, views="added")):
        one, two = training_inputs(spec, dataset), training_inputs(spec, moved)
        assert one["training"] == two["training"] == plain["training"]
        assert one["faces"] != two["faces"]
    taught = replace(SPEC, identity_weight=0.1, identity_recogniser="standin:b")
    assert set(training_inputs(taught, dataset)) == {"training", "faces", "identity"}


def test_weighing_the_face_changes_the_weights(
    frozen: tuple[Path, Dataset], base: Path, tmp_path: Path
) -> None:
    """From the step to the file: plain, faces weighed, faces weighed elsewhere, crops: four trainings."""
    folder, dataset = frozen
    weighed = replace(SPEC, face_weight=20.0, face_ramp=False)
    hashes = [
        _train(SPEC, folder, base, tmp_path / "plain"),
        _train(weighed, folder, base, tmp_path / "weighed"),
        _train(replace(SPEC, views="added"), folder, base, tmp_path / "views"),
    ]
    elsewhere = tmp_path / "dataset"
    elsewhere.mkdir()
    for inside in folder.iterdir():
        (elsewhere / inside.name).symlink_to(inside)
    (elsewhere / "manifest.json").unlink()
    moved = tuple(replace(m, box_px=(0.0, 0.0, 16.0, 16.0)) for m in dataset.members)
    write_manifest(elsewhere, replace(dataset, members=moved))
    hashes.append(_train(weighed, elsewhere, base, tmp_path / "moved"))
    assert len(set(hashes)) == 4
    with pytest.raises(DatasetError, match="faces in other places"):
        old = training_inputs(weighed, dataset)["faces"]
        _train(weighed, elsewhere, base, tmp_path / "other", faces=old)


def test_a_loss_that_needs_a_face_refuses_a_picture_without(
    frozen: tuple[Path, Dataset], base: Path, tmp_path: Path
) -> None:
    folder, dataset = frozen
    bare = tmp_path / "dataset"
    bare.mkdir()
    (bare / "pictures").symlink_to(folder / "pictures")
    name = dataset.training[0].name
    members = tuple(
        replace(m, box_px=None, points_px=()) if m.name == name else m for m in dataset.members
    )
    write_manifest(bare, replace(dataset, members=members))
    for spec in (replace(SPEC, face_weight=3.0), replace(SPEC, views="substituted")):
        with pytest.raises(TrainingError, match=f"1 of {len(dataset.training)} pictures have none"):
            _train(spec, bare, base, tmp_path / f"scratch-{spec.views}")


def test_the_parts_of_a_training_are_the_training(
    frozen: tuple[Path, Dataset], base: Path, tmp_path: Path
) -> None:
    """Two steps that hand the state on end with the bits of one that did it all, and count their own steps."""
    folder, dataset = frozen
    spec = replace(SPEC, steps=4, checkpoints=2, optimizer="prodigy", learning_rate=None)
    table = {name: value for name, value in asdict(spec).items() if value is not None}
    asked = {"trainer": "native", "base": "", "spec": table, "seed": 5}
    asked |= training_inputs(spec, dataset)
    files = {"base": base, "dataset": folder}
    counted: list[float] = []

    def step(name: str, more: dict[str, Any], files: dict[str, Path]) -> dict[str, Path]:
        (tmp_path / name).mkdir()
        done = [0.0]

        def advance(n: float = 1, note: str = "", *, remembered: bool = False) -> None:
            done[0] += n

        made = do(Job("train", {**asked, **more}, files, tmp_path / name, advance=advance))
        counted.append(done[0])
        return dict(made)

    whole = step("whole", {}, files)
    one = step("one", {"first": 0, "until": 2, "after": ""}, files)
    handed = {**files, "state": one["state.safetensors"]}
    two = step("two", {"first": 2, "until": 4, "after": "key of one"}, handed)
    assert set(one) == {"checkpoint-000002.safetensors", "state.safetensors", "losses.json"}
    assert set(two) == {"checkpoint-000004.safetensors", "losses.json"}
    for made in (one, two):
        for name in made:
            if name.startswith("checkpoint-"):
                assert made[name].read_bytes() == whole[name].read_bytes()
    assert counted == [4.0, 2.0, 2.0]
    told = [json.loads(made["losses.json"].read_text("utf-8"))["losses"] for made in (whole, two)]
    assert told[0] == told[1] and len(told[0]) == 4
