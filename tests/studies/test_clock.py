"""Likeness as the clock: a training goes on while something is gained, and its parts are one training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vultus.core.errors import SpecError
from vultus.generation.backends.fake import PlantedTruth
from vultus.stats.estimate import Estimate
from vultus.studies.clock import Clock, Reading
from vultus.studies.drive import drive, look_up
from vultus.studies.plan import ClockSpec, load_plan
from vultus.studies.workspace import Workspace
from vultus.testing.planted import make_base, make_workspace

PROMPTS = [f"prompt {i}" for i in range(8)]
NOISE = np.random.default_rng(0).normal(size=8)


def _reading(step: int, level: float, copy: float = 0.0) -> Reading:
    spread = 0.05 * np.roll(NOISE, step)
    estimate = Estimate(level, level - 1, level + 1, "m10", 8)
    return Reading(step, estimate, level + spread, copy + 0.01 * np.roll(NOISE, step + 3))


def _ends_at(levels: list[float], copies: list[float], patience: int = 2) -> tuple[int, Clock]:
    clock = Clock(ClockSpec(blocks=8, patience=patience), PROMPTS)
    for step, (level, copy) in enumerate(zip(levels, copies, strict=True), start=1):
        if not clock.hear(_reading(step, level, copy)):
            return step, clock
    return 0, clock


def test_it_goes_on_while_likeness_rises() -> None:
    step, clock = _ends_at([1.0, 2.0, 3.0, 4.0, 5.0], [0.0] * 5)
    assert step == 0 and clock.stopped == ""
    assert [tick.step for tick in clock.ticks] == [1, 2, 3, 4, 5]
    assert clock.ticks[0].gain is None
    gains = [tick.gain for tick in clock.ticks[1:]]
    assert all(gain is not None and gain.low > 0 for gain in gains)


@pytest.mark.parametrize(("patience", "end"), [(1, 4), (2, 5), (3, 0)])
def test_it_ends_after_so_many_without_a_gain(patience: int, end: int) -> None:
    step, clock = _ends_at([1.0, 2.0, 3.0, 3.0, 2.9], [0.0] * 5, patience)
    assert step == end
    assert clock.best is not None and clock.best.step == 3
    assert ("nothing beyond noise over step 3" in clock.stopped) == (end > 0)


def test_a_late_gain_counts_against_the_best_not_the_last() -> None:
    """A dip and a way back is no gain; only above the best one the counting starts again."""
    step, clock = _ends_at([3.0, 1.0, 3.0], [0.0] * 3)
    assert step == 3 and clock.best is not None and clock.best.step == 1
    step, clock = _ends_at([3.0, 1.0, 4.0, 3.5], [0.0] * 4)
    assert step == 0 and clock.best is not None and clock.best.step == 3


def test_copying_without_likeness_ends_it_at_once() -> None:
    step, clock = _ends_at([1.0, 3.0, 3.0, 3.0], [0.0, 0.0, 0.2, 0.2], patience=5)
    assert step == 3
    assert "nearer to training pictures (+0.2" in clock.stopped
    # while likeness still rises, copying is told and nothing is ended
    step, clock = _ends_at([1.0, 3.0, 5.0], [0.0, 0.2, 0.4], patience=5)
    assert step == 0
    copying = clock.ticks[-1].copying
    assert copying is not None and copying.low > 0


def _workspace(folder: Path, more: str, truth: PlantedTruth | None = None) -> Path:
    make_workspace(folder, pictures=20)
    plan = folder / "vultus.toml"
    plan.write_text(plan.read_text("utf-8") + more, "utf-8")
    if truth is not None:
        make_base(folder / "plain", truth)
    return folder


def test_a_run_by_the_clock_is_a_run(tmp_path: Path) -> None:
    """Parts, renders and scores in turn; the curve of the planted world; found again, nothing made twice."""
    folder = _workspace(tmp_path / "ada", "\n[clock]\nblocks = 6\nstrength = 0.8\npatience = 4\n")
    outcome = drive(Workspace(folder), inline=True, quiet=True)
    assert [tick.step for tick in outcome.ticks] == [2, 4, 6, 8]
    levels = [tick.m10.value for tick in outcome.ticks]
    assert max(levels) == levels[2] > levels[0], "the planted peak lies at 0.75 of the training"
    assert [one.step for one in outcome.checkpoints] == [2, 4, 6, 8]
    assert len(outcome.losses) == 8
    trained = [stage for stage in outcome.stages if stage.kind == "train"]
    assert trained[0].steps == 4
    again = look_up(Workspace(folder))
    assert again.keys == outcome.keys
    assert [tick.words for tick in again.ticks] == [tick.words for tick in outcome.ticks]


def test_a_training_that_gains_nothing_is_cut_short(tmp_path: Path) -> None:
    flat = PlantedTruth(peak=0.70, best_strength=0.8)
    folder = _workspace(
        tmp_path / "ada", "\n[clock]\nblocks = 6\nstrength = 4.0\npatience = 1\n", flat
    )
    outcome = drive(Workspace(folder), inline=True, quiet=True)
    assert len(outcome.ticks) < 4
    assert len(outcome.checkpoints) == len(outcome.ticks)
    assert any("nothing beyond noise" in note for note in outcome.training_notes)
    steps = {one.cell.checkpoint for one in outcome.cells}
    assert steps == {0, *(one.step for one in outcome.checkpoints)}


def test_a_clock_that_cannot_run_is_refused(tmp_path: Path) -> None:
    folder = _workspace(tmp_path / "ada", "\n[clock]\nblocks = 2\n")
    plan = folder / "vultus.toml"
    plan.write_text('training_base = "other"\n' + plan.read_text("utf-8"), "utf-8")
    with pytest.raises(SpecError) as caught:
        load_plan(plan)
    told = str(caught.value)
    assert "needs the training base among bases" in told
    assert "fewer than 4" in told


def test_readings_alone_decide() -> None:
    one = _ends_at([1.0, 2.0, 2.0, 2.0], [0.0] * 4)
    two = _ends_at([1.0, 2.0, 2.0, 2.0], [0.0] * 4)
    assert one[0] == two[0] == 4
    assert [t.words for t in one[1].ticks] == [t.words for t in two[1].ticks]
    assert replace(one[1].spec, patience=3) != one[1].spec
