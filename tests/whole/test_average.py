"""The average of the last checkpoints is one more candidate: swept, confirmed, chosen where it is best, and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vultus.core.errors import SpecError
from vultus.core.weights import read_header, read_tensors
from vultus.reports.deliver import deliver
from vultus.reports.run import run_report
from vultus.reports.terminal import sweep_lines
from vultus.store.ledger import Ledger
from vultus.studies.drive import drive
from vultus.studies.plan import load_plan
from vultus.studies.workspace import Workspace
from vultus.testing.planted import make_workspace
from vultus.training.lora_arithmetic import read_lora
from vultus.training.lora_file import write_lora
from vultus.training.lora_tools import sum_loras


def _plan(folder: Path, *lines: str, train: str = "") -> Path:
    plan = folder / "vultus.toml"
    text = plan.read_text("utf-8").replace("[sweep]", "\n".join(("[sweep]", *lines)))
    plan.write_text(text.replace("[train]", f"[train]\n{train}"), "utf-8")
    return plan


def _planted(
    paths: Sequence[Path], out: Path, *, weights: None, rank: None, precision: str
) -> Mapping[str, Any]:
    """The real average, planted to be worth what the best moment of the training is worth."""
    told = sum_loras(paths, out, weights=weights, rank=rank, precision=precision)
    identity = read_header(paths[0]).metadata["vultus.fake_identity"]
    planted = {"vultus.fake_identity": identity, "vultus.fake_share": "0.75"}
    write_lora(out, read_tensors(out), {**read_header(out).metadata, **planted})
    return told


def test_an_average_that_is_best_is_chosen_and_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: the best share of the training, 0.75, is saved by no checkpoint; the average has it."""
    monkeypatch.setattr("vultus.steps.kinds.average.sum_loras", _planted)
    folder = make_workspace(tmp_path / "ada", pictures=20)
    _plan(folder, "average = 2", train="")
    text = (folder / "vultus.toml").read_text("utf-8")
    (folder / "vultus.toml").write_text(text.replace("checkpoints = 4", "checkpoints = 2"), "utf-8")
    workspace = Workspace(folder)
    outcome = drive(workspace, inline=True, quiet=True)
    assert [(one.step, one.averaged) for one in outcome.checkpoints] == [
        (4, ()),
        (8, ()),
        (9, (4, 8)),
    ]
    assert outcome.choice.best.checkpoint == 9 and outcome.choice.chosen.checkpoint == 9
    first, last, mean = (read_lora(one.path).pairs for one in outcome.checkpoints)
    for name, pair in mean.items():
        parts = [up @ down for up, down in (first[name].factors(), last[name].factors())]
        up, down = pair.factors()
        np.testing.assert_allclose(up @ down, (parts[0] + parts[1]) / 2, atol=0.02)
    assert len(mean) == 1
    delivered = deliver(workspace, outcome)
    assert delivered.lora.name == "ada-mean-4-8.safetensors"
    page = delivered.report.read_text("utf-8")
    assert "mean 4-8" in page and "with the average of 4, 8" in page
    assert "it is the average of the checkpoints 4, 8" in page
    lines = sweep_lines(run_report(outcome))
    assert sum(line.startswith("mean 4-8  ") for line in lines) == 2, "one row per base"
    with Ledger.open(workspace.memory) as ledger:
        before = len(ledger.attempts())
    assert drive(workspace, inline=True, quiet=True).choice == outcome.choice
    with Ledger.open(workspace.memory) as ledger:
        assert len(ledger.attempts()) == before, "all of it was looked up"


def test_an_average_is_a_candidate_also_where_the_clock_ended_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vultus.steps.kinds.average.sum_loras", _planted)
    folder = make_workspace(tmp_path / "ada", pictures=20, steps=80)
    plan = _plan(folder, "average = 2")
    text = plan.read_text("utf-8").replace("checkpoints = 4", "checkpoints = 16")
    plan.write_text(text + "\n[clock]\nblocks = 6\npatience = 1\n", "utf-8")
    outcome = drive(Workspace(folder), inline=True, quiet=True)
    *trained, mean = outcome.checkpoints
    assert mean.averaged == tuple(one.step for one in trained[-2:])
    assert trained[-1].step < 80, "the clock did not end the training early"
    cells = [one.cell for one in outcome.cells if one.cell.checkpoint == mean.step]
    assert len(cells) == 2 * 3, "two bases at three strengths"


@pytest.mark.parametrize(
    ("lines", "train", "words"),
    [
        ("average = 1", "", "two or more"),
        ("average = 5", "", "saves 4 checkpoints"),
        ("average = 2", "dora = true", "magnitudes have no average"),
    ],
)
def test_an_average_that_cannot_be_is_refused(
    tmp_path: Path, lines: str, train: str, words: str
) -> None:
    folder = make_workspace(tmp_path / "ada", pictures=0)
    with pytest.raises(SpecError, match=words):
        load_plan(_plan(folder, lines, train=train))
