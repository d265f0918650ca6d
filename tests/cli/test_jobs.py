"""`vultus jobs`, `--detach` and `vultus script`, as a user types them."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vultus.cli.main import NOUNS, build_parser, main
from vultus.cli.wording import without_detaching
from vultus.jobs import fake_cards
from vultus.jobs.folder import find, list_jobs
from vultus.jobs.records import Limits
from vultus.studies.drive import drive
from vultus.studies.workspace import Workspace
from vultus.testing.jobs import diary, end_all, make_job, plant_python, wait_finished, wait_until
from vultus.testing.planted import make_workspace


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("VULTUS_HOME", str(home))
    monkeypatch.setenv("VULTUS_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("VULTUS_PROBE", "none")
    request.addfinalizer(lambda: end_all(home))
    return plant_python(tmp_path / "bin")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = make_workspace(tmp_path_factory.mktemp("world") / "ada", pictures=20)
    drive(Workspace(folder), inline=True, quiet=True)
    return folder


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_every_long_command_can_be_detached() -> None:
    long = {
        "run",
        "demo",
        "calibrate",
        "render",
        "score",
        "script",
        "tools install",
        "models fetch",
    }
    long |= {
        f"dataset {word}" for word in ["check", "ingest", "dedupe", "audit", "coverage", "caption"]
    }
    long |= {"dataset views", "dataset frames", "faces verify"}
    found = set()
    waiting: list[tuple[str, argparse.ArgumentParser]] = [("", build_parser())]
    while waiting:
        name, parser = waiting.pop()
        if "--detach" in parser._option_string_actions:
            found.add(name)
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                waiting += [(f"{name} {w}".strip(), p) for w, p in action.choices.items()]
    assert found >= long
    assert not {"jobs list", "doctor", "models list"} & found


def test_what_a_job_runs_is_the_line_without_the_options_of_jobs() -> None:
    line = "run ada --detach --card 0 --json --comfyui=wait --deadline-h 8 --quiet"
    assert without_detaching(line.split()) == ["run", "ada", "--json", "--quiet"]


@pytest.mark.parametrize("option", ["--deadline-h=8", "--card=any", "--comfyui=wait"])
def test_options_of_a_job_are_refused_without_detach(
    python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    folder = make_workspace(tmp_path / "ada", pictures=20)
    name = option.partition("=")[0]
    for words in ([option], option.split("=")):
        assert main(["run", str(folder), *words]) == 2
        err = capsys.readouterr().err
        assert f"{name} would do nothing" in err and "expected: --detach" in err
        assert f"next: vultus run {folder} {' '.join(words)} --detach" in err
    assert not (folder / ".vultus").exists() and list_jobs() == []
    plan = tmp_path / "plan.toml"
    plan.write_text(f'commands = ["run ada {option}"]\n')
    assert main(["script", str(plan)]) == 2
    assert f"{name}: give it to the plan" in capsys.readouterr().err


@pytest.mark.parametrize("hours", ["-1", "nan", "inf"])
def test_a_deadline_that_is_none_is_refused(
    python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], hours: str
) -> None:
    assert main(["run", str(tmp_path), "--detach", f"--deadline-h={hours}"]) == 2
    assert "is no number of hours" in capsys.readouterr().err
    assert list_jobs() == []


@pytest.mark.slow
def test_a_job_that_missed_its_deadline_is_resumed_with_a_new_one(
    python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "w" / "work"
    limits = Limits(deadline_at=time.time() - 60)
    job = make_job(python, ["work", str(work), "2", "0"], tmp_path / "w", limits=limits)
    assert wait_finished(job) == "stopped" and "deadline missed" in job.state.reason
    assert main(["jobs", "resume", "1"]) == 2
    err = capsys.readouterr().err
    assert "deadline of job 1 has passed" in err
    assert "next: vultus jobs resume 1 --deadline-h 8" in err
    assert main(["jobs", "follow", "1"]) == 130
    assert "go on: vultus jobs resume 1 --deadline-h 8" in capsys.readouterr().out
    assert main(["jobs", "resume", "1", "--deadline-h=nan"]) == 2
    assert main(["jobs", "resume", "--all", "--deadline-h", "2"]) == 2
    assert job.state.phase.value == "stopped"
    (work).mkdir(parents=True, exist_ok=True)
    (work / "hold").touch()
    assert main(["jobs", "resume", "1", "--deadline-h", "2"]) == 0
    wait_until((work / "diary").exists)
    left_s = (job.spec.limits.deadline_at or 0) - time.time()
    assert 7000 < left_s <= 7200
    capsys.readouterr()
    assert main(["jobs", "resume", "1", "--deadline-h", "3"]) == 2
    assert "is under way" in capsys.readouterr().err
    assert main(["jobs", "stop", "1"]) == 0
    (work / "hold").unlink()
    assert main(["jobs", "resume", "1", "--deadline-h", "0"]) == 0
    assert wait_finished(job) == "done" and job.spec.limits.deadline_at is None


def test_a_command_becomes_a_job_and_is_followed_to_its_end(
    python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('commands = ["vultus models list", "models list --json"]\n')
    assert main(["script", str(plan), "--detach", "--deadline-h", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"job 1: vultus script {plan}"
    assert lines[1:] == ["follow  vultus jobs follow 1", "stop    vultus jobs stop 1"]
    assert main(["jobs", "follow", "last"]) == 0
    followed = capsys.readouterr().out
    assert "2 commands run" in followed and followed.rstrip().endswith("job 1: done")
    job = find("1")
    assert job.spec.words == ("script", str(plan)) and job.spec.limits.deadline_at is not None
    log = job.log.read_text()
    assert "1/2 vultus models list" in log and "2/2 vultus models list --json" in log
    assert main(["jobs", "list", "--json"]) == 0
    (row,) = told(capsys)["jobs"]
    assert row["standing"] == "done" and row["exit_code"] == 0


@pytest.mark.slow
def test_a_mistake_in_a_detached_command_shows_at_once_or_in_its_job(
    python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(tmp_path / "nobody"), "--detach"]) in (0, 2)
    job = find("last")
    assert wait_finished(job) == "failed"
    assert "there is no" in job.state.reason and "vultus init" in job.state.reason
    capsys.readouterr()
    assert main(["jobs", "follow", "1"]) == 2
    assert "go on: vultus jobs resume 1" in capsys.readouterr().out
    assert main(["run", "x", "--detach", "--card", "0"]) == 2
    assert "this machine has no graphics card" in capsys.readouterr().err


@pytest.mark.slow
def test_show_stop_and_resume(
    python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "w" / "work"
    work.mkdir(parents=True)
    (work / "hold").touch()
    job = make_job(python, ["work", str(work), "2", "0"], tmp_path / "w")
    wait_until((work / "diary").exists)
    assert main(["jobs", "show", "1"]) == 0
    shown = capsys.readouterr().out
    assert "standing  running" in shown and "attempt   1" in shown and str(job.log) in shown
    assert main(["jobs", "resume", "--all"]) == 0
    assert "nothing to resume" in capsys.readouterr().out
    assert main(["jobs", "stop", "1"]) == 0
    assert "job 1: stopped" in capsys.readouterr().out
    assert not job.is_at_work and job.state.reason == "stopped by hand"
    assert main(["jobs", "stop", "1"]) == 0, "it stands still already"
    (work / "hold").unlink()
    assert main(["jobs", "resume", "--all"]) == 0
    assert "nothing to resume" in capsys.readouterr().out, "what a person stopped stays stopped"
    assert main(["jobs", "resume", "1"]) == 0
    assert wait_finished(job) == "done" and diary(work)["step 0"] == 2


@pytest.mark.slow
def test_stop_where_nobody_looks_after_it(
    python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The worker of a dead supervisor is ended by its recorded number and start, a deaf one too."""
    script = Path(python)
    patched = "import vultus.jobs.attached as a; a.Attached._replace = lambda self: None\n    "
    script.write_text(
        script.read_text().replace("from vultus.testing", patched + "from vultus.testing")
    )
    work = tmp_path / "w" / "work"
    job = make_job(python, ["work", str(work), "600", "0.1"], tmp_path / "w")
    wait_until((work / "diary").exists)
    os.kill(int(job.supervisor_lock.read_text()), 9)
    wait_until(lambda: job.standing() == "unwatched")
    assert main(["jobs", "list"]) == 0
    assert "vultus jobs resume --all" in capsys.readouterr().out
    assert main(["jobs", "stop", "1"]) == 0
    assert job.standing() == "stopped" and not job.is_at_work


