"""`vultus doctor`: exit code and JSON follow the faults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from vultus.cli import doctor
from vultus.cli.main import main
from vultus.health.findings import Finding


def healthy(folder: Path) -> Iterator[Finding]:
    yield Finding("planted", "ok", f"well at {folder.name}")


def broken(folder: Path) -> Iterator[Finding]:
    yield Finding("planted", "fault", "ill", "rest")


def test_exit_code_and_json_follow_the_faults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "checks", lambda: (healthy,))
    assert main(["doctor", str(tmp_path)]) == 0
    assert f"well at {tmp_path.name}" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "checks", lambda: (healthy, broken))
    assert main(["doctor", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["faults"] == 1 and told["findings"][1]["next_command"] == "rest"


@pytest.mark.slow
def test_the_whole_examination_names_every_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VULTUS_HOME", str(tmp_path))
    findings = doctor.examine(tmp_path)
    about = [finding.about for finding in findings]
    assert len(doctor.checks()) >= 10
    for part in ("Python", "processor", "memory", "disk", "clock", "packages", "installed files"):
        assert part in about
    assert any(line.startswith("base ") for line in about)
    assert any(line.startswith("face pack ") for line in about)
    assert not [f for f in findings if f.state == "fault"]
