"""Where work was done: told from the machine's own records, loading nothing heavy."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from vultus.steps import environment
from vultus.steps.environment import fingerprint
from vultus.store.records import environment_digest


def test_the_fingerprint_names_machine_python_and_libraries() -> None:
    found = fingerprint()
    assert found["python"] == platform.python_version()
    assert found["machine"] == platform.machine()
    assert "package numpy" in found
    assert all(isinstance(value, str) for value in found.values())


def test_a_missing_package_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PACKAGES", ("numpy", "a-package-that-is-not-there"))
    assert [key for key in fingerprint() if key.startswith("package")] == ["package numpy"]


def test_cards_and_driver_are_read_from_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.1\nGCC\n"
    )
    card = "Model: \t\t NVIDIA GeForce RTX 4090\nIRQ:   1\n"
    (tmp_path / "gpus" / "0000:01:00.0" / "information").write_text(card)
    monkeypatch.setattr(environment, "_GPU_FOLDER", tmp_path)
    found = fingerprint()
    assert found["gpu 0"] == "NVIDIA GeForce RTX 4090"
    assert found["driver"] == "NVIDIA UNIX x86_64 Kernel Module  570.1"
    monkeypatch.setattr(environment, "_GPU_FOLDER", tmp_path / "none")
    assert "driver" not in fingerprint()


def test_equal_places_have_equal_names() -> None:
    assert environment_digest({"a": "1", "b": "2"}) == environment_digest({"b": "2", "a": "1"})
    assert environment_digest({"a": "1"}) != environment_digest({"a": "2"})
