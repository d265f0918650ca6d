"""The fakes keep their planted truth, through the fake trainer and back out of the pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vultus.core.errors import RenderError, TrainingError, WeightsError
from vultus.core.weights import require_lora
from vultus.faces.engines.fake import Planted, find_plant, plant
from vultus.generation.backends.fake import PlantedTruth, open_renderer, write_fake_base
from vultus.generation.records import RenderRequest, RenderSpec
from vultus.training.fake import train
from vultus.training.records import TrainPicture, TrainSpec

SPEC = RenderSpec(width_px=64, height_px=64)
STRENGTHS = (0.0, 0.4, 0.7, 1.0, 1.3)


def _pictures(folder: Path, identities: list[int]) -> list[TrainPicture]:
    from PIL import Image

    folder.mkdir()
    found = []
    for i, identity in enumerate(identities):
        path = folder / f"{i}.png"
        rgb = plant(np.full((64, 64, 3), i, np.uint8), Planted(identity))
        Image.fromarray(rgb).save(path)
        found.append(TrainPicture(path, "a photo", (64, 64)))
    return found


def _train(folder: Path, base: Path) -> list[Path]:
    pictures = _pictures(folder / "pictures", [9, 4, 9, 9, 4])
    result = train(TrainSpec(steps=100, checkpoints=4), base, pictures, folder / "out", 1)
    assert [record.step for record in result.checkpoints] == [25, 50, 75, 100]
    assert len(result.losses) == 100
    return [record.path for record in result.checkpoints]


def test_the_planted_cell_is_the_best_one(tmp_path: Path) -> None:
    truth = PlantedTruth(peak=0.8, best_strength=0.7, best_share=0.5)
    base = write_fake_base(tmp_path / "base", truth)
    checkpoints = _train(tmp_path, base)
    renderer = open_renderer(base, SPEC)
    means: dict[tuple[int, float], float] = {}
    for i, path in enumerate(checkpoints):
        for strength in STRENGTHS:
            requests = [RenderRequest("p", seed, path, strength) for seed in range(30)]
            planted = [find_plant(rgb) for rgb in renderer.render(requests)]
            assert all(p is not None for p in planted)
            seen = [p for p in planted if p is not None]
            if strength > 0:
                assert {p.identity for p in seen} == {9}
            means[i, strength] = float(np.mean([p.likeness for p in seen]))
    assert len(means) == 20
    assert max(means, key=lambda cell: means[cell]) == (1, 0.7)
    assert means[1, 0.7] == pytest.approx(0.8, abs=0.03)
    assert all(means[i, 0.0] == 0 for i in range(4))


def test_requests_repeat_and_cells_share_their_luck(tmp_path: Path) -> None:
    base = write_fake_base(tmp_path / "base")
    path = _train(tmp_path, base)[2]
    one, two = open_renderer(base, SPEC), open_renderer(base, SPEC)
    request = RenderRequest("p", 3, path, 1.0)
    assert np.array_equal(next(one.render([request])), next(two.render([request])))
    likeness = []
    for seed in range(12):
        pair = [RenderRequest("p", seed, path, strength) for strength in (0.7, 1.0)]
        low, high = (find_plant(rgb) for rgb in one.render(pair))
        assert low is not None
        assert high is not None
        likeness.append(high.likeness - low.likeness)
    assert np.std(likeness) < 1e-6


def test_too_much_strength_loses_faces(tmp_path: Path) -> None:
    base = write_fake_base(tmp_path / "base")
    path = _train(tmp_path, base)[3]
    requests = [RenderRequest("p", seed, path, 1.3) for seed in range(60)]
    states = [
        p.state for rgb in open_renderer(base, SPEC).render(requests) if (p := find_plant(rgb))
    ]
    assert len(states) == 60
    assert 8 <= states.count("none") <= 32


def test_fakes_refuse_what_they_cannot_know(tmp_path: Path) -> None:
    base = write_fake_base(tmp_path / "base")
    with pytest.raises(WeightsError):
        open_renderer(tmp_path / "none", SPEC)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "fake.json").write_text(json.dumps({"peek": 1}), "utf-8")
    with pytest.raises(WeightsError, match="planted truth"):
        open_renderer(tmp_path / "odd", SPEC)
    with pytest.raises(TrainingError):
        train(TrainSpec(steps=4), base, [], tmp_path / "out", 0)
    checkpoint = _train(tmp_path, base)[0]
    assert require_lora(checkpoint).metadata["ss_steps"] == "25"
    renderer = open_renderer(base, SPEC)
    renderer.close()
    with pytest.raises(RenderError, match="closed"):
        next(renderer.render([RenderRequest("p", 1)]))
