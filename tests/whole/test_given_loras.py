"""LoRA files that were trained elsewhere are swept, confirmed and judged like trained ones, and nothing is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from vultus.core.errors import SpecError, WeightsError
from vultus.reports.deliver import deliver
from vultus.store.ledger import Ledger
from vultus.studies.drive import drive
from vultus.studies.given import gather
from vultus.studies.workspace import Workspace
from vultus.testing.planted import make_workspace
from vultus.training.fake import train
from vultus.training.records import TrainPicture, TrainSpec


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Four files of one training, under names of their own."""
    folder = make_workspace(tmp_path / "elsewhere", pictures=20)
    pictures = [TrainPicture(p, "", (64, 64)) for p in sorted((folder / "pictures").glob("*.png"))]
    spec = TrainSpec(steps=8, checkpoints=4)
    done = train(spec, folder / "plain", pictures, tmp_path / "out", 3)
    named = [
        one.path.rename(tmp_path / f"kohya-{one.step}.safetensors") for one in done.checkpoints
    ]
    assert len(named) == 4
    return named


def _workspace(folder: Path, names: list[Path]) -> Workspace:
    make_workspace(folder, pictures=20)
    plan = folder / "vultus.toml"
    rows = ", ".join(f'"{name}"' for name in names)
    plan.write_text(f"loras = [{rows}]\n" + plan.read_text("utf-8"), "utf-8")
    return Workspace(folder)


def test_given_files_are_measured_and_nothing_is_trained(tmp_path: Path, files: list[Path]) -> None:
    workspace = _workspace(tmp_path / "ada", files[::-1])
    outcome = drive(workspace, inline=True, quiet=True)
    with Ledger.open(workspace.memory) as ledger:
        kinds = {attempt.kind for attempt in ledger.attempts()}
    assert "train" not in kinds and "render" in kinds
    assert [one.step for one in outcome.checkpoints] == [2, 4, 6, 8], "their own steps, in order"
    chosen = outcome.choice.chosen
    assert chosen.base == "soft" and chosen.strength == 0.8 and chosen.checkpoint in (4, 6)
    delivered = deliver(workspace, outcome)
    name = f"{outcome.persona.name.lower()}-chosen-kohya-{chosen.checkpoint}.safetensors"
    assert delivered.lora == workspace.folder / "loras" / name
    page = delivered.report.read_text("utf-8")
    assert "kohya-6.safetensors" in page
    assert "Whether they were trained on the held-out references is not known" in page
    assert "Training loss" not in page


def test_files_that_tell_no_steps_of_their_own_are_numbered(
    tmp_path: Path, files: list[Path]
) -> None:
    other = tmp_path / "again.safetensors"
    other.write_bytes(files[1].read_bytes())
    given = gather(_workspace(tmp_path / "ada", [files[1], other]))
    assert [one.step for one in given.loras] == [1, 2] == list(given.steps)


def test_a_path_may_begin_at_home(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    given = gather(_workspace(tmp_path / "ada", [Path("~") / files[0].name]))
    assert [one.path for one in given.loras] == [files[0].resolve()]


def test_what_is_no_lora_is_refused_before_any_work(tmp_path: Path, files: list[Path]) -> None:
    with pytest.raises(WeightsError, match="nobody"):
        gather(_workspace(tmp_path / "one", [tmp_path / "nobody.safetensors"]))
    with pytest.raises(SpecError, match="loras names one file twice"):
        gather(_workspace(tmp_path / "two", [files[0], files[0]]))
    assert not (tmp_path / "one" / ".vultus" / "ledger.sqlite").exists()
