"""The pod kit: the one script really runs (on a planted source), and what other tools read is well-formed."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
POD = ROOT / "pod"

# Top-level keys of the two formats (SkyPilot 0.14 "YAML spec", dstack 0.22 "task"), for those that are used here.
SKY_KEYS = {"name", "resources", "num_nodes", "workdir", "envs", "file_mounts", "setup", "run"}
DSTACK_KEYS = {
    *("type", "name", "image", "volumes", "env", "commands", "resources", "spot_policy"),
    *("max_duration", "retry", "utilization_policy"),
}
DOCKER_WORDS = {"FROM", "RUN", "ENV", "WORKDIR", "COPY", "VOLUME", "ENTRYPOINT", "CMD"}

MAKEFILE = """setup:
\tmkdir -p .venv/bin
\tprintf '#!/bin/sh\\necho "$$VULTUS_HOME $$@"\\n' > .venv/bin/vultus
\tchmod +x .venv/bin/vultus
\techo "$(VULTUS_EXTRAS)" >> .venv/extras
\tmkdir -p .tools
\techo "$(VULTUS_EXTRAS)" >> .tools/extras
"""


def plant(folder: Path) -> Path:
    """A source whose set-up writes a program that only tells how it was called."""
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text("[project]\nname = 'vultus'\n")
    (folder / "Makefile").write_text(MAKEFILE)
    return folder


def start(
    tmp_path: Path, script: Path = POD / "start.sh", **extra: str
) -> subprocess.CompletedProcess[str]:
    home = tmp_path / "user"
    home.mkdir(exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), **extra}
    environment.setdefault("VULTUS_ROOT", str(tmp_path / "root"))
    return subprocess.run(
        ["bash", str(script)], env=environment, capture_output=True, text=True, check=False
    )


def bash_takes(text: str) -> bool:
    return (
        subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True).returncode == 0
    )


def test_one_call_makes_everything_under_one_root(tmp_path: Path) -> None:
    source = plant(tmp_path / "source")
    done = start(tmp_path, VULTUS_SOURCE=str(source), VULTUS_EXTRAS="gpu notify")
    assert done.returncode == 0, done.stderr
    root = tmp_path / "root"
    assert {p.name for p in root.iterdir()} >= {"source", "env.sh", "boot.sh", "home", "workspaces"}
    assert f"{root}/home doctor" in done.stdout, "the doctor ran with another home"
    assert (root / "source" / ".venv" / "extras").read_text() == "gpu notify\n"
    boot = subprocess.run([root / "boot.sh"], capture_output=True, text=True, check=True)
    assert boot.stdout == f"{root}/home jobs resume --all\n"
    settings = re.findall(r'^export (\w+)="([^"$]*)"', (root / "env.sh").read_text(), re.MULTILINE)
    assert len(settings) >= 6 and all(value.startswith(str(root)) for _, value in settings)


def test_a_second_call_keeps_the_environment_and_adds_no_line(tmp_path: Path) -> None:
    source = plant(tmp_path / "source")
    for _ in range(2):
        assert start(tmp_path, VULTUS_SOURCE=str(source)).returncode == 0
    assert len((tmp_path / "root" / "source" / ".venv" / "extras").read_text().splitlines()) == 2
    assert len((tmp_path / "user" / ".bashrc").read_text().splitlines()) == 1
    kept = (tmp_path / "root" / "source" / ".tools" / "extras").read_text().splitlines()
    assert len(kept) == 2, "the extras of the first call were forgotten"
    without = start(tmp_path)  # the source that is there
    assert without.returncode == 0 and "the one in" in without.stdout


def test_an_archive_beside_the_script_is_found(tmp_path: Path) -> None:
    plant(tmp_path / "vultus-main")
    upload = tmp_path / "upload"
    upload.mkdir()
    (upload / "start.sh").write_bytes((POD / "start.sh").read_bytes())
    with tarfile.open(upload / "vultus-main.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "vultus-main", "vultus-main")
    done = start(tmp_path, upload / "start.sh")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "root" / "source" / "Makefile").is_file()


def test_a_git_address_at_a_commit(tmp_path: Path) -> None:
    source = plant(tmp_path / "source")
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=source, check=True)
    first = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=source, capture_output=True, text=True, check=True
    ).stdout.strip()
    (source / "later").write_text("x")
    for words in (["add", "-A"], [*who, "commit", "-qm", "second"]):
        subprocess.run(["git", *words], cwd=source, check=True)
    assert start(tmp_path, VULTUS_SOURCE=str(source), VULTUS_COMMIT=first).returncode == 0
    assert not (tmp_path / "root" / "source" / "later").exists()
    assert start(tmp_path, VULTUS_SOURCE=str(source)).returncode == 0
    assert (tmp_path / "root" / "source" / "later").exists()


@pytest.mark.parametrize("what", ["nothing", "no vultus"])
def test_what_is_missing_is_said(tmp_path: Path, what: str) -> None:
    (tmp_path / "empty").mkdir()
    source = "" if what == "nothing" else str(tmp_path / "empty")
    done = start(tmp_path, VULTUS_SOURCE=source)
    assert done.returncode == 1
    assert ("VULTUS_SOURCE" if what == "nothing" else "holds no Vultus") in done.stderr


def test_the_documents_for_other_tools_are_well_formed() -> None:
    sky: dict[str, Any] = yaml.safe_load((POD / "skypilot.yaml").read_text(encoding="utf-8"))
    dstack: dict[str, Any] = yaml.safe_load((POD / "dstack.yml").read_text(encoding="utf-8"))
    assert set(sky) <= SKY_KEYS and {"resources", "setup", "run"} <= set(sky)
    assert set(dstack) <= DSTACK_KEYS and dstack["type"] == "task"
    assert dstack["retry"]["on_events"] == ["no-capacity", "error", "interruption"]
    scripts = [sky["setup"], sky["run"], *dstack["commands"]]
    assert len(scripts) == 5 and all(bash_takes(script) for script in scripts)
    assert not bash_takes("if then"), "this test would pass anything"


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (1, 0), (2, 1), (130, 1)])
def test_a_no_of_the_gate_is_no_fault_to_a_host(tmp_path: Path, code: int, ends: int) -> None:
    """Both hosts rent and run again where a task fails; `vultus run` answers with 1 where the gate says no."""
    sky: dict[str, Any] = yaml.safe_load((POD / "skypilot.yaml").read_text(encoding="utf-8"))
    dstack: dict[str, Any] = yaml.safe_load((POD / "dstack.yml").read_text(encoding="utf-8"))
    vultus = tmp_path / "vultus"
    vultus.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n[ "$1" != run ] || exit {code}\n')
    vultus.chmod(0o755)
    (tmp_path / "env.sh").write_text("")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "VULTUS_ROOT": str(tmp_path)}
    for script in (sky["run"], " && ".join(dstack["commands"])):
        done = subprocess.run(["bash", "-c", script], env=environment, check=False)
        assert done.returncode == ends
    calls = (tmp_path / "calls").read_text().splitlines()
    assert sum(call.startswith("run ") for call in calls) == 2
    assert calls.count("models fetch free") == 2, "real faces need the pack"


def test_the_dockerfile_has_only_instructions_that_exist() -> None:
    text = (POD / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert lines[0].startswith("FROM ") and len(lines) >= 8
    assert {line.split()[0] for line in lines} <= DOCKER_WORDS
    assert all(bash_takes(line.removeprefix("RUN ")) for line in lines if line.startswith("RUN"))
