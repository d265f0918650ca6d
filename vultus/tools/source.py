"""The source of a foreign tool: fetched from a git address or a folder at one commit, known by a digest.

A commit's name is a sha1 and says which commit was asked for. The code digest is a sha256 over every Python file:
it is pinned in the recipe and says that what will be executed is what was reviewed, also where the source is a
plain folder without git history. The tree digest covers every file; it is recorded at the install, so that a later
change of any of them is noticed.

**Notation**

    commit    40 hex digits
    code      64 hex digits; sha256 of the canonical list of [path, content id] of all .py files
    tree      the same of all files, links as [path, "-> target"]
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from vultus.core.errors import ToolError
from vultus.core.keys import canonical, content_id, file_content_id

__all__ = ["code_digest", "fetch_source", "is_commit", "tree_digest"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
FETCH_S = 1800.0


def is_commit(text: str) -> bool:
    """Whether a string is a whole commit name; a branch or a tag moves and is refused."""
    return _COMMIT.fullmatch(text) is not None


def fetch_source(address: str, commit: str, target: Path) -> None:
    """Put the files of one commit into `target`, which is made here.

    `address` is anything git can fetch from, a local checkout, or a plain folder, which is copied as it is: compare
    the code digest afterwards. Raises ToolError.
    """
    folder = Path(address).expanduser()
    if folder.is_dir() and not _is_git(folder):
        shutil.copytree(folder, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        return
    with tempfile.TemporaryDirectory(prefix="vultus-git-") as scratch:
        store = folder
        if not folder.is_dir():
            store = Path(scratch)
            _git(store, "init", "--quiet", "--bare")
            _git(store, "fetch", "--quiet", "--depth", "1", "--", address, commit)
        found = _git(store, "rev-parse", "--verify", f"{commit}^{{commit}}").decode().strip()
        if found != commit:
            raise ToolError(f"{commit} is {found} there", where=address, expected=commit)
        packed = _git(store, "-c", "core.autocrlf=false", "archive", "--format=tar", commit)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        tar.extractall(target, filter="data")  # refuses paths and links that lead outside


def code_digest(folder: Path) -> str:
    """Digest of every Python file below a folder."""
    return _digest(folder, ".py")


def tree_digest(folder: Path) -> str:
    """Digest of every file below a folder; compiled Python is no source."""
    return _digest(folder, "")


def _digest(folder: Path, suffix: str) -> str:
    rows = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if "__pycache__" in inside.parts or inside.parts[0] == ".git":
            continue
        if not path.name.endswith(suffix):
            continue
        if path.is_symlink():
            rows.append([inside.as_posix(), f"-> {path.readlink().as_posix()}"])
        elif path.is_file():
            rows.append([inside.as_posix(), file_content_id(path)])
    return content_id(canonical(rows).encode()).removeprefix("sha256:")


def _is_git(folder: Path) -> bool:
    return (folder / ".git").exists() or (folder / "objects").is_dir()


def _git(where: Path, *words: str) -> bytes:
    try:
        done = subprocess.run(
            ["git", *words], cwd=where, capture_output=True, check=False, timeout=FETCH_S
        )
    except FileNotFoundError as absent:
        raise ToolError(
            "git is not installed", expected="git, to fetch a tool", next_command="apt install git"
        ) from absent
    except subprocess.TimeoutExpired as late:
        raise ToolError(
            f"git gave no answer within {FETCH_S:.0f} s", where=" ".join(words)
        ) from late
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ToolError(
            f"git could not do it: {said[-1] if said else done.returncode}",
            where=f"git {' '.join(words)}",
            expected="a commit that this address has",
            next_command="check the address and the commit, or give a local checkout with --source",
        )
    return done.stdout
