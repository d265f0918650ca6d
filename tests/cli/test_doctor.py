"""`vultus doctor` finds what is planted: missing packages, rivals, a small machine."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from vultus.cli import doctor
from vultus.cli.doctor import CHECKS, RIVALS, Finding, examine
from vultus.cli.main import main


class Package:
    """An installed package as importlib.metadata shows it."""

    def __init__(self, name: str, version: str) -> None:
        self.metadata = {"Name": name}
        self.version = version


def packages_found(
    monkeypatch: pytest.MonkeyPatch, installed: list[Package], wanted: list[str]
) -> list[Finding]:
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: iter(installed))
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: wanted)
    return list(doctor._packages(Path()))


def test_this_environment_has_the_tested_versions() -> None:
    about = {f.about: f for f in doctor._packages(Path())}
    assert about["packages"].state == "ok", about["packages"].text


def test_a_missing_and_an_untested_package_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["torch==2.13.0", "peft==0.21.2", "numpy==2.4.6", "bitsandbytes==1 ; extra == 'gpu'"]
    found = packages_found(
        monkeypatch, [Package("torch", "2.13.0+cpu"), Package("numpy", "2.5.0")], wanted
    )
    states = {(f.state, f.text.split(":")[0]) for f in found if f.about == "packages"}
    assert states == {("fault", "missing"), ("note", "not the tested version")}
    assert any("peft" in f.text and f.next_command == "make setup" for f in found)
    assert not any("torch" in f.text for f in found), "a CPU build is the tested version"


@pytest.mark.parametrize("rivals", RIVALS)
def test_packages_that_overwrite_each_other_are_a_fault(
    monkeypatch: pytest.MonkeyPatch, rivals: tuple[str, str]
) -> None:
    found = packages_found(monkeypatch, [Package(name, "1") for name in rivals], [])
    faults = [f for f in found if f.state == "fault"]
    assert len(faults) == 1 and all(name in faults[0].text for name in rivals)


def test_a_full_disk_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**20))
    disk = {f.about: f for f in doctor._machine(Path("/ada"))}["disk"]
    assert disk.state == "note" and "/ada" in disk.text and disk.next_command


def test_exit_code_and_json_follow_the_faults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def healthy(folder: Path) -> Iterator[Finding]:
        yield Finding("planted", "ok", "well")

    def broken(folder: Path) -> Iterator[Finding]:
        yield Finding("planted", "fault", "ill", "rest")

    monkeypatch.setattr(doctor, "CHECKS", (healthy,))
    assert main(["doctor"]) == 0
    monkeypatch.setattr(doctor, "CHECKS", (healthy, broken))
    capsys.readouterr()
    assert main(["doctor", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["faults"] == 1 and told["findings"][1]["next_command"] == "rest"


@pytest.mark.slow
def test_the_whole_examination_names_every_part(tmp_path: Path) -> None:
    about = [finding.about for finding in examine(tmp_path)]
    assert len(CHECKS) >= 5
    for part in ("Python", "processor", "memory", "disk", "packages", "torch"):
        assert part in about
    assert any(line.startswith("base ") for line in about)
    assert any(line.startswith("face pack ") for line in about)
