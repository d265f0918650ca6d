"""One step: draws from the posterior, batches added up, the base found again under the LoRA."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vultus.training.native import recipe, step
from vultus.training.native.lora import without_lora
from vultus.training.records import TrainPicture, TrainSpec

CPU = torch.device("cpu")
SPEC = TrainSpec(rank=2, alpha=2.0, steps=4, batch=2, checkpoints=1, resolution_px=64)


def _bench(spec: TrainSpec, base: Path, pictures: list[TrainPicture]) -> step.Bench:
    bench = recipe._prepare(spec, base, pictures, 3, CPU)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, parameter in bench.lora.named_parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.05)
    return bench


@pytest.fixture(scope="module")
def faces(pictures: list[TrainPicture]) -> list[TrainPicture]:
    return [replace(picture, faces=((16, 16, 40, 40),)) for picture in pictures]


def test_latents_are_drawn_anew_from_the_posterior(
    kl_base: Path, pictures: list[TrainPicture]
) -> None:
    """Standard normal around the cached mean, in units of the cached spread."""
    bench = _bench(SPEC, kl_base, pictures)
    view = bench.views.views[0]
    assert view.spread is not None
    draws = []
    for seed in range(200):
        x_0, _ = step._latents_and_noise(bench, [0], torch.Generator().manual_seed(seed))
        draws.append((x_0[0] - view.latents) / view.spread)
    found = torch.stack(draws)
    n = found.numel()
    assert abs(float(found.mean())) < 5 / n**0.5
    assert abs(float(found.std()) - 1) < 5 / n**0.5
    assert not torch.equal(draws[0], draws[1])


def test_batches_add_up_and_parts_change_nothing(
    tiny_base: Path, pictures: list[TrainPicture]
) -> None:
    bench = _bench(replace(SPEC, accumulate=2), tiny_base, pictures)

    def gradients(spec: TrainSpec, turns: tuple[int, ...]) -> list[torch.Tensor]:
        bench.spec = spec
        bench.optimizer.zero_grad(set_to_none=True)
        for turn in turns:
            step._add_gradients(bench, 0, turn)
        return [p.grad.clone() for p in bench.parameters if p.grad is not None]

    both = gradients(bench.spec, (0, 1))
    one, two = gradients(bench.spec, (0,)), gradients(bench.spec, (1,))
    parts = gradients(replace(bench.spec, split=2), (0, 1))
    assert len(both) == len(bench.parameters) >= 96
    for sum_, a, b, split in zip(both, one, two, parts, strict=True):
        torch.testing.assert_close(sum_, a + b)
        torch.testing.assert_close(sum_, split, rtol=1e-4, atol=1e-7)
    assert any(not torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("dora", [False, True])
def test_without_the_lora_the_base_speaks(
    tiny_base: Path, faces: list[TrainPicture], dora: bool
) -> None:
    """Switched off, the network says bit for bit what it said before; gradients go on as before."""
    spec = replace(SPEC, text_encoders=True, conv_rank=2, dora=dora, face_weight=10.0)
    bench = _bench(spec, tiny_base, faces)
    fresh = recipe._prepare(replace(spec, rank=1), tiny_base, faces, 3, CPU)
    batch = step._draw(bench, 0, 0)
    with torch.no_grad():
        adapted = step._guess(bench, batch)
        with without_lora(bench.lora):
            base = step._guess(bench, batch)
        with without_lora(fresh.lora):
            plain = step._guess(fresh, batch)
        again = step._guess(bench, batch)
    assert torch.equal(base, plain)
    assert torch.equal(adapted, again)
    assert float((adapted - base).abs().mean()) > 1e-3
    assert all(p.requires_grad for p in bench.parameters)


@pytest.fixture(scope="module")
def plain(
    tiny_base: Path, faces: list[TrainPicture], tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    """The checkpoint of the plain training."""
    out = tmp_path_factory.mktemp("plain")
    return recipe.train(SPEC, tiny_base, faces, out, 3).checkpoints[0].path.read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"face_weight": 10.0, "prior_every": 2},
        {"face_weight": 10.0, "face_ramp": False, "weighting": "min_snr"},
        {"loss": "huber", "weighting": "debiased"},
        {"optimizer": "prodigy_plus", "text_encoders": True, "dora": True},
        {"optimizer": "adafactor", "targets": "attention", "rslora": True},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_every_kind_of_training_runs_and_learns(
    tiny_base: Path,
    faces: list[TrainPicture],
    tmp_path: Path,
    plain: bytes,
    changes: dict[str, object],
) -> None:
    spec = replace(SPEC, **changes)  # type: ignore[arg-type]
    result = recipe.train(spec, tiny_base, faces, tmp_path, 3)
    assert len(result.losses) == 4
    assert all(0 < loss < 100 for _, loss in result.losses)
    assert result.checkpoints[0].path.read_bytes() != plain
