"""Whatever is killed, the job comes to its end, and at most the step that was under way is repeated."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vultus.core.errors import JobError
from vultus.core.locks import Lock, is_held
from vultus.jobs.folder import JobFolder, create
from vultus.jobs.launch import resume, resume_all
from vultus.jobs.processes import identify, read_stat
from vultus.jobs.records import Exit, Limits, Phase
from vultus.testing.jobs import (
    diary,
    make_job,
    supervisor_pid,
    wait_finished,
    wait_until,
)

STEPS = 6


def begin(python: str, folder: Path, at_step: int = 1) -> tuple[JobFolder, int]:
    """Start a planted job and return it with its worker's number once it has done some steps."""
    job = make_job(python, ["work", str(folder / "work"), str(STEPS), "0.3"], folder)
    wait_until(lambda: (folder / "work" / f"step-{at_step}").exists())
    worker = job.state.worker
    assert worker is not None
    return job, worker.pid


def check_whole(folder: Path, *, redone_at_most: int) -> None:
    seen = diary(folder / "work")
    assert {f"step {i}" for i in range(STEPS)} == set(seen), "every step was done"
    assert sum(seen.values()) <= STEPS + redone_at_most, seen


def test_a_job_runs_to_its_end_and_says_so(python: str, tmp_path: Path) -> None:
    job = make_job(python, ["work", str(tmp_path / "w" / "work"), "2", "0"], tmp_path / "w")
    assert wait_finished(job) == "done"
    state = job.state
    assert state.exit_code == 0 and state.attempt == 1 and state.worker is None
    assert job.progress()["fraction"] == 1.0 and "100 %" in job.progress()["line"]
    assert not job.is_at_work


@pytest.mark.slow
def test_it_belongs_to_no_terminal(python: str, tmp_path: Path) -> None:
    job, worker = begin(python, tmp_path / "w", 0)
    mine = read_stat(os.getpid())
    for pid in (worker, supervisor_pid(job)):
        stat = read_stat(pid)
        assert mine is not None and stat is not None
        assert stat.session not in (mine.session, 0)
        assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")
        assert str(Path(f"/proc/{pid}/fd/1").readlink()).startswith(str(job.path))
    assert read_stat(worker).session == worker  # type: ignore[union-attr]
    assert wait_finished(job) == "done"
    check_whole(tmp_path / "w", redone_at_most=0)


def test_worker_killed(python: str, tmp_path: Path) -> None:
    job, worker = begin(python, tmp_path / "w")
    os.kill(worker, signal.SIGKILL)
    assert wait_finished(job) == "done"
    assert job.state.attempt == 2
    check_whole(tmp_path / "w", redone_at_most=1)


def test_supervisor_killed_is_replaced_and_adopts(python: str, tmp_path: Path) -> None:
    job, worker = begin(python, tmp_path / "w", 0)
    hold = tmp_path / "w" / "work" / "hold"
    hold.touch()
    first = supervisor_pid(job)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: job.has_supervisor and supervisor_pid(job) != first)
    assert job.is_at_work and identify(worker) is not None
    wait_until(lambda: "adopted" in job.supervisor_log.read_text())
    hold.unlink()
    assert wait_finished(job) == "done"
    assert job.state.attempt == 1 and job.state.exit_code == 0
    check_whole(tmp_path / "w", redone_at_most=0)


