"""What the end of a command means; logs that do not grow; limits; settings. All pure or nearly so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from vultus.core.clock import FakeClock
from vultus.core.errors import SpecError
from vultus.jobs.guards import Guards
from vultus.jobs.launch import record_environment
from vultus.jobs.logs import rotate, tail
from vultus.jobs.processes import Process
from vultus.jobs.records import Exit, JobSpec, JobState, Limits, Phase
from vultus.jobs.settings import load_settings
from vultus.jobs.verdicts import PAUSE_MAX_S, judge_end

RUNNING = JobState(Phase.RUNNING, attempt=3, restarts=2, fraction=10.0)


@pytest.mark.parametrize(
    ("last", "phase", "code"),
    [
        (Exit(3, 0), Phase.DONE, 0),
        (Exit(3, 1), Phase.DONE, 1),
        (Exit(3, 2, "", ("vultus: few pictures",)), Phase.FAILED, 2),
        (Exit(3, 2, "KeyError: 'x'"), Phase.FAILED, 2),
        (Exit(3, 1, "KeyError: 'x'"), Phase.FAILED, 1),
        (Exit(3, 130), Phase.PAUSING, None),
        (None, Phase.PAUSING, None),
    ],
)
def test_ends(last: Exit | None, phase: Phase, code: int | None) -> None:
    verdict = judge_end(RUNNING, last, 10.0)
    assert (verdict.phase, verdict.code) == (phase, code)


def test_restarts_count_only_without_progress_and_the_pause_grows_to_a_minute() -> None:
    assert judge_end(RUNNING, None, 11.0).restarts == 1
    assert judge_end(RUNNING, None, 11.0).pause_s == 0.0
    assert judge_end(RUNNING, None, 10.0).restarts == 3
    pauses = [
        judge_end(RUNNING.changed(restarts=n), None, 0.0).pause_s for n in (0, 1, 2, 3, 4, 20)
    ]
    assert pauses == [0.0, 1.0, 2.0, 4.0, 8.0, PAUSE_MAX_S]


def test_records_survive_their_files() -> None:
    spec = JobSpec(
        "7",
        ("run", "a b"),
        "/w",
        "/p",
        {"A": "b"},
        1.5,
        card="any",
        limits=Limits(deadline_at=9.0, restarts_max=1),
    )
    again = JobSpec.from_json(json.loads(json.dumps({**spec.to_json(), "from_a_later_version": 1})))
    assert again == spec
    state = JobState(Phase.PAUSING, 4, 1, Process(3, 99, "boot"), "why", None, 1.0, 2.0)
    assert JobState.from_json(json.loads(json.dumps(state.to_json()))) == state
    assert [p for p in Phase if p.is_finished] == [Phase.DONE, Phase.FAILED, Phase.STOPPED]


def test_secrets_are_not_recorded() -> None:
    given = {
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "0",
        "HF_HUB_OFFLINE": "1",
        "HF_TOKEN": "hf_x",
        "VULTUS_NOTIFY_SECRET": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "SOMETHING": "x",
        "VULTUS_CARD": "GPU-1",
        "VULTUS_PROGRESS": "x",
    }
    assert set(record_environment(given)) == {"PATH", "CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE"}


def test_a_grown_log_is_moved_aside_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "out.log"
    with log.open("ab", buffering=0) as writer:
        for number in range(5):
            writer.write(f"line {number}\n".encode() * 50)
            assert rotate(log, most_bytes=100, kept=3)
            assert not rotate(log, most_bytes=100)
        writer.write(b"last\rdrawn again\n")
    kept = sorted(p.name for p in tmp_path.iterdir())
    assert kept == ["out.log", "out.log.1", "out.log.2", "out.log.3"]
    assert log.read_bytes() == b"last\rdrawn again\n", "it goes on at the start of the file"
    assert "line 4" in (tmp_path / "out.log.1").read_text()
    assert "line 2" in (tmp_path / "out.log.3").read_text()
    assert tail(log) == ["last", "drawn again"] and tail(tmp_path / "absent") == []


def _guards(clock: FakeClock, folder: Path, **limits: Any) -> Guards:
    spec = JobSpec("1", ("run", "."), str(folder), "/p", {}, 0.0, limits=Limits(**limits))
    return Guards(spec, clock)


def test_a_missed_deadline_stops(tmp_path: Path) -> None:
    clock = FakeClock()
    guards = _guards(clock, tmp_path, deadline_at=clock.now() + 60, disk_free_min_gib=0.0)
    assert guards.look() == "" and guards.event == ""
    clock.advance(61)
    assert "deadline missed" in guards.look() and guards.event == "deadline"


def test_a_disk_that_gets_full_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guards = _guards(FakeClock(), tmp_path, disk_free_min_gib=2.0)
    real = shutil.disk_usage(tmp_path)
    free = {"bytes": 3 * 2**30}
    monkeypatch.setattr(
        "vultus.jobs.guards.shutil.disk_usage", lambda path: real._replace(free=free["bytes"])
    )
    assert guards.look() == ""
    free["bytes"] = 2**30
    assert "1.00 GiB are free" in guards.look() and guards.event == "disk"


def test_a_balance_that_runs_out_stops_and_one_that_is_not_told_does_not(tmp_path: Path) -> None:
    clock = FakeClock()
    account = tmp_path / "account"
    account.write_text("$12.5 left\n")
    guards = _guards(
        clock,
        tmp_path,
        balance_min=5.0,
        balance_command=f"cat {account}",
        disk_free_min_gib=0.0,
    )
    assert guards.look() == ""
    account.write_text("4.99\n")
    assert guards.look() == "", "asked every five minutes only"
    clock.advance(301)
    assert "4.99, below 5" in guards.look() and guards.event == "balance"
    account.unlink()
    clock.advance(301)
    assert guards.look() == ""


def test_settings_of_the_machine(home: Path) -> None:
    assert load_settings().comfyui.when_found == "wait"
    (home / "jobs.toml").write_text(
        '[comfyui]\nwhen_found = "interrupt"\n[guards]\ndeadline_h = 8\n'
    )
    assert load_settings().comfyui.when_found == "interrupt"
    assert load_settings().guards.deadline_h == 8
    (home / "jobs.toml").write_text('[comfyui]\nwhen_found = "kill"\n[guard]\n')
    with pytest.raises(SpecError) as caught:
        load_settings()
    assert len(caught.value.faults) == 2
