"""A tool's environment is built whole or not at all, from hashed wheels, and noticed when anything in it changes."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tools.wheels import head, lock_line, make_source, make_wheel
from vultus.cli.main import main
from vultus.core.errors import ToolError
from vultus.tools.build import Wanted, build
from vultus.tools.places import ToolPlace, current, installed
from vultus.tools.recipe import Recipe
from vultus.tools.source import code_digest


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wanted:
    """A recipe whose source is a local checkout and whose packages lie in a folder."""
    monkeypatch.setenv("VULTUS_HOME", str(tmp_path / "home"))
    wheels = tmp_path / "wheels"
    lines = [lock_line(make_wheel(wheels, n, "1.0", f"name = {n!r}\n")) for n in ("alpha", "beta")]
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "lock.txt").write_text("".join(lines))
    commit = make_source(tmp_path / "checkout")
    recipe = Recipe(
        name="planted",
        about="a tool of the tests",
        source=str(tmp_path / "checkout"),
        commit=commit,
        code=code_digest(tmp_path / "checkout"),
        python=f"{os.sys.version_info[0]}.{os.sys.version_info[1]}",  # type: ignore[attr-defined]
        entry="main.py",
        imports=("alpha", "beta"),
        folder=str(tmp_path / "recipe"),
    )
    return Wanted(recipe, wheels)


def test_a_tool_is_built_used_and_then_only_looked_up(planted: Wanted) -> None:
    told: list[str] = []
    place = build(planted, told.append)
    assert place.folder == current("planted").folder and len(told) == 3
    assert place.record["files"] >= 4 and place.faults() == []
    words = [str(place.python), "-c", "import alpha; print(alpha.name)"]
    assert subprocess.run(words, capture_output=True, text=True).stdout == "alpha\n"
    assert subprocess.run([place.python, place.entry], capture_output=True).stdout == b"trained\n"
    told.clear()
    assert build(planted, told.append).folder == place.folder
    assert told == [], "what is there was built again"


def test_a_change_of_anything_is_noticed(planted: Wanted) -> None:
    place = build(planted)
    module = place.sites[0] / "alpha.py"
    kept = module.read_text()
    module.write_text("name = 'other'\n")
    assert [f for f in place.faults() if "alpha.py" in f and "was changed" in f]
    module.write_text(kept)
    assert place.faults() == []
    make_wheel(place.sites[0] / "x", "gamma", "1.0", "")
    extra = place.sites[0] / "gamma-1.0.dist-info"
    extra.mkdir()
    (extra / "RECORD").write_text("")
    assert any("added, removed or exchanged" in fault for fault in place.faults())
    (extra / "RECORD").unlink()
    (place.source / "README.md").write_text("changed")
    assert any("is not the commit" in fault for fault in place.faults())


def test_a_wheel_with_another_hash_is_refused_and_nothing_is_left(planted: Wanted) -> None:
    assert planted.packages_from is not None
    make_wheel(planted.packages_from, "beta", "1.0", "name = 'swapped'\n")
    with pytest.raises(ToolError) as caught:
        build(planted)
    assert "beta" in str(caught.value) and caught.value.next_command
    assert installed("planted") == []
    with pytest.raises(ToolError, match="not installed") as absent:
        current("planted")
    assert "vultus tools install" in absent.value.next_command


def test_a_failed_build_leaves_the_old_environment_in_use(planted: Wanted, tmp_path: Path) -> None:
    old = build(planted)
    broken = replace(planted, recipe=replace(planted.recipe, imports=("absent",), python="3.11"))
    (tmp_path / "recipe" / "lock.txt").write_text(
        lock_line(planted.packages_from / "alpha-1.0-py3-none-any.whl")  # type: ignore[operator]
    )
    with pytest.raises(ToolError, match="do not load"):
        build(broken)
    assert current("planted").folder == old.folder and len(installed("planted")) == 1


def test_another_commit_lies_beside_and_is_exchanged_in_one_step(
    planted: Wanted, tmp_path: Path
) -> None:
    first = build(planted)
    checkout = tmp_path / "checkout"
    (checkout / "main.py").write_text("print('better')\n")
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *who, "commit", "-qam", "second"], cwd=checkout, check=True)
    told: list[str] = []
    second = build(replace(planted, recipe=planted.recipe.at(commit=head(checkout))), told.append)
    assert any("nobody has pinned this commit" in line for line in told)
    assert second.folder != first.folder and second.digest != first.digest
    assert current("planted").folder == second.folder
    assert first.entry.read_text() == "print('trained')\n", "an environment was changed in place"
    build(planted)
    assert current("planted").folder == first.folder and len(installed("planted")) == 2


@pytest.mark.parametrize("how", ["digest", "branch"])
def test_source_that_is_not_what_was_pinned_is_refused(planted: Wanted, how: str) -> None:
    if how == "branch":
        with pytest.raises(ToolError, match="not a whole commit"):
            planted.recipe.at(commit="main")
        return
    with pytest.raises(ToolError) as caught:
        build(replace(planted, recipe=replace(planted.recipe, code="0" * 64)))
    assert caught.value.expected == "0" * 64


def test_the_command_line_says_what_changed(
    planted: Wanted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = build(replace(planted, recipe=replace(planted.recipe, name="kohya")))
    assert main(["tools", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["tools"]
    assert [row["used"] for row in rows] == [True] and rows[0]["digest"] == place.digest
    assert main(["tools", "check"]) == 0
    (place.source / "main.py").write_text("import os\n")
    capsys.readouterr()
    assert main(["tools", "check", "kohya"]) == 1
    assert "vultus tools install kohya" in capsys.readouterr().out
    assert isinstance(current("kohya"), ToolPlace)
