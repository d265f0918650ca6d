"""The recipe learns, sees what it says it sees, and refuses what it cannot use."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.tiny_base import write_pictures
from vultus.core import specs
from vultus.core.errors import PictureError, SpecError, TrainingError, WeightsError
from vultus.core.weights import read_header
from vultus.training.native import recipe
from vultus.training.native.data import Text, captions_of, encode_captions, encode_pictures
from vultus.training.native.parts import load_parts
from vultus.training.records import TrainPicture, TrainSpec

CPU = torch.device("cpu")
SPEC = TrainSpec(
    rank=4, alpha=4.0, steps=4, batch=2, checkpoints=1, learning_rate=1e-3, resolution_px=64
)


class Listener:
    def __init__(self) -> None:
        self.steps = 0.0
        self.notes: list[str] = []

    def advance(self, n: float = 1.0, note: str = "", *, remembered: bool = False) -> None:
        self.steps += n
        self.notes.append(note)


def test_training_lowers_the_loss_on_the_same_noise(
    tiny_base: Path, pictures: list[TrainPicture], tmp_path: Path
) -> None:
    """Paired by step: two rates see the same pictures, timesteps and noise; only one learns."""
    spec = replace(SPEC, steps=24, batch=4)
    progress = Listener()
    learnt = recipe.train(
        replace(spec, learning_rate=2e-2), tiny_base, pictures, tmp_path / "a", 5, progress
    )
    still = recipe.train(replace(spec, learning_rate=1e-12), tiny_base, pictures, tmp_path / "b", 5)
    assert learnt.losses[0] == still.losses[0]
    gains = [b - a for (_, a), (_, b) in zip(learnt.losses, still.losses, strict=True)]
    assert len(gains) == 24
    assert np.mean(gains[-10:]) > 0.02
    assert sum(gain > 0 for gain in gains[-20:]) >= 15
    assert progress.steps == 24
    assert progress.notes[-1].startswith("loss ")


def test_runs_repeat_and_seeds_differ(
    tiny_base: Path, pictures: list[TrainPicture], tmp_path: Path
) -> None:
    files = [
        recipe.train(SPEC, tiny_base, pictures, tmp_path / name, seed).checkpoints[0].path
        for name, seed in (("one", 1), ("again", 1), ("two", 2))
    ]
    one, again, two = (file.read_bytes() for file in files)
    assert one == again
    assert one != two


@pytest.mark.parametrize("base", ["tiny_base", "kl_base"])
def test_cached_captions_equal_fresh_ones(
    base: str, pictures: list[TrainPicture], request: pytest.FixtureRequest
) -> None:
    """What the loop trains on when the encoders are frozen is what they would say each time."""
    parts = load_parts(request.getfixturevalue(base), torch.float32, CPU)
    cached = encode_captions(parts, pictures, cache=True, device=CPU)
    fresh = encode_captions(parts, pictures, cache=False, device=CPU)
    rows = [0, 3, cached.absent]
    one, two = captions_of(parts, cached, rows), captions_of(parts, fresh, rows)
    assert one.text.shape == (3, 77, 80)
    assert one.pooled.shape == (3, 48)
    torch.testing.assert_close(one.text, two.text, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(one.pooled, two.pooled, rtol=1e-5, atol=1e-6)
    # SDXL's absent caption is zeros, and the renderer's is the same
    assert not one.text[2].any()
    assert not one.pooled[2].any()
    assert one.text[0].any()


def test_conditioning_equals_the_pipelines(tiny_base: Path, pictures: list[TrainPicture]) -> None:
    """The trainer and diffusers' own pipeline condition the UNet on the same numbers."""
    from diffusers import StableDiffusionXLPipeline

    pipe = StableDiffusionXLPipeline.from_pretrained(
        str(tiny_base), local_files_only=True, add_watermarker=False
    )
    text, _, pooled, _ = pipe.encode_prompt(pictures[0].caption, device="cpu")
    parts = load_parts(tiny_base, torch.float32, CPU)
    captions = encode_captions(parts, pictures[:1], cache=True, device=CPU)
    assert captions.cached is not None
    torch.testing.assert_close(captions.cached.text[:1], text)
    torch.testing.assert_close(captions.cached.pooled[:1], pooled)


def test_posterior_is_kept_only_where_there_is_one(
    tiny_base: Path, kl_base: Path, pictures: list[TrainPicture]
) -> None:
    tiny = encode_pictures(load_parts(tiny_base, torch.float32, CPU), pictures, 64, CPU)
    kl = encode_pictures(load_parts(kl_base, torch.float32, CPU), pictures, 64, CPU)
    assert tiny.views[0].latents.shape == (8, 8, 8)
    assert tiny.views[0].spread is None
    assert kl.views[0].latents.shape == (4, 8, 8)
    spread = kl.views[0].spread
    assert spread is not None
    assert bool((spread > 0).all())


def test_time_ids_tell_the_truth(tiny_base: Path, tmp_path: Path) -> None:
    """Original size of the file; crop in scaled pixels; trained size: SDXL's own convention."""
    path = write_pictures(tmp_path, 1, (200, 100))[0]
    parts = load_parts(tiny_base, torch.float32, CPU)
    shown = [
        TrainPicture(path, "a", (200, 100), (100, 20, 160, 80)),  # square view, scaled up
        TrainPicture(path, "a", (200, 100)),  # the whole, twice as wide as high
    ]
    views = encode_pictures(parts, shown, 128, CPU)
    scale = 128 / 60
    wanted = [100, 200, round(20 * scale), round(100 * scale), 128, 128]
    assert views.views[0].time_ids.tolist() == wanted
    height, width = (views.views[1].latents.shape[1] * 8, views.views[1].latents.shape[2] * 8)
    assert width > height
    assert views.views[1].time_ids.tolist()[4:] == [height, width]
    assert views.buckets == ((1,), (0,)) or views.buckets == ((0,), (1,))


