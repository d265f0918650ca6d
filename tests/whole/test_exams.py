"""The public exams: our own implementations pass them, and implementations that break a promise fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from vultus.faces.engines.fake import FakeEngine, Planted, fake_pack, plant
from vultus.faces.records import FaceResult, Rgb
from vultus.generation.backends.fake import FakeRenderer, PlantedTruth, open_renderer
from vultus.generation.records import Progress, RenderRequest, RenderSpec
from vultus.testing.face_engine import check_face_engine
from vultus.testing.planted import make_base, make_pictures, texture
from vultus.testing.renderer import check_renderer
from vultus.training.fake import train
from vultus.training.records import TrainPicture, TrainSpec


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    make_pictures(tmp_path / "pictures", 2)
    pictures = [TrainPicture(path, "", (64, 64)) for path in (tmp_path / "pictures").glob("*.png")]
    done = train(
        TrainSpec(steps=4, checkpoints=1),
        make_base(tmp_path / "base"),
        pictures,
        tmp_path / "out",
        1,
    )
    return done.checkpoints[0].path


def test_the_fake_renderer_passes(tmp_path: Path, lora: Path) -> None:
    check_renderer(lambda spec: open_renderer(tmp_path / "base", spec), lora)


class _Sticky(FakeRenderer):
    """Forgets to switch the LoRA off again."""

    def __init__(self, spec: RenderSpec) -> None:
        super().__init__(spec, PlantedTruth(), "sticky")
        self._last: Path | None = None

    def render(
        self, requests: Sequence[RenderRequest], progress: Progress | None = None
    ) -> Iterator[Rgb]:
        for request in requests:
            self._last = request.lora or self._last
            strength = request.strength or 1.0
            yield from super().render(
                [RenderRequest(request.prompt, request.seed, self._last, strength)], progress
            )


class _Silent(FakeRenderer):
    """Tells nobody how far it is."""

    def __init__(self, spec: RenderSpec) -> None:
        super().__init__(spec, PlantedTruth(), "silent")

    def render(
        self, requests: Sequence[RenderRequest], progress: Progress | None = None
    ) -> Iterator[Rgb]:
        yield from super().render(requests)


@pytest.mark.parametrize("cheat", [_Sticky, _Silent])
def test_the_renderer_exam_catches_cheats(lora: Path, cheat: type[_Silent] | type[_Sticky]) -> None:
    with pytest.raises(AssertionError):
        check_renderer(cheat, lora)


def _pictures() -> list[Rgb]:
    shown = [plant(texture(f"exam {i}", 64), Planted(i, 0.9, noise_seed=i)) for i in range(3)]
    return [*shown, texture("nobody", 64)]


def test_the_fake_engine_passes() -> None:
    check_face_engine(FakeEngine(fake_pack()), _pictures())


class _Mixing(FakeEngine):
    """Lets pictures of one batch colour each other."""

    def read_many(self, pictures: Sequence[Rgb]) -> list[FaceResult]:
        results = super().read_many(pictures)
        for result in results:
            if result.emb is not None and len(results) > 1:
                result.emb[:] = np.roll(result.emb, 1)
        return results


class _Scribbling(FakeEngine):
    """Draws into the picture it reads."""

    def read(self, rgb: Rgb) -> FaceResult:
        result = super().read(rgb)
        rgb[-1, -1] = 255 - rgb[-1, -1]
        return result


@pytest.mark.parametrize("cheat", [_Mixing, _Scribbling])
def test_the_face_exam_catches_cheats(cheat: type[FakeEngine]) -> None:
    with pytest.raises(AssertionError):
        check_face_engine(cheat(fake_pack()), _pictures())