@pytest.mark.slow
def test_a_worker_that_ends_just_after_its_supervisor_is_not_forgotten(
    python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the hand-over drill: the worker was done before it looked again."""
    attached_py = "import vultus.jobs.attached as a; a.LOOK_EVERY_S = 3600.0\n"
    script = Path(python)
    script.write_text(
        script.read_text().replace("from vultus.testing", attached_py + "    from vultus.testing")
    )
    job, _ = begin(python, tmp_path / "w")
    os.kill(supervisor_pid(job), signal.SIGKILL)
    assert wait_finished(job) == "done"
    assert job.state.attempt == 1 and job.state.exit_code == 0
    check_whole(tmp_path / "w", redone_at_most=0)


@pytest.mark.slow
def test_ended_while_nobody_looked_is_not_done_again(python: str, tmp_path: Path) -> None:
    job, worker = begin(python, tmp_path / "w")
    first = supervisor_pid(job)
    hold = tmp_path / "w" / "work" / "hold"
    hold.touch()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not is_held(job.supervisor_lock) or supervisor_pid(job) != first)
    job.write_exit(Exit(1, 0))
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: job.standing() in ("lost", "done", "running"))
    resume_all()
    assert wait_finished(job) == "done"
    assert job.state.attempt == 1 and job.state.exit_code == 0


def test_reboot_leaves_a_lost_job_that_resume_all_finds(python: str, tmp_path: Path) -> None:
    job, worker = begin(python, tmp_path / "w")
    os.kill(supervisor_pid(job), signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: job.standing() == "lost")
    assert [one.id for one in resume_all()] == [job.id]
    assert resume_all() == []
    assert wait_finished(job) == "done"
    check_whole(tmp_path / "w", redone_at_most=1)


@pytest.mark.slow
def test_session_of_the_starter_is_told_to_end(python: str, tmp_path: Path) -> None:
    """The starter is a session of its own here; every process in it gets SIGTERM, then SIGHUP."""
    words = repr(["work", str(tmp_path / "w" / "work"), str(STEPS), "0.2"])
    program = (
        "import os, time; from pathlib import Path; from vultus.testing.jobs import make_job;"
        f"make_job({python!r}, {words}, Path({str(tmp_path / 'w')!r})); time.sleep(60)"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program],
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    wait_until(lambda: (tmp_path / "w" / "work" / "step-0").exists())
    os.killpg(starter.pid, signal.SIGTERM)
    os.killpg(starter.pid, signal.SIGHUP)
    starter.wait()
    job = JobFolder(Path(os.environ["VULTUS_HOME"]) / "jobs" / "1")
    assert wait_finished(job) == "done"
    check_whole(tmp_path / "w", redone_at_most=0)


@pytest.mark.slow
def test_a_number_that_somebody_else_has_now_is_left_alone(python: str, tmp_path: Path) -> None:
    """After a reboot the recorded process number belongs to a stranger."""
    job, worker = begin(python, tmp_path / "w")
    state = job.state
    os.kill(supervisor_pid(job), signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: job.standing() == "lost")
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        assert state.worker is not None
        fake = {"attempt": 1, "pid": stranger.pid, "started": state.worker.started, "boot": "old"}
        (job.path / "worker.json").write_text(str(fake).replace("'", '"'))
        from dataclasses import replace

        job.write_state(state.changed(worker=replace(state.worker, pid=stranger.pid)))
        assert resume(job, now=0.0)
        assert wait_finished(job) == "done"
        assert stranger.poll() is None, "a stranger was ended"
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize(
    ("words", "phase", "code", "told"),
    [
        (["say", "1"], "done", 1, ""),
        (["say", "2"], "failed", 2, "planted line"),
        (["crash"], "failed", 2, "ZeroDivisionError: planted"),
    ],
)
def test_how_a_command_ended_is_kept(
    python: str, tmp_path: Path, words: list[str], phase: str, code: int, told: str
) -> None:
    job = make_job(python, words, tmp_path / "w")
    assert wait_finished(job) == phase
    assert job.state.exit_code == code and told in job.state.reason
    assert job.state.attempt == 1, "it was not tried again"


@pytest.mark.slow
def test_one_that_never_gets_on_is_given_up(python: str, tmp_path: Path) -> None:
    job = make_job(python, ["die"], tmp_path / "w", limits=Limits(restarts_max=2))
    assert wait_finished(job) == "failed"
    assert job.state.attempt == 3 and "without getting on" in job.state.reason


@pytest.mark.slow
@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_supervisor_told_to_end_leaves_the_job_to_be_resumed(
    python: str, tmp_path: Path, told: signal.Signals
) -> None:
    """A pod that shuts down sends TERM to everybody; somebody's `pkill -INT -f vultus` INT."""
    job, worker = begin(python, tmp_path / "w")
    os.kill(supervisor_pid(job), told)
    wait_until(lambda: job.standing() == "lost")
    assert identify(worker) is None and job.state.phase is Phase.PAUSING
    assert len(resume_all()) == 1
    assert wait_finished(job) == "done"
    check_whole(tmp_path / "w", redone_at_most=1)


@pytest.mark.slow
def test_a_worker_that_has_not_said_its_name_yet_is_adopted_not_failed(
    python: str, tmp_path: Path
) -> None:
    """Its supervisor was killed before it noted it; on a loaded machine a worker needs seconds for its name."""
    job = create(
        ["work", str(tmp_path / "w" / "work"), str(STEPS), "0.3"],
        folder=tmp_path,
        python=python,
        environment={},
        now=0.0,
    )
    lock = Lock.take(job.lock)
    words = [python, "-m", "vultus", *job.spec.words]
    late = f"import os, subprocess, time; time.sleep(3); os.execv({python!r}, {words!r})"
    environment = {**os.environ, "VULTUS_JOB": str(job.path), "VULTUS_ATTEMPT": "1"}
    worker = subprocess.Popen(
        [sys.executable, "-c", late],
        env=environment,
        pass_fds=[lock.fileno()],
        start_new_session=True,
    )
    lock.abandon()
    resume_all()
    wait_until(lambda: job.state.phase is not Phase.QUEUED)
    assert job.state.worker is not None and job.state.worker.pid == worker.pid
    worker.wait()
    assert wait_finished(job) == "done"
    check_whole(tmp_path / "w", redone_at_most=0)


@pytest.mark.slow
def test_a_word_longer_than_a_name_may_be_and_a_folder_that_is_gone(
    python: str, home: Path, tmp_path: Path
) -> None:
    """A prompt of 300 letters is one word; what cannot be started fails with its reason and holds nobody up."""
    long = make_job(python, ["say", "0", "x" * 300], tmp_path / "w")
    assert wait_finished(long) == "done"
    (tmp_path / "gone").mkdir()
    gone = create(["say", "0"], folder=tmp_path / "gone", python=python, environment={}, now=0.0)
    (tmp_path / "gone").rmdir()
    behind = create(["say", "0"], folder=tmp_path, python=python, environment={}, now=0.0)
    resume_all()
    assert wait_finished(gone) == "failed" and "No such file" in gone.state.reason
    assert wait_finished(behind) == "done"


def test_a_job_that_cannot_be_started_does_not_stop_the_boot_hook(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        create(["say", "0"], folder=tmp_path, python=sys.executable, environment={}, now=0.0)
    started: list[str] = []

    def start(job: JobFolder) -> None:
        if job.id == "2":
            raise JobError("job 2 did not start")
        started.append(job.id)

    monkeypatch.setattr("vultus.jobs.launch.start_supervisor", start)
    with pytest.raises(JobError, match=r"job 2 did not start.*2 were"):
        resume_all()
    assert started == ["1", "3"]