def test_pixels_are_those_of_the_view(tiny_base: Path, tmp_path: Path) -> None:
    """The crop shows its own part of the picture: checked on a picture of two halves."""
    from PIL import Image

    rgb = np.zeros((64, 128, 3), np.uint8)
    rgb[:, 64:] = 255
    path = tmp_path / "halves.png"
    Image.fromarray(rgb).save(path)
    parts = load_parts(tiny_base, torch.float32, CPU)
    seen: list[torch.Tensor] = []

    def spy(pixels: torch.Tensor) -> object:
        seen.append(pixels.clone())
        return real(pixels)

    real, parts.vae.encode = parts.vae.encode, spy
    for box in ((0, 0, 64, 64), (64, 0, 128, 64)):
        encode_pictures(parts, [TrainPicture(path, "a", (128, 64), box)], 64, CPU)
    assert [tuple(pixels.shape) for pixels in seen] == [(1, 3, 64, 64)] * 2
    assert float(seen[0].max()) == -1.0
    assert float(seen[1].min()) == 1.0


def test_long_captions_are_reported(tiny_base: Path, pictures: list[TrainPicture]) -> None:
    parts = load_parts(tiny_base, torch.float32, CPU)
    long = replace(pictures[0], caption="photo " * 90)
    captions = encode_captions(parts, [pictures[1], long], cache=False, device=CPU)
    assert len(captions.notes) == 1
    assert "90 tokens, only the first 75" in captions.notes[0]


def test_bf16_and_gradient_checkpointing_train(
    tiny_base: Path, pictures: list[TrainPicture], tmp_path: Path
) -> None:
    """Recomputed activations give the same gradients; bf16 gives finite float16 weights."""
    plain = recipe.train(SPEC, tiny_base, pictures, tmp_path / "plain", 3)
    saving = recipe.train(
        replace(SPEC, gradient_checkpointing=True), tiny_base, pictures, tmp_path / "saving", 3
    )
    assert [loss for _, loss in plain.losses] == pytest.approx(
        [loss for _, loss in saving.losses], rel=1e-5
    )
    half = recipe.train(replace(SPEC, precision="bf16"), tiny_base, pictures, tmp_path / "half", 3)
    assert [loss for _, loss in half.losses] == pytest.approx(
        [loss for _, loss in plain.losses], rel=0.05
    )
    kept = read_header(half.checkpoints[0].path).tensors
    assert {info.dtype for info in kept.values()} == {"F16"}


def test_a_loss_that_is_no_number_stops_the_training(
    tiny_base: Path,
    pictures: list[TrainPicture],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Planted: from the second step on the text encoder says NaN. Nothing wrong is written."""
    calls: list[Any] = []

    def poisoned(*given: Any) -> Text:
        calls.append(given)
        text = captions_of(*given)
        return text if len(calls) == 1 else Text(text.text * float("nan"), text.pooled)

    monkeypatch.setattr("vultus.training.native.step.captions_of", poisoned)
    with pytest.raises(TrainingError, match="no longer a number at step 2") as caught:
        recipe.train(SPEC, tiny_base, pictures, tmp_path, 0)
    assert "learning_rate" in caught.value.next_command
    assert not list(tmp_path.glob("*.safetensors"))


def test_what_cannot_be_trained_is_refused(
    tiny_base: Path, pictures: list[TrainPicture], tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="no picture"):
        recipe.train(SPEC, tiny_base, [], tmp_path / "a", 0)
    with pytest.raises(WeightsError, match="does not exist"):
        recipe.train(SPEC, tmp_path / "none.safetensors", pictures, tmp_path / "b", 0)
    torn = replace(pictures[0], path=tmp_path / "torn.png")
    torn.path.write_bytes(pictures[0].path.read_bytes()[:60])
    with pytest.raises(PictureError):
        recipe.train(SPEC, tiny_base, [torn], tmp_path / "c", 0)
    for wrong in (
        replace(pictures[0], original_size=(65, 64)),
        replace(pictures[0], crop=(0, 0, 65, 64)),
        replace(pictures[0], crop=(9, 0, 9, 64)),
    ):
        with pytest.raises(PictureError):
            recipe.train(SPEC, tiny_base, [wrong], tmp_path / "d", 0)
    other = shutil.copytree(tiny_base, tmp_path / "odd")
    config = other / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text("utf-8").replace('"epsilon"', '"sample"'), "utf-8")
    with pytest.raises(WeightsError, match="predict"):
        recipe.train(SPEC, other, pictures, tmp_path / "e", 0)


def test_spec_faults_come_all_at_once() -> None:
    table = {"rank": 0, "optimiser": "adamw", "precision": "fp4", "steps": 10}
    with pytest.raises(SpecError) as caught:
        specs.parse(TrainSpec, table, "vultus.toml")
    assert len(caught.value.faults) == 3
    assert specs.parse(TrainSpec, {"steps": 10}, "x").checkpoint_steps == (2, 5, 7, 10)
    assert specs.parse(TrainSpec, {"steps": 3, "checkpoints": 9}, "x").checkpoint_steps == (1, 2, 3)
