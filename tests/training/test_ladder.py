"""Memory running out: the next rung is taken by itself, the training goes on, and says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vultus.core.errors import TrainingError
from vultus.core.weights import read_header
from vultus.training.ladder import RUNGS, apply_rungs, next_rung, read_rungs
from vultus.training.native import recipe
from vultus.training.native.step import Bench, probe, train_step
from vultus.training.records import TrainPicture, TrainSpec

SPEC = TrainSpec(
    rank=2, alpha=1.0, steps=6, batch=4, checkpoints=2, learning_rate=1e-3, resolution_px=64
)


def test_the_ladder_is_walked_to_its_end() -> None:
    spec = replace(SPEC, optimizer="prodigy", text_encoders=True)
    names = []
    while (rung := next_rung(spec)) is not None:
        changed = rung.change(spec)
        assert changed is not None and changed != spec
        spec = changed
        names.append(rung.name)
    assert names == ["checkpointing", "split", "split", "slice_p", "frozen_encoders"]
    assert (spec.split, spec.slice_p, spec.text_encoders) == (4, 11, False)
    assert [rung.name for rung in RUNGS if rung.keeps_state] == names[:2] + names[3:4]
    assert apply_rungs(replace(SPEC, optimizer="prodigy", text_encoders=True), names) == spec


def test_a_coarser_base_is_the_last_thing_given_up() -> None:
    spec = replace(SPEC, precision="bf16", batch=1)
    names = []
    while (rung := next_rung(spec)) is not None:
        names.append(rung.name)
        spec = apply_rungs(spec, [rung.name])
    assert names == ["checkpointing", "adamw8bit", "fp8_base"]
    assert spec.precision == "fp8"
    assert next_rung(replace(spec, precision="bf16", dora=True)) is None


def test_a_base_in_fp8_trains_and_takes_a_quarter(
    tiny_base: Path, pictures: list[TrainPicture], tmp_path: Path
) -> None:
    """Its weights are eight bits wide between the layers' turns, the LoRA is not, and the loss is nearly the same."""
    spec = replace(SPEC, precision="fp8", gradient_checkpointing=True, save_precision="fp32")
    bench = recipe._prepare(spec, tiny_base, pictures, 3, torch.device("cpu"))
    train_step(bench, 0)
    kinds = {p.dtype for p in bench.parts.unet.parameters() if not p.requires_grad}
    assert torch.float8_e4m3fn in kinds and torch.float32 not in kinds
    assert {p.dtype for p in bench.parameters} == {torch.float32}
    coarse = recipe.train(spec, tiny_base, pictures, tmp_path / "fp8", 3)
    fine = recipe.train(replace(spec, precision="bf16"), tiny_base, pictures, tmp_path / "bf16", 3)
    one, two = (np.array([loss for _, loss in run.losses]) for run in (coarse, fine))
    assert len(one) == 6
    assert np.abs(one / two - 1).max() < 0.1
    assert not np.array_equal(one, two)


def test_the_probe_changes_nothing(tiny_base: Path, pictures: list[TrainPicture]) -> None:
    """It sees the largest bucket with the optimizer's memory held, and a training goes on as if it had not been."""
    wide = replace(pictures[0], crop=(0, 0, 64, 32))
    seen = [replace(picture, crop=None) for picture in pictures[1:]] + [wide]
    benches = [recipe._prepare(SPEC, tiny_base, seen, 3, torch.device("cpu")) for _ in range(2)]
    assert len(benches[0].views.buckets) == 2
    assert benches[0].optimizer_bytes > 0
    probe(benches[0])
    assert all(p.grad is None for p in benches[0].parameters)
    assert not benches[0].optimizer.state
    assert train_step(benches[0], 0) == train_step(benches[1], 0)


class Greedy:
    """Planted: a step fits only when a batch is computed in at least two parts."""

    def __init__(self, fits: Any, fail_at: int) -> None:
        self.fits, self.fail_at, self.failures = fits, fail_at, 0

    def __call__(self, bench: Bench, step: int) -> float:
        if step >= self.fail_at and not self.fits(bench.spec):
            self.failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return train_step(bench, step)


def test_training_goes_on_from_its_last_state(
    tiny_base: Path,
    pictures: list[TrainPicture],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Out of memory at step 4, state at 3: the rest is computed in parts and ends in the same place."""
    straight = recipe.train(SPEC, tiny_base, pictures, tmp_path / "straight", 3)
    greedy = Greedy(lambda spec: spec.split >= 2, fail_at=4)
    monkeypatch.setattr(recipe, "train_step", greedy)
    out = tmp_path / "greedy"
    walked = recipe.train(SPEC, tiny_base, pictures, out, 3, state_every_steps=3)
    assert greedy.failures == 2  # checkpointing did not help, parts did
    assert read_rungs(out) == ["checkpointing", "split"]
    assert walked.resumed_from == 3
    assert [note for note in walked.notes if note.startswith("memory")] == [
        "memory: gave up checkpointing",
        "memory: gave up split",
    ]
    assert [loss for _, loss in walked.losses] == pytest.approx(
        [loss for _, loss in straight.losses], rel=1e-4
    )
    about = read_header(walked.checkpoints[1].path).metadata
    assert about["vultus.memory_rungs"] == "checkpointing,split"
    # asked again, nothing is tried that was seen to fail
    again = recipe.train(SPEC, tiny_base, pictures, out, 3)
    assert again.resumed_from == 6 and greedy.failures == 2


def test_prodigys_state_is_sliced_on_the_way_down(
    tiny_base: Path,
    pictures: list[TrainPicture],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = replace(SPEC, optimizer="prodigy", learning_rate=None, batch=1)
    greedy = Greedy(lambda spec: spec.slice_p == 11, fail_at=4)
    monkeypatch.setattr(recipe, "train_step", greedy)
    walked = recipe.train(spec, tiny_base, pictures, tmp_path, 3, state_every_steps=2)
    assert read_rungs(tmp_path) == ["checkpointing", "slice_p"]
    assert walked.resumed_from == 4 and len(walked.losses) == 6


def test_at_the_end_it_is_refused_in_words(
    tiny_base: Path,
    pictures: list[TrainPicture],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recipe, "train_step", Greedy(lambda spec: False, fail_at=0))
    spec = replace(SPEC, batch=1, optimizer="adafactor")
    with pytest.raises(TrainingError, match="nothing is left to give up") as caught:
        recipe.train(spec, tiny_base, pictures, tmp_path, 3)
    assert "checkpointing" in caught.value.where

    # any other fault is not mistaken for it
    def broken(bench: Bench, step: int) -> float:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(recipe, "train_step", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        recipe.train(SPEC, tiny_base, pictures, tmp_path / "other", 3)