@pytest.mark.parametrize(
    ("machine", "card"),
    [
        ('executor = "auto"', "any"),
        ('executor = "local:2"', "any:2"),
        ('executor = "local:8"', "any:3"),
        ('executor = "local:2"\ndevice = "cpu"', ""),
        ('executor = "nobody"', "any"),
    ],
)
def test_a_run_queues_for_as_many_cards_as_its_plan_has_workers_for(
    python: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    machine: str,
    card: str,
) -> None:
    monkeypatch.setenv("VULTUS_PROBE", "fake")
    monkeypatch.setenv("VULTUS_FAKE_CARDS", str(tmp_path / "cards"))
    fake_cards.plant_cards(tmp_path / "cards", [24 * 2**30] * 3)
    folder = make_workspace(tmp_path / "ada", pictures=0)
    plan = folder / "vultus.toml"
    plan.write_text(plan.read_text().partition("[machine]")[0] + f"[machine]\n{machine}\n")
    main(["run", str(folder), "--detach", "--comfyui", "ignore"])
    assert find("last").spec.card == card
    main(["dataset", "check", str(folder), "--detach"])
    assert find("last").spec.card == "", "what works on the processor takes nobody's card"


def test_a_job_never_stops_the_comfyui_that_renders_for_it(
    python: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("VULTUS_PROBE", "fake")
    monkeypatch.setenv("VULTUS_FAKE_CARDS", str(tmp_path / "cards"))
    fake_cards.plant_cards(tmp_path / "cards", [24 * 2**30])
    folder = make_workspace(tmp_path / "ada", pictures=0)
    plan = folder / "vultus.toml"
    plan.write_text(plan.read_text().replace('renderer = "fake"', 'renderer = "comfyui"'))
    assert main(["run", str(folder), "--detach", "--comfyui", "wait"]) == 2
    assert "would stop the ComfyUI that renders" in capsys.readouterr().err
    assert list_jobs() == []
    main(["run", str(folder), "--detach"])
    assert find("last").spec.comfyui == "share"
    main(["run", str(folder), "--detach", "--comfyui", "ignore"])
    assert find("last").spec.comfyui == "ignore"


def test_a_damaged_job_is_told_beside_the_others(
    python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [make_job(python, ["say", "0"], tmp_path / "w") for _ in range(2)]
    assert [wait_finished(job) for job in jobs] == ["done", "done"]
    (jobs[0].path / "spec.json").write_text("garbage")
    assert main(["jobs", "list", "--json"]) == 0
    found = told(capsys)
    assert [row["id"] for row in found["jobs"]] == ["2"]
    assert [row["id"] for row in found["damaged"]] == ["1"]
    assert main(["jobs", "list"]) == 0
    assert "1  damaged: " in capsys.readouterr().out


def test_the_queue_of_cards(
    python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["jobs", "queue"]) == 0
    assert "no graphics card" in capsys.readouterr().out
    monkeypatch.setenv("VULTUS_PROBE", "fake")
    monkeypatch.setenv("VULTUS_FAKE_CARDS", str(tmp_path / "cards"))
    fake_cards.plant_cards(tmp_path / "cards", [24 * 2**30])
    assert main(["jobs", "queue", "--json"]) == 0
    (row,) = told(capsys)["cards"]
    assert row["free_mib"] == 24576 and row["held_by"] == "" and row["waiting"] == []


def test_unknown_jobs(python: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "list"]) == 0
    assert "no job was started yet" in capsys.readouterr().out
    for words in (["jobs", "show", "7"], ["jobs", "resume"], ["jobs", "resume", "1", "--all"]):
        assert main(words) == 2
    assert "vultus: " in capsys.readouterr().err
    assert list_jobs() == []


def test_every_fault_of_a_plan_is_told_before_anything_is_run(
    python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'commands = ["models list", "rnu ada", "run ada --detach", "script x.toml", "run \\"ada"]\n'
    )
    assert main(["script", str(plan)]) == 2
    err = capsys.readouterr().err
    assert "4 faults" in err and "commands[1]" in err and "commands[4]" in err
    plan.write_text("commands = []\n")
    assert main(["script", str(plan)]) == 2
    assert "commands is empty" in capsys.readouterr().err


@pytest.mark.slow
def test_a_plan_stops_at_a_failure_and_can_go_on_at_a_no(
    python: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('commands = ["models check absent.safetensors", "models list"]\n')
    assert main(["script", str(plan)]) == 2
    assert "command 1 of 2" in capfd.readouterr().err
    plan.write_text(
        'on_fault = "continue"\ncommands = ["models check absent.safetensors", "models list"]\n'
    )
    assert main(["script", str(plan)]) == 2
    assert "failed: vultus models check absent.safetensors" in capfd.readouterr().out


def _undecided_bar(folder: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """A bar at the score itself: neither bound is on one side of it."""
    main(["gate", str(folder), "--json"])
    bar = f"{json.loads(capfd.readouterr().out)['m10']['value']:.3f}"
    assert main(["gate", str(folder), "--bar", bar, "--json"]) == 2, "a shell is told 2"
    assert json.loads(capfd.readouterr().out)["decision"] == "undecided"
    return bar


@pytest.mark.slow
@pytest.mark.parametrize(("on_no", "ran"), [("continue", 3), ("stop", 1)])
@pytest.mark.parametrize("answer", ["no", "undecided"])
def test_a_no_and_an_undecided_gate_are_answers_of_a_plan(
    world: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    on_no: str,
    ran: int,
    answer: str,
) -> None:
    bar = {"no": "9.9", "undecided": _undecided_bar(world, capfd)}[answer]
    plan = tmp_path / "plan.toml"
    gate = f"gate {world} --bar {bar}"
    plan.write_text(
        f'on_no = "{on_no}"\ncommands = ["{gate}", "models list", "models list --json"]\n'
    )
    assert main(["script", str(plan), "--json"]) == 1
    told = capfd.readouterr()
    said = json.loads(told.out)
    assert [one["answer"] for one in said["ran"]] == [answer, "yes", "yes"][:ran]
    assert len(said["not_run"]) == 3 - ran
    assert "at a bar of" in told.err, "the results of its commands"


def test_help_of_every_command_is_light() -> None:
    """0.2 s of CPU: what could cost more is an import, so those are counted (bench-jobs measures)."""
    program = (
        "import json, sys\nfrom vultus.cli.main import build_parser\n"
        "build_parser().format_help(); print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    modules = json.loads(done.stdout)
    assert not [name for name in modules if name.startswith("vultus.jobs")]
    assert "jobs" in NOUNS and "script" in NOUNS
