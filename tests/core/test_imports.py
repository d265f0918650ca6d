"""Light at the door: what every command loads is the standard library and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import vultus

SOURCE = Path(next(iter(vultus.__path__))).parent
LIGHT = (
    "clock", "errors", "files", "keys", "locks", "log", "progress", "registry", "seeds",
    "spec_read", "spec_write", "specs",
)  # fmt: skip
SLOW_PARTS = {"asyncio", "difflib", "multiprocessing", "numpy", "sqlite3", "unittest"}


def loaded(modules: list[str], *flags: str) -> set[str]:
    """The top names of everything that a fresh Python has loaded after importing these."""
    probe = "; ".join(f"import {name}" for name in modules)
    probe += "; import json, sys; print(json.dumps([n.split('.')[0] for n in sys.modules]))"
    told = subprocess.run(
        [sys.executable, *flags, "-c", probe],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return set(json.loads(told.stdout))


def test_core_needs_no_foreign_package_and_no_slow_part() -> None:
    modules = [f"vultus.core.{name}" for name in LIGHT]
    names = loaded(modules, "-S")  # -S hides site-packages: a foreign import would fail outright
    assert "vultus" in names
    assert not names & SLOW_PARTS


def test_memory_and_steps_need_no_foreign_package() -> None:
    modules = ["vultus.store.ledger", "vultus.steps.step", "vultus.steps.run"]
    names = loaded(modules, "-S")
    assert "sqlite3" in names
    assert not names & (SLOW_PARTS - {"sqlite3"})
