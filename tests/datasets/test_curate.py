"""Curation on a planted folder: everything planted is found, nothing else is lost, and the freeze holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from vultus.core.errors import DatasetError
from vultus.datasets.curate import curate
from vultus.datasets.manifest import (
    read_embeddings,
    read_manifest,
    reference_digest,
    training_digest,
)
from vultus.datasets.persona import Persona
from vultus.datasets.records import CurateSpec, Dataset
from vultus.faces.engines.fake import FakeEngine, Planted, fake_pack, find_plant
from vultus.images.load import load_picture
from vultus.testing.planted import PERSONA, make_picture, make_pictures

ADA = Persona("Ada", "ohwx", "woman", "synthetic", True)
BOX = (8.0, 8.0, 40.0, 40.0)


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    folder = tmp_path_factory.mktemp("pictures")
    make_pictures(folder, 22)
    shutil.copy(folder / "p003.png", folder / "z_copy.png")
    make_picture(folder / "z_nobody.png", None, "nobody")
    make_picture(folder / "z_small.png", Planted(PERSONA, 0.9, "too_small", BOX), "small")
    make_picture(folder / "z_two.png", Planted(PERSONA, 0.9, "several", BOX), "two")
    make_picture(folder / "z_blurred.png", Planted(PERSONA, 0.9, "blurred", BOX), "blurred")
    make_picture(folder / "z_stranger.png", Planted(99, 0.95, "ok", BOX, 1), "stranger")
    make_picture(folder / "z_stranger2.png", Planted(123, 0.95, "ok", BOX, 2), "stranger 2")
    make_picture(
        folder / "z_doubt.png", Planted(PERSONA, 0.9, "uncertain_landmarks", BOX, 77), "doubt"
    )
    (folder / "z_torn.png").write_bytes((folder / "p001.png").read_bytes()[:300])
    out = tmp_path_factory.mktemp("frozen") / "dataset"
    counted: list[float] = []
    curate(folder, ADA, FakeEngine(fake_pack()), CurateSpec(), 1, out, counted.append)
    assert sum(counted) == 31, "every file is counted once, the torn one too"
    return out, read_manifest(out)


def test_every_disease_is_named(frozen: tuple[Path, Dataset]) -> None:
    _, dataset = frozen
    reasons = {drop.name: drop.reason for drop in dataset.drops}
    copy = {"z_copy.png", "p003.png"} & set(reasons)
    assert len(copy) == 1 and reasons.pop(copy.pop()) == "identical"
    assert reasons == {
        "z_nobody.png": "no_face",
        "z_small.png": "small_face",
        "z_two.png": "several_faces",
        "z_blurred.png": "blurred",
        "z_stranger.png": "off_persona",
        "z_stranger2.png": "off_persona",
        "z_torn.png": "unreadable",
    }
    assert all(drop.detail for drop in dataset.drops)


def test_references_and_training_do_not_meet(frozen: tuple[Path, Dataset]) -> None:
    _, dataset = frozen
    references = {member.name for member in dataset.references}
    trained = {member.name for member in dataset.training}
    assert len(references) == 12 and len(trained) == 11
    assert not references & trained
    assert "z_doubt.png" in trained, "a doubtful face may be trained on, but never measures"


def test_the_frozen_pictures_are_the_users_pictures(frozen: tuple[Path, Dataset]) -> None:
    folder, dataset = frozen
    looked = 0
    for member in dataset.members:
        planted = find_plant(load_picture(folder / member.picture).rgb)
        assert planted is not None and planted.identity == PERSONA
        assert "ohwx woman" in member.caption
        assert member.cosine > 0.5
        looked += 1
    assert looked == 23
    assert len(list((folder / "dropped").glob("*.png"))) == 7, (
        "all drops but the torn file have a thumbnail"
    )


def test_embeddings_stand_in_the_order_of_the_members(frozen: tuple[Path, Dataset]) -> None:
    folder, dataset = frozen
    engine = FakeEngine(fake_pack())
    rows = read_embeddings(folder, dataset, "reference")
    assert rows.shape == (12, 64)
    for row, member in zip(rows, dataset.references, strict=True):
        found = engine.read(load_picture(folder / member.picture).rgb).emb
        assert found is not None
        np.testing.assert_allclose(row, found, atol=1e-6)


def test_digests_move_with_what_they_stand_for(frozen: tuple[Path, Dataset]) -> None:
    _, dataset = frozen
    fewer = Dataset("Ada", dataset.pack_digest, dataset.members[1:], dataset.drops)
    assert training_digest(dataset) != reference_digest(dataset)
    assert (training_digest(fewer), reference_digest(fewer)) != (
        training_digest(dataset),
        reference_digest(dataset),
    )
    without_drops = Dataset("Ada", dataset.pack_digest, dataset.members, ())
    assert training_digest(without_drops) == training_digest(dataset)


def test_a_torn_manifest_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"persona": "Ada"}), encoding="utf-8")
    with pytest.raises(DatasetError, match="not a frozen dataset"):
        read_manifest(tmp_path)
