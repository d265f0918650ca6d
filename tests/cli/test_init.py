"""`vultus init` says which kind of workspace it made, and what is still to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vultus.cli.main import main
from vultus.studies.plan import load_plan

WHO = ["--class-words", "woman", "--synthetic", "--adult"]


def test_a_stand_in_workspace_says_how_photographs_are_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path / "ada"), *WHO]) == 0
    told = capsys.readouterr().out
    assert "they know drawn faces only" in told
    assert "--preset rtx4090-24g --base ~/models/YOUR_SDXL.safetensors" in told
    assert "models fetch free" not in told


def test_a_full_size_workspace_says_what_is_still_to_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path / "ada"), *WHO, "--preset", "rtx4090-24g"]) == 0
    told = capsys.readouterr().out
    assert "1024 px" in told and "vultus models fetch free" in told
    assert "(it is a placeholder)" in told
    assert "drawn faces" not in told


def test_a_path_is_written_so_that_it_means_the_same_from_the_workspace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--preset", "16g", "--base", "sdxl.safetensors", "--base", "~/other.safetensors"]
    assert main(["init", "ada", *WHO, *words, "--json"]) == 0
    wanted = [str(tmp_path / "sdxl.safetensors"), str(Path("~/other.safetensors").expanduser())]
    answer = json.loads(capsys.readouterr().out)
    assert answer["bases"] == wanted and answer["face_pack"] == "free"
    assert list(load_plan(tmp_path / "ada" / "vultus.toml").bases) == wanted


def test_a_base_that_is_not_here_yet_is_told_and_no_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = tmp_path / "absent.safetensors"
    words = ["--preset", "16g", "--base", str(absent)]
    assert main(["init", str(tmp_path / "ada"), *WHO, *words]) == 0
    assert f"there is no base '{absent}'" in capsys.readouterr().out
