"""The committed recipes and locks: every package pinned and hashed, made from the requirements beside them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts import tool_locks
from vultus.cli.tools import TOOLS
from vultus.core.errors import UnknownNameError
from vultus.tools.recipe import find_recipe, lock_without_torch, recipe_names
from vultus.tools.source import is_commit

PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[a-z,]+\])?==([^\s;\\]+)", re.MULTILINE)


def test_every_tool_has_a_whole_recipe() -> None:
    assert set(recipe_names()) == set(TOOLS)
    for name in TOOLS:
        recipe = find_recipe(name)
        assert is_commit(recipe.commit) and re.fullmatch(r"[0-9a-f]{64}", recipe.code)
        assert recipe.entry.endswith(".py") and len(recipe.imports) >= 5
        assert recipe.source.startswith("https://github.com/")
    with pytest.raises(UnknownNameError, match="kohya"):
        find_recipe("kohia")


@pytest.mark.parametrize("name", TOOLS)
def test_every_line_of_a_lock_is_pinned_and_hashed(name: str) -> None:
    recipe = find_recipe(name)
    text = recipe.lock.read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=[a-z0-9])", text[text.index("\n") + 1 :])
    packages = {m[1]: m[2] for block in blocks if (m := PIN.match(block))}
    assert len(packages) == len(blocks) >= 60, "a line is neither a comment nor a pinned package"
    assert all("--hash=sha256:" in block for block in blocks)
    wanted = PIN.findall((Path(recipe.folder) / "requirements.in").read_text(encoding="utf-8"))
    lines = (Path(recipe.folder) / "requirements.in").read_text(encoding="utf-8").splitlines()
    assert len(wanted) == sum(not line.startswith("#") for line in lines if line) >= 20
    assert all(packages[package] == version for package, version in wanted)
    assert packages["torch"] == "2.13.0" and "://" not in text, "an index or a path is in the lock"


def test_the_locks_are_made_from_their_requirements() -> None:
    assert tool_locks.stale() == []


def test_torch_and_what_only_its_cuda_build_needs_can_be_left_out() -> None:
    text = find_recipe("kohya").lock.read_text(encoding="utf-8")
    without = lock_without_torch(text)
    gone = {name for name, _ in PIN.findall(text)} - {name for name, _ in PIN.findall(without)}
    assert {"torch", "triton", "nvidia-nccl-cu13"} <= gone and "torchvision" not in gone
    assert 15 <= len(gone) <= 30
    assert all(name.startswith(("torch", "triton", "nvidia-", "cuda-")) for name in gone)
    assert without.count("--hash") < text.count("--hash")
