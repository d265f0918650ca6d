"""The fake engine gives back exactly what was planted, and nothing where nothing was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vultus.core.errors import FaceError
from vultus.faces.engines import open_engine
from vultus.faces.engines.fake import (
    FAKE_DIM,
    Planted,
    fake_pack,
    find_plant,
    plant,
    planted_direction,
)
from vultus.faces.records import STATES, Pose
from vultus.faces.similarity import cosine, gather
from vultus.images.load import load_picture
from vultus.images.write import save_png

CANVAS = np.full((96, 96, 3), 120, np.uint8)


def test_plants_survive_a_png_and_come_back(tmp_path: Path) -> None:
    truth = Planted(7, 0.5, "blurred", (10.0, 12.0, 60.0, 70.0), 99, (30.5, -12.0, 4.0), 0.25)
    save_png(tmp_path / "a.png", plant(CANVAS, truth))
    assert find_plant(load_picture(tmp_path / "a.png").rgb) == truth
    assert find_plant(CANVAS) is None
    torn = plant(CANVAS, truth)
    torn.reshape(-1)[9] ^= 1
    assert find_plant(torn) is None


def test_every_state_is_given_back() -> None:
    engine = open_engine(fake_pack())
    results = engine.read_many([plant(CANVAS, Planted(1, state=state)) for state in STATES])
    assert [r.state for r in results] == list(STATES)
    for result in results:
        assert (result.emb is None) == (result.state in ("none", "too_small"))
        assert (result.face is None) == (result.state == "none")
        assert (len(result.faces) == 2) == (result.state == "several")
        assert (result.pose is None) == (result.state == "none")
    turned = engine.read(plant(CANVAS, Planted(1, pose_deg=(30.5, -12.0, 4.0), quality=0.25)))
    assert turned.pose == Pose(30.5, -12.0, 4.0) and turned.quality == 0.25
    assert engine.read(CANVAS).state == "none"


def test_likeness_is_the_expected_cosine() -> None:
    engine = open_engine(fake_pack())
    for likeness in (0.3, 0.9):
        plants = [Planted(4, likeness, noise_seed=i) for i in range(60)]
        v = gather(engine.read_many([plant(CANVAS, p) for p in plants]))
        assert v.rows.shape == (60, FAKE_DIM)
        to_truth = v.rows @ planted_direction(4)
        assert np.allclose(to_truth, likeness, atol=1e-5)
        pairs = cosine(v, v)[np.triu_indices(60, 1)]
        assert pairs.mean() == pytest.approx(likeness**2, abs=0.02)
    strangers = [planted_direction(i) for i in range(40)]
    off = (np.stack(strangers) @ np.stack(strangers).T)[np.triu_indices(40, 1)]
    assert abs(float(off.mean())) < 0.02 and float(np.abs(off).max()) < 0.6


def test_impossible_plants_are_refused() -> None:
    for wrong in (Planted(70000), Planted(1, 1.5)):
        with pytest.raises(FaceError, match="cannot be planted"):
            plant(CANVAS, wrong)
    with pytest.raises(FaceError, match="too small"):
        plant(np.zeros((2, 2, 3), np.uint8), Planted(1))
