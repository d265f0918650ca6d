"""The state of this program's own source, where it runs from a git checkout."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from vultus.health.findings import Finding

__all__ = ["checkout"]

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 10.0


def checkout(folder: Path, root: Path = ROOT) -> Iterator[Finding]:
    """Commit, and whether anything differs from it."""
    del folder
    if not (root / ".git").exists():
        return
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    changed = _git(root, "status", "--porcelain")
    if commit is None or changed is None:
        yield Finding(
            "source", "note", "git does not answer; the commit is not known", "git status"
        )
        return
    count = len(changed.splitlines())
    if count:
        text = f"commit {commit} and {count} changed file{'' if count == 1 else 's'}: no commit names this"
        yield Finding("source", "note", text, f"git -C {root} status")
    else:
        yield Finding("source", "ok", f"commit {commit}, nothing changed")


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=False, timeout=WAIT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
