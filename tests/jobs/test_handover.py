"""ComfyUI makes room and comes back: free bytes measured, its command line identical, whatever happened."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from vultus.core.clock import SystemClock
from vultus.core.errors import CardBusyError, JobError, NeighbourError
from vultus.core.files import write_json
from vultus.jobs import fake_cards
from vultus.jobs.comfyui_process import capture, find, restart, stop
from vultus.jobs.handover import clear_the_card, debts, pay_back
from vultus.jobs.launch import resume_all
from vultus.jobs.settings import ComfySpec
from vultus.testing.jobs import make_job, supervisor_pid, wait_finished, wait_until
from vultus.testing.neighbour import HELD, RESIDUE, TOTAL, Neighbour, graph, neighbour

pytestmark = pytest.mark.slow


@pytest.fixture
def machine(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VULTUS_PROBE", "fake")
    monkeypatch.setenv("VULTUS_FAKE_CARDS", str(tmp_path / "cards"))
    return home


def settle(home: Path, one: Neighbour, *lines: str) -> None:
    """Write jobs.toml for this neighbour."""
    told = "\n".join(lines)
    (home / "jobs.toml").write_text(
        f'[comfyui]\nurl = "{one.server.url}"\n{told}\n[card]\nwait_min = 0.0\n'
    )


def work(folder: Path, steps: int = 2, pause_s: str = "0.1") -> list[str]:
    return ["work", str(folder / "work"), str(steps), pause_s]


def test_it_makes_room_and_comes_back_as_it_was(machine: Path, python: str, tmp_path: Path) -> None:
    with neighbour(tmp_path) as one:
        settle(machine, one)
        before, argv = one.command_line(), one.server.argv()
        first = one.pid()
        assert one.free_bytes() == TOTAL - HELD
        hold = tmp_path / "w" / "work" / "hold"
        hold.parent.mkdir(parents=True)
        hold.touch()
        job = make_job(python, work(tmp_path / "w"), tmp_path / "w", card="any")
        wait_until((tmp_path / "w" / "work" / "diary").exists, job.supervisor_log.read_text())
        assert one.free_bytes() == TOTAL, "measured free while the training runs"
        assert not one.server.is_healthy()
        assert job.state.card == one.uuid
        hold.unlink()
        assert wait_finished(job) == "done"
        assert one.server.is_healthy() and one.pid() != first
        assert one.command_line() == before and one.server.argv() == argv
        assert not job.owed_file.exists()
        assert "MiB measured free" in job.supervisor_log.read_text()


@pytest.mark.parametrize("how", ["failed", "worker killed", "both killed"])
def test_it_comes_back_when_the_training_does_not(
    machine: Path, python: str, tmp_path: Path, how: str
) -> None:
    with neighbour(tmp_path) as one:
        settle(machine, one)
        before = one.command_line()
        words = ["say", "2"] if how == "failed" else work(tmp_path / "w", 2, "0.3")
        job = make_job(python, words, tmp_path / "w", card="0")
        if how != "failed":
            wait_until((tmp_path / "w" / "work" / "diary").exists)
            worker = job.state.worker
            assert worker is not None
            if how == "both killed":
                os.kill(supervisor_pid(job), signal.SIGKILL)
            os.kill(worker.pid, signal.SIGKILL)
        if how == "both killed":
            wait_until(lambda: job.standing() == "lost")
            assert [owed.url for owed in debts(job.owed_file)] == [one.server.url]
            resume_all()
        assert wait_finished(job) == ("failed" if how == "failed" else "done")
        assert one.server.is_healthy() and one.command_line() == before
        assert not job.owed_file.exists()


def test_a_comfyui_that_renders_for_us_frees_its_models_and_goes_on(
    machine: Path, tmp_path: Path
) -> None:
    probe = fake_cards.FakeProbe(tmp_path / "cards")
    with neighbour(tmp_path) as one:
        (card,) = probe.cards()
        free = clear_the_card(
            card,
            probe,
            int(0.9 * TOTAL),
            spec=ComfySpec(url=one.server.url),
            way="share",
            owed_file=tmp_path / "owed.json",
            patience_s=0.0,
            clock=SystemClock(),
            breathe=lambda: None,
        )
        assert free == one.free_bytes() > TOTAL - HELD
        assert one.server.is_healthy() and not (tmp_path / "owed.json").exists()


def test_a_queue_is_waited_for_or_interrupted_and_given_back(machine: Path, tmp_path: Path) -> None:
    probe = fake_cards.FakeProbe(tmp_path / "cards")
    owed = tmp_path / "owed.json"
    with neighbour(tmp_path, "--step-s", "0.05") as one:
        (card,) = probe.cards()
        for name in ("first", "second"):
            one.server.submit(graph(name, steps=60), name, client_id="someone")
        wait_until(lambda: len(one.server.queue().running) == 1)

        def clear(way: str, minutes: float) -> int:
            spec = ComfySpec(url=one.server.url, queue_wait_min=minutes)
            return clear_the_card(
                card,
                probe,
                int(0.9 * TOTAL),
                spec=spec,
                way=way,
                owed_file=owed,
                patience_s=0.0,
                clock=SystemClock(),
                breathe=lambda: None,
            )

        with pytest.raises(CardBusyError, match="2 prompts"):
            clear("wait", 0.0)
        with pytest.raises(CardBusyError, match="refuse"):
            clear("refuse", 0.0)
        assert one.server.is_healthy() and not owed.exists()
        assert clear("interrupt", 0.0) == TOTAL
        kept = [entry[1] for entry in debts(owed)[0].prompts]
        assert sorted(kept) == ["first", "second"]
        spec = ComfySpec(url=one.server.url, healthy_within_s=60)
        assert pay_back(owed, spec, clock=SystemClock()) == []
        known = set(one.server.queue().ids)
        assert known == {"first", "second"}, "its prompts are back under their own ids"
        assert pay_back(owed, spec, clock=SystemClock()) == []


def test_memory_that_somebody_else_holds_is_refused_and_comfyui_is_not_left_stopped(
    machine: Path, python: str, tmp_path: Path
) -> None:
    with neighbour(tmp_path) as one:
        settle(machine, one)
        fake_cards.hold(one.cards, one.uuid, 6 * 2**30)  # this test is the notebook
        before = one.command_line()
        path = machine.parent / "w"
        import vultus.jobs.handover as handover

        assert handover.FREED_WITHIN_S >= 30
        job = make_job(python, work(path), path, card="any", comfyui="refuse")
        assert wait_finished(job) == "failed"
        assert "a ComfyUI uses card 0" in job.state.reason
        job = make_job(python, work(path), path, card="any", comfyui="ignore")
        assert wait_finished(job) == "failed"
        assert "10240 of 24576 MiB free" in job.state.reason
        assert "21.6" not in job.state.reason and "MiB measured free" in job.state.reason
        assert not (path / "work" / "diary").exists(), "nothing was started"
        assert one.command_line() == before


def test_free_is_a_hint_and_bytes_are_the_test(machine: Path, tmp_path: Path) -> None:
    probe = fake_cards.FakeProbe(tmp_path / "cards")
    with neighbour(tmp_path) as one:
        (card,) = probe.cards()
        spec = ComfySpec(url=one.server.url, stop_always=False)
        owed = tmp_path / "owed.json"

        def clear(need_bytes: int) -> int:
            return clear_the_card(
                card,
                probe,
                need_bytes,
                spec=spec,
                way="wait",
                owed_file=owed,
                patience_s=0.0,
                clock=SystemClock(),
                breathe=lambda: None,
            )

        first = one.pid()
        assert clear(TOTAL - RESIDUE) == TOTAL - RESIDUE
        assert one.pid() == first and not owed.exists(), "it freed enough and runs on"
        import vultus.jobs.handover as handover

        handover_s, handover.FREE_HINT_WITHIN_S = handover.FREE_HINT_WITHIN_S, 1.0
        try:
            assert clear(TOTAL - RESIDUE // 2) == TOTAL
        finally:
            handover.FREE_HINT_WITHIN_S = handover_s
        assert not one.server.is_healthy() and owed.exists(), "the residue was too much"
        assert pay_back(owed, spec, clock=SystemClock()) == []


def test_a_restart_that_fails_is_tried_again(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vultus.jobs.handover.FIRST_PAUSE_S", 0.5)
    folder, aside = tmp_path / "comfy", tmp_path / "being installed"
    folder.mkdir()
    owed, told = tmp_path / "owed.json", list[str]()
    with neighbour(folder) as one:
        before = one.command_line()
        found = capture(one.server)
        write_json(owed, {"owed": [found.to_json()]})
        stop(found)
        folder.rename(aside)  # its working folder is gone: every start ends at once
        back = threading.Timer(1.2, aside.rename, [folder])
        back.start()
        spec = ComfySpec(url=one.server.url, healthy_within_s=60)
        assert pay_back(owed, spec, clock=SystemClock(), tell=told.append) == []
        back.join()
        assert one.command_line() == before and not owed.exists()
    assert [line for line in told if "tried again in 0.5 s" in line], told
    assert "is back" in told[-1]


def test_one_that_does_not_hear_is_killed_and_found_again(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vultus.jobs.comfyui_process.TERM_WITHIN_S", 0.3)
    with neighbour(tmp_path, "--deaf") as one:
        assert [server.url for server in find(one.server.url)] == [one.server.url]
        assert one.server.url in [server.url for server in find()], "by what it looks like"
        found = capture(one.server)
        assert list(found.argv) == one.argv and found.folder == str(tmp_path)
        assert found.log == str(tmp_path / "comfy.log")
        stop(found)
        assert not one.server.is_healthy()
        again = restart(found, healthy_within_s=60)
        assert again.pid == one.pid() and again != found.process
        assert restart(found, healthy_within_s=60) == again, "one that is back is left alone"


def test_one_that_something_restarts_is_not_fought_with(machine: Path, tmp_path: Path) -> None:
    """A shell loop brings it back: that is told, with the process that does it."""
    import subprocess
    import sys

    from vultus.jobs.comfyui_server import ComfyServer
    from vultus.testing.jobs import SOURCE
    from vultus.testing.neighbour import command, free_port

    (uuid,) = fake_cards.plant_cards(tmp_path / "cards", [TOTAL])
    port = free_port()
    loop = f"import subprocess\nwhile True: subprocess.call({command(tmp_path, port, uuid)!r})"
    nanny = subprocess.Popen(
        [sys.executable, "-c", loop],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        start_new_session=True,
    )
    try:
        server = ComfyServer(f"http://127.0.0.1:{port}")
        wait_until(server.is_healthy)
        with pytest.raises(NeighbourError, match="something restarts it"):
            stop(capture(server), clock=_Patient())
    finally:
        os.killpg(nanny.pid, signal.SIGKILL)
        nanny.wait()


class _Patient(SystemClock):
    """Gives a respawn on a busy machine the time it needs: seconds count a tenth."""

    def monotonic(self) -> float:
        return time.monotonic() / 10


def test_a_supervised_one_is_stopped_by_its_supervisor(machine: Path, tmp_path: Path) -> None:
    """A stand-in for supervisord: it restarts what dies, and obeys a supervisorctl beside it."""
    import subprocess
    import sys

    from vultus.jobs.comfyui_server import ComfyServer
    from vultus.testing.jobs import SOURCE
    from vultus.testing.neighbour import command, free_port

    (uuid,) = fake_cards.plant_cards(tmp_path / "cards", [TOTAL])
    port = free_port()
    bin_folder = tmp_path / "bin2"
    bin_folder.mkdir()
    (bin_folder / "supervisord").write_text(
        f"#!{sys.executable}\n"
        "import os, pathlib, subprocess, time\n"
        "here = pathlib.Path(__file__).parent\n"
        "env = dict(os.environ, SUPERVISOR_PROCESS_NAME='comfyui', SUPERVISOR_GROUP_NAME='comfyui')\n"
        "while True:\n"
        "    if not (here / 'stopped').exists():\n"
        f"        child = subprocess.Popen({command(tmp_path, port, uuid)!r}, env=env)\n"
        "        while child.poll() is None:\n"
        "            if (here / 'stopped').exists(): child.terminate()\n"
        "            time.sleep(0.02)\n"
        "    time.sleep(0.02)\n"
    )
    (bin_folder / "supervisorctl").write_text(
        f"#!{sys.executable}\n"
        "import pathlib, sys\n"
        "here = pathlib.Path(__file__).parent\n"
        "with (here / 'calls').open('a') as calls: print(*sys.argv[1:], file=calls)\n"
        "if sys.argv[-2] == 'stop': (here / 'stopped').touch()\n"
        "else: (here / 'stopped').unlink()\n"
    )
    for path in bin_folder.iterdir():
        path.chmod(0o755)
    nanny = subprocess.Popen(
        [str(bin_folder / "supervisord"), "-c", "some.conf"],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        start_new_session=True,
    )
    try:
        server = ComfyServer(f"http://127.0.0.1:{port}")
        wait_until(server.is_healthy)
        found = capture(server)
        assert found.program == "comfyui:comfyui"
        stop(found)
        assert not server.is_healthy()
        restart(found, healthy_within_s=60)
        calls = (bin_folder / "calls").read_text().splitlines()
        assert calls == ["-c some.conf stop comfyui:comfyui", "-c some.conf start comfyui:comfyui"]
    finally:
        os.killpg(nanny.pid, signal.SIGKILL)
        nanny.wait()


def test_a_note_that_cannot_be_read_is_no_receipt(tmp_path: Path) -> None:
    owed = tmp_path / "owed.json"
    assert debts(owed) == []
    owed.write_text("{torn")
    with pytest.raises(JobError, match="cannot be read"):
        debts(owed)
    with pytest.raises(JobError, match="cannot be read"):
        pay_back(owed, ComfySpec(), clock=SystemClock())
    assert owed.read_text() == "{torn"
