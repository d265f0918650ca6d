"""`vultus init` writes a workspace that explains itself and that the program can read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vultus.core.errors import SpecError
from vultus.studies.start import copy_demo, demo_folder, make_workspace
from vultus.studies.workspace import Workspace


def _make(folder: Path, provenance: str = "synthetic", adult: bool = True) -> list[Path]:
    return make_workspace(
        folder, name="Ada", trigger="ohwx", class_words="woman", provenance=provenance, adult=adult
    )


def test_a_fresh_workspace_can_be_read(tmp_path: Path) -> None:
    made = _make(tmp_path / "ada")
    assert [path.name for path in made] == ["persona.toml", "vultus.toml", "pictures"]
    persona, plan = Workspace(tmp_path / "ada").load()
    assert persona.name == "Ada" and persona.adult
    assert len(plan.panel.prompts.rows()) == 12
    text = (tmp_path / "ada" / "vultus.toml").read_text(encoding="utf-8")
    assert text.count("#") > 40, "every setting carries its help"


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
