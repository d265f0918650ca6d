"""Every test of jobs has a home of its own, and nothing it started outlives it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vultus.testing.jobs import end_all, plant_python


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("VULTUS_HOME", str(folder))
    monkeypatch.setenv("VULTUS_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("VULTUS_PROBE", "none")
    yield folder
    end_all(folder)


@pytest.fixture
def python(tmp_path: Path, home: Path) -> str:
    return plant_python(tmp_path / "bin")
