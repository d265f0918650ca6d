"""`vultus init` writes a workspace that explains itself and that the program can read."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from vultus.core import specs
from vultus.core.errors import SpecError, WeightsError
from vultus.studies.bases import locate_base
from vultus.studies.plan import RunSpec
from vultus.studies.start import UNSET_BASE, copy_demo, demo_folder, is_full_size, make_workspace
from vultus.studies.workspace import Workspace
from vultus.training.presets import preset, preset_names


def _make(
    folder: Path, provenance: str = "synthetic", adult: bool = True, **more: Any
) -> list[Path]:
    return make_workspace(
        folder,
        name="Ada",
        trigger="ohwx",
        class_words="woman",
        provenance=provenance,
        adult=adult,
        **more,
    )


def test_a_fresh_workspace_can_be_read(tmp_path: Path) -> None:
    made = _make(tmp_path / "ada")
    assert [path.name for path in made] == ["persona.toml", "vultus.toml", "pictures"]
    persona, plan = Workspace(tmp_path / "ada").load()
    assert persona.name == "Ada" and persona.adult
    assert len(plan.panel.prompts.rows()) == 12
    text = (tmp_path / "ada" / "vultus.toml").read_text(encoding="utf-8")
    assert text.count("#") > 40, "every setting carries its help"


def test_every_setting_stands_in_the_file(tmp_path: Path) -> None:
    """Those without a value as comments: the pages say that every key is there."""
    _make(tmp_path)
    text = (tmp_path / "vultus.toml").read_text(encoding="utf-8")
    missing, checked = [], 0
    for setting in specs.describe(RunSpec):
        checked += 1
        if not re.search(rf"^(# )?{setting.key.split('.')[-1]} =", text, re.MULTILINE):
            missing.append(setting.key)
    assert checked >= 90 and not missing
    assert "\n# learning_rate =\n" in text and "\n# conv_alpha =\n" in text


@pytest.mark.parametrize("name", preset_names())
def test_a_full_size_preset_measures_photographs_and_renders_at_its_size(
    tmp_path: Path, name: str
) -> None:
    train = preset(name)
    _make(tmp_path, train=train)
    _, plan = Workspace(tmp_path).load()
    assert plan.train == train
    if name == "standin-cpu":
        assert not is_full_size(plan)
        assert (plan.bases, plan.face_pack) == (("standin/plain",), "standin")
        assert plan.render.width_px == 128
        return
    assert is_full_size(plan)
    assert plan.face_pack == "free"
    assert plan.render.width_px == plan.render.height_px == train.resolution_px == 1024
    assert (plan.render.steps, plan.render.scheduler) == (28, "dpmpp_2m_karras")
    assert plan.bases == (UNSET_BASE,)
    with pytest.raises(WeightsError, match="there is no base"):
        locate_base(plan.bases[0], tmp_path)


def test_given_bases_take_the_place_of_the_default(tmp_path: Path) -> None:
    _make(tmp_path / "drawn", bases=["standin/soft", "standin/ink"])
    assert Workspace(tmp_path / "drawn").load()[1].bases == ("standin/soft", "standin/ink")
    _make(tmp_path / "real", train=preset("16g"), bases=["/models/a.safetensors"])
    assert Workspace(tmp_path / "real").load()[1].bases == ("/models/a.safetensors",)


def test_bases_that_cannot_be_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        _make(tmp_path / "ada", train=preset("12g"), bases=["standin/ink", "standin/ink"])
    told = [fault.line() for fault in caught.value.faults]
    assert any("names one base twice" in line for line in told)
    assert any("standin/ink is a stand-in base" in line for line in told)
    assert not (tmp_path / "ada").exists()


def test_origin_and_age_are_nobodys_default(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        _make(tmp_path / "ada", provenance="", adult=False)
    assert len(caught.value.faults) == 2
    assert not (tmp_path / "ada").exists(), "nothing was started"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    _make(tmp_path)
    (tmp_path / "vultus.toml").write_text("mine", encoding="utf-8")
    with pytest.raises(SpecError):
        _make(tmp_path)
    assert (tmp_path / "vultus.toml").read_text(encoding="utf-8") == "mine"


def test_the_demo_is_copied_and_left_alone_afterwards(tmp_path: Path) -> None:
    copy_demo(tmp_path / "demo")
    pictures = sorted((tmp_path / "demo" / "pictures").glob("*"))
    assert len(pictures) == len(list((demo_folder() / "pictures").iterdir())) > 70
    assert not list((tmp_path / "demo").glob("*.json")), "the answer sheet stays at home"
    Workspace(tmp_path / "demo").load()
    (tmp_path / "demo" / ".vultus").mkdir()
    pictures[0].unlink()
    copy_demo(tmp_path / "demo")
    assert not pictures[0].exists(), "a demo that was begun goes on with what it has"


def test_the_demo_does_not_mix_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("years of work", encoding="utf-8")
    with pytest.raises(SpecError, match="holds other files"):
        copy_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]
    shutil.rmtree(tmp_path)
