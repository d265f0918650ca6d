"""The doctor finds what is planted, and each fault has one remedy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.health.planted_nvml import PlantedLibrary
from vultus.health import machine as health_machine
from vultus.health import packages as health_packages
from vultus.health.cards import Nvml, card_findings
from vultus.health.checkout import checkout
from vultus.health.findings import Finding
from vultus.health.machine import clock, machine, python
from vultus.health.packages import RIVALS, files, foreign_tools, pins, version_findings
from vultus.health.weights import weights
from vultus.studies.bases import find_base
from vultus.testing.planted import make_workspace
from vultus.tools.installed import Altered

WANTED = ["torch==2.13.0", "peft==0.21.2", "numpy==2.4.6", "bitsandbytes==1 ; extra == 'gpu'"]


def one(findings: list[Finding], about: str) -> Finding:
    """The one finding about something."""
    (found,) = [finding for finding in findings if finding.about == about]
    return found


def test_a_fault_without_a_remedy_cannot_be_told() -> None:
    with pytest.raises(ValueError, match="no remedy"):
        Finding("disk", "fault", "full")


def test_this_environment_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_HOME", str(tmp_path))
    assert one(list(pins(tmp_path)), "packages").state == "ok"
    assert one(list(python(tmp_path)), "Python").state == "ok"
    assert list(foreign_tools(tmp_path)) == []


def test_missing_untested_and_rival_packages_are_told_apart() -> None:
    found = list(version_findings({"torch": "2.13.0+cpu", "numpy": "2.5.0"}, WANTED, {}))
    states = {(f.state, f.text.split(":")[0]) for f in found if f.about == "packages"}
    assert states == {("fault", "missing"), ("note", "not the tested version")}
    assert any("peft" in f.text and f.next_command == "make setup" for f in found)
    assert not any("torch" in f.text for f in found), "a CPU build is the tested version"
    locked = list(version_findings({"a": "1", "deep": "2"}, ["a==1"], {"deep": "3"}))
    assert "deep 2 (tested: 3)" in one(locked, "packages").text, "the lock covers what is indirect"
    for rivals in RIVALS:
        told = list(version_findings(dict.fromkeys(rivals, "1"), [], {}))
        faults = [f for f in told if f.state == "fault"]
        assert len(faults) == 1 and all(name in faults[0].text for name in rivals)


def test_a_changed_file_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = Altered("torch", Path("/site/torch/nn.py"), "was changed")
    monkeypatch.setattr(health_packages, "check_files", lambda where, memory: (9, [changed]))
    finding = one(list(files(tmp_path)), "installed files")
    assert finding.state == "fault" and "torch/nn.py" in finding.text and finding.next_command


@pytest.mark.parametrize(
    ("free_gib", "state"), [(0.5, "fault"), (5.0, "note"), (200.0, "ok")], ids=str
)
def test_the_disk(monkeypatch: pytest.MonkeyPatch, free_gib: float, state: str) -> None:
    usage = SimpleNamespace(free=int(free_gib * 2**30))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    disk = one(list(machine(Path("/ada"))), "disk")
    assert disk.state == state and "/ada" in disk.text
    assert bool(disk.next_command) == (state != "ok")


def test_a_containers_own_limit_is_what_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("17179869184\n")
    assert health_machine._container_limit_bytes(tmp_path) == 16 * 2**30
    (tmp_path / "memory.max").write_text("max\n")
    assert health_machine._container_limit_bytes(tmp_path) == 0


def test_a_clock_that_cannot_be_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = tmp_path / ".vultus"
    memory.mkdir()
    (memory / "ledger.sqlite").write_bytes(b"")
    now = time.time()
    os.utime(memory / "ledger.sqlite", (now, now))
    monkeypatch.setattr(health_machine, "_is_synchronised", lambda: True)
    assert one(list(clock(tmp_path)), "clock").state == "ok"
    monkeypatch.setattr(time, "time", lambda: now - 7200)
    behind = one(list(clock(tmp_path)), "clock")
    assert behind.state == "fault" and "120 min" in behind.text
    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0)
    assert "2001-09-09" in one(list(clock(tmp_path)), "clock").text
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(health_machine, "_is_synchronised", lambda: False)
    assert one(list(clock(tmp_path)), "clock").state == "note"


@pytest.mark.parametrize(
    ("planted", "wanted", "about", "state", "says"),
    [
        ({}, (13, 0), "card 0", "ok", "RTX 4090, 23.5 of 24.0 GiB free, 2520 of 3105 MHz"),
        ({}, (13, 0), "driver", "ok", "580.65.06, runs CUDA 13.0"),
        ({"cuda": 12040}, (13, 0), "driver", "fault", "runs CUDA 12.4"),
        ({}, None, "driver", "fault", "the card is not used"),
        ({"cards": 0}, (13, 0), "graphics card", "fault", "sees no card"),
        ({"reasons": 0x40 | 0x80}, (13, 0), "card 0", "fault", "thermal slowdown and power brake"),
        ({"free_bytes": 2**33}, (13, 0), "card 0", "note", "something else is using it"),
        ({"total_bytes": 2**33}, (13, 0), "card 0", "note", "too small"),
        ({"broken": True}, (13, 0), "card 0", "fault", "does not answer"),
    ],
)  # fmt: skip
def test_cards(
    planted: dict[str, int], wanted: tuple[int, int] | None, about: str, state: str, says: str
) -> None:
    library = PlantedLibrary(**planted)  # type: ignore[arg-type]
    found = one(list(card_findings(lambda: Nvml(library), wanted)), about)
    assert found.state == state and says in found.text
    assert found.next_command or state != "fault"


def test_a_machine_without_a_card_is_a_note() -> None:
    def absent() -> Nvml:
        raise OSError("libnvidia-ml.so.1: cannot open shared object file")

    (finding,) = card_findings(absent, None)
    assert finding.state == "note" and "without CUDA" in finding.text


def test_the_state_of_the_checkout(tmp_path: Path) -> None:
    assert list(checkout(tmp_path, tmp_path)) == [], "no checkout, nothing to say"
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    (tmp_path / "a").write_text("1")
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    assert one(list(checkout(tmp_path, tmp_path)), "source").state == "ok"
    (tmp_path / "a").write_text("2")
    dirty = one(list(checkout(tmp_path, tmp_path)), "source")
    assert dirty.state == "note" and "1 changed file" in dirty.text


def test_weights_of_a_workspace(tmp_path: Path) -> None:
    make_workspace(tmp_path / "ada")
    folder = tmp_path / "ada"
    found = list(weights(folder))
    assert len(found) >= 2 and all(f.state == "note" for f in found), "nothing was hashed yet"
    name = found[0].about.removeprefix("base ")
    find_base(name, folder, folder / ".vultus")
    assert one(list(weights(folder)), f"base {name}").state == "ok"
    shutil.rmtree((folder / name).resolve())
    gone = one(list(weights(folder)), f"base {name}")
    assert gone.state == "fault" and gone.next_command
    assert list(weights(tmp_path)) == []


def test_doctor_loads_no_network_library() -> None:
    """Two seconds are not enough for torch; what the checks need is told by files and NVIDIA's library."""
    program = (
        "import sys; from pathlib import Path; from vultus.cli.doctor import checks\n"
        "found = [f for c in checks() if c.__name__ != 'files' for f in c(Path('.'))]\n"
        "assert len(found) >= 10, found\n"
        "print(sorted({'torch', 'diffusers', 'transformers', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
