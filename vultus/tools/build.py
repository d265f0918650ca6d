"""Building a tool's environment: source at a commit, packages from a lock with hashes, whole or not at all.

It is built beside its place under another name and moved there when everything in it was checked; the link `current`
is exchanged last. A killed build leaves a draft that the next one sweeps, and the old environment in use.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vultus.core.errors import ToolError
from vultus.core.files import staged_folder, sweep_leftovers, write_json
from vultus.core.keys import canonical, content_id, file_content_id
from vultus.core.locks import held
from vultus.tools.installed import check_files, packages_digest
from vultus.tools.places import RECORD, ToolPlace, installed, tool_folder, use
from vultus.tools.recipe import Recipe, lock_without_torch
from vultus.tools.source import code_digest, fetch_source, tree_digest

__all__ = ["Wanted", "build", "find_uv"]

BUILD_S = 3600.0
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """A recipe, and where its packages come from."""

    recipe: Recipe
    packages_from: Path | None = None
    """a folder of wheels instead of the network"""
    torch_wheel: Path | None = None
    """a build of torch instead of the lock's, e.g. one without CUDA"""

    @property
    def key(self) -> str:
        """Equal recipes, locks and Pythons have equal keys (16 hex digits)."""
        recipe = self.recipe
        torch = "" if self.torch_wheel is None else file_content_id(self.torch_wheel)
        parts = [recipe.name, recipe.commit, recipe.code, recipe.lock_digest, recipe.python, torch]
        return content_id(canonical(parts).encode()).removeprefix("sha256:")[:16]


def build(wanted: Wanted, tell: Tell = lambda _: None) -> ToolPlace:
    """Build an environment and use it; one that is there already is only used. Raises ToolError."""
    folder = tool_folder(wanted.recipe.name)
    target = folder / wanted.key
    with held(folder / "lock", blocking=True):
        sweep_leftovers(folder)
        if not (target / RECORD).is_file():
            shutil.rmtree(target, ignore_errors=True)  # what an interrupted removal left
            with staged_folder(target, flush=False) as draft:
                _fill(wanted, draft, tell)
                os.sync()  # 20,000 files: one sweep of the disk is faster than as many flushes
        place = next(one for one in installed(wanted.recipe.name) if one.folder == target)
        use(place)
    return place


def _fill(wanted: Wanted, draft: Path, tell: Tell) -> None:
    recipe = wanted.recipe
    tell(f"source: {recipe.source} at {recipe.commit[:12]}")
    fetch_source(recipe.source, recipe.commit, draft / "source")
    code = code_digest(draft / "source")
    if recipe.code and code != recipe.code:
        raise ToolError(
            f"the source's Python files have the digest {code}",
            where=recipe.source,
            expected=recipe.code,
            next_command=f"fetch commit {recipe.commit} anew, from an address that you trust",
        )
    if not recipe.code:
        tell(f"source: nobody has pinned this commit; its digest is {code} (give it as --digest)")
    uv = find_uv()
    _uv(uv, "venv", "--no-project", "--relocatable", "--python", recipe.python, str(draft / "venv"))
    python = draft / "venv" / "bin" / "python"
    lock = draft / "lock.txt"
    shutil.copyfile(recipe.lock, lock)
    if wanted.torch_wheel is not None:
        lock.write_text(lock_without_torch(recipe.lock.read_text(encoding="utf-8")), "utf-8")
    offline = (
        ["--no-index", "--find-links", str(wanted.packages_from)] if wanted.packages_from else []
    )
    tell("packages: installing from the lock, every hash checked")
    _uv(uv, "pip", "sync", "--require-hashes", *offline, "--python", str(python), str(lock))
    if wanted.torch_wheel is not None:
        wheel = str(wanted.torch_wheel.resolve())
        _uv(uv, "pip", "install", "--no-deps", "--python", str(python), wheel)
        _declare_operators(draft / "venv")
    _import(python, recipe.imports)
    _record(wanted, draft)
    tell("packages: all of them are as their records say")


def _declare_operators(venv: Path) -> None:
    """Let the lock's torchvision be imported beside another build of torch."""
    (site,) = venv.glob("lib/python*/site-packages")
    module = "vultus_torchvision_operators"
    shutil.copyfile(Path(__file__).with_name("torchvision_operators.py"), site / f"{module}.py")
    (site / f"{module}.pth").write_text(f"import {module}\n", encoding="utf-8")


def _record(wanted: Wanted, draft: Path) -> None:
    recipe = wanted.recipe
    sites = sorted((draft / "venv").glob("lib/python*/site-packages"))
    looked, altered = check_files(sites)
    if altered:
        raise ToolError(f"{altered[0].path.name} of {altered[0].package} {altered[0].what}")
    packages, tree = packages_digest(sites), tree_digest(draft / "source")
    record = {
        "tool": recipe.name,
        "key": wanted.key,
        "digest": content_id(canonical([tree, packages]).encode()).removeprefix("sha256:")[:16],
        "commit": recipe.commit,
        "source": recipe.source,
        "code": code_digest(draft / "source"),
        "tree": tree,
        "lock": recipe.lock_digest,
        "packages": packages,
        "files": looked,
        "python": recipe.python,
        "entry": recipe.entry,
        "torch": "" if wanted.torch_wheel is None else wanted.torch_wheel.name,
        "built_at": time.time(),
    }
    write_json(draft / RECORD, record)


def _import(python: Path, modules: Sequence[str]) -> None:
    """What was installed must load; a wheel for another machine shows here and not in the night."""
    program = "".join(f"import {name}\n" for name in modules)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    _call([str(python), "-I", "-c", program], environment, "the installed packages do not load")


def find_uv() -> str:
    """The uv of this machine, or the one that set-up fetched. Raises ToolError."""
    beside = Path(__file__).resolve().parents[2] / ".tools" / "bin" / "uv"
    for found in (os.environ.get("UV", ""), shutil.which("uv"), beside):
        if found and Path(found).is_file():
            return str(found)
    raise ToolError(
        "uv is not installed, and environments are built with it",
        expected="uv 0.12.11 or newer",
        next_command="pip install uv==0.13.9",
    )


def _uv(uv: str, *words: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "UV_FIND_LINKS")}
    _call([uv, "--quiet", *words], environment, f"uv {words[0]} failed")


def _call(words: Sequence[str], environment: dict[str, str], otherwise: str) -> None:
    try:
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, check=False, timeout=BUILD_S
        )
    except subprocess.TimeoutExpired as late:
        raise ToolError(f"{otherwise}: no end within {BUILD_S / 60:.0f} min") from late
    if done.returncode:
        said = [line for line in done.stderr.strip().splitlines() if line.strip()]
        raise ToolError(
            f"{otherwise}: {' '.join(line.strip() for line in said[-8:]) or done.returncode}",
            where=" ".join(words[:4]),
            next_command="mend what is named and run the same command again; nothing was changed",
        )
