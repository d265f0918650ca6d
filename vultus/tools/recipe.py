"""What a tool's environment is made from: the recipe of the package, with what the user said otherwise."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from vultus.core.errors import ToolError, UnknownNameError
from vultus.core.keys import content_id
from vultus.core.registry import hint
from vultus.tools.source import is_commit

__all__ = ["Recipe", "find_recipe", "lock_without_torch", "recipe_names"]

RECIPES = Path(__file__).parent / "recipes"
_TORCH = re.compile(r"(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==")
"""What a CPU build of torch stands for: itself, and what only the CUDA build needs."""


@dataclass(frozen=True)
class Recipe:
    """recipe.toml of a tool, and the folder that holds it and its lock."""

    name: str
    about: str
    source: str
    """git address, or a folder"""
    commit: str
    """40 hex digits"""
    code: str
    """digest of that commit's Python files; empty = told, not checked"""
    python: str
    """version of Python that its lock was made for"""
    entry: str
    """the program that is started"""
    imports: tuple[str, ...]
    """what must import after the build"""
    folder: str

    @property
    def lock(self) -> Path:
        """The lock: every package with version and hashes."""
        return Path(self.folder) / "lock.txt"

    @property
    def lock_digest(self) -> str:
        """Content id of the lock."""
        return content_id(self.lock.read_bytes())

    def at(self, *, commit: str = "", source: str = "", code: str = "") -> Recipe:
        """The same tool from elsewhere or at another commit, whose digest is then another too."""
        changed = replace(self, source=source or self.source)
        if commit and not self.commit.startswith(commit):
            if not is_commit(commit):
                raise ToolError(
                    f"{commit!r} is not a whole commit",
                    where="--commit",
                    expected="40 hex digits: branches, tags and short names move",
                    next_command=f"git ls-remote {changed.source}",
                )
            changed = replace(changed, commit=commit, code="")
        return replace(changed, code=code) if code else changed


def recipe_names(root: Path = RECIPES) -> list[str]:
    """The tools that can be installed."""
    return sorted(path.parent.name for path in root.glob("*/recipe.toml"))


def find_recipe(name: str, root: Path = RECIPES) -> Recipe:
    """The recipe of a tool. Raises UnknownNameError."""
    known = recipe_names(root)
    if name not in known:
        raise UnknownNameError(
            f"there is no tool {name!r}{hint(name, known)}", expected=f"one of {', '.join(known)}"
        )
    table = tomllib.loads((root / name / "recipe.toml").read_text(encoding="utf-8"))
    table["imports"] = tuple(table["imports"])
    return Recipe(**table, folder=str(root / name))


def lock_without_torch(lock: str) -> str:
    """The lock without torch and without what only its CUDA build needs; every other line stays."""
    kept, skipping = [], False
    for line in lock.splitlines(keepends=True):
        if line.strip() and not line.startswith((" ", "#")):
            skipping = _TORCH.match(line) is not None
        if not skipping:
            kept.append(line)
    return "".join(kept)
