"""Cards: measured by a probe, leased by a lock, queued for; who holds what is told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vultus.core.clock import FakeClock
from vultus.core.errors import CardBusyError, JobError, MissingExtraError
from vultus.core.locks import Lock, is_held
from vultus.jobs import fake_cards
from vultus.jobs.cards import PROBES, Card, choose_cards, no_cards, open_probe
from vultus.jobs.foreground import on_card
from vultus.jobs.holders import command_line, listening_ports, port_owner, users_of_device
from vultus.jobs.lease import free_or_refuse, lock_path, take, who_holds
from vultus.jobs.processes import identify
from vultus.jobs.room import waiting_for
from vultus.testing.cards import check_probe
from vultus.testing.jobs import make_job, supervisor_pid, wait_finished, wait_until

GIB = 2**30


def test_the_planted_probe_passes_the_exam(tmp_path: Path) -> None:
    fake_cards.plant_cards(tmp_path, [24 * GIB, 8 * GIB])

    @contextmanager
    def hold(uuid: str, held: int) -> Iterator[None]:
        child = subprocess.Popen(["sleep", "60"])
        fake_cards.hold(tmp_path, uuid, held, identify(child.pid))
        try:
            yield
        finally:
            child.kill()  # a real holder does not say goodbye either
            child.wait()

    check_probe(fake_cards.FakeProbe(tmp_path), hold)


def test_the_drivers_probe_passes_the_exam() -> None:
    if not Path("/dev/nvidiactl").exists():
        pytest.skip("no NVIDIA card here")
    check_probe(PROBES.get("nvml")())


def test_nvml_is_asked_as_it_wants_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library itself needs a driver; its calls are few and stand here."""
    from types import SimpleNamespace

    from vultus.jobs.nvml import NvmlProbe

    class NVMLError(Exception):
        pass

    def by_uuid(uuid: bytes) -> str:
        if uuid != b"GPU-1":
            raise NVMLError("not found")
        return "handle"

    memory = SimpleNamespace(total=24 * GIB, free=20 * GIB)
    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: "handle",
        nvmlDeviceGetHandleByUUID=by_uuid,
        nvmlDeviceGetMinorNumber=lambda handle: 3,
        nvmlDeviceGetUUID=lambda handle: b"GPU-1",
        nvmlDeviceGetName=lambda handle: "planted",
        nvmlDeviceGetMemoryInfo=lambda handle: memory,
    )
    check_probe(NvmlProbe(nvml))
    assert NvmlProbe(nvml).cards()[0].device_file == "/dev/nvidia3"


def test_machines_without_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_PROBE", "none")
    assert open_probe().cards() == ()
    with pytest.raises(JobError):
        no_cards().free_bytes("GPU-1")
    if "pynvml" not in sys.modules:
        try:
            import pynvml  # noqa: F401
        except ImportError:
            monkeypatch.setenv("VULTUS_PROBE", "nvml")
            with pytest.raises((MissingExtraError, ModuleNotFoundError)):
                open_probe()


def test_a_lease_ends_with_its_last_holder(home: Path) -> None:
    card = Card("GPU-1", 0, "planted", GIB, "")
    lease = take(card, "job 4: vultus run")
    with pytest.raises(CardBusyError, match=r"in use by job 4: vultus run \(process \d+\)"):
        take(card, "job 5")
    assert who_holds("GPU-1").startswith("job 4")
    child = subprocess.Popen(["sleep", "60"], pass_fds=[lease.fileno()])
    os.close(lease.fileno())  # as a kill -9 of the supervisor does
    lease.lock._handle = None
    with pytest.raises(CardBusyError):
        take(card, "job 5")
    child.kill()
    child.wait()
    take(card, "job 5").release()
    Lock.take(lock_path("GPU-1")).release()


def test_free_means_measured_twice(tmp_path: Path) -> None:
    (uuid,) = fake_cards.plant_cards(tmp_path, [10 * GIB])
    probe = fake_cards.FakeProbe(tmp_path)
    (card,) = probe.cards()
    clock = FakeClock()
    fake_cards.hold(tmp_path, uuid, 8 * GIB)
    with pytest.raises(CardBusyError, match="2048 of 10240 MiB free"):
        free_or_refuse(card, probe, 9 * GIB, clock=clock)
    asked = []

    def breathe() -> None:
        asked.append(probe.free_bytes(uuid))
        if len(asked) == 3:
            fake_cards.hold(tmp_path, uuid, 0)

    assert free_or_refuse(card, probe, 9 * GIB, patience_s=60, clock=clock, breathe=breathe) == (
        10 * GIB
    )
    assert len(asked) == 4, "three times too little, then enough, and once more to be sure"


def test_a_command_in_front_of_a_person_asks_and_without_one_refuses(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VULTUS_PROBE", "fake")
    monkeypatch.setenv("VULTUS_FAKE_CARDS", str(tmp_path / "cards"))
    uuids = fake_cards.plant_cards(tmp_path / "cards", [24 * GIB, 8 * GIB])
    clock = FakeClock()
    asked: list[str] = []

    def answers(*words: str) -> Callable[[str], str]:
        left = list(words)

        def ask(question: str) -> str:
            asked.append(question)
            return left.pop(0)

        return ask

    with on_card("auto", "vultus run", clock=clock) as uuid:
        assert uuid == uuids[0]
        with pytest.raises(CardBusyError) as caught, on_card("auto", "another", clock=clock):
            pass
        assert "in use by vultus run" in caught.value.what
        assert "--detach" in caught.value.next_command
        with on_card("cpu", "on the processor") as none:
            assert none == ""
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
        with on_card("auto", "on the other card", clock=clock) as other:
            assert other == uuids[1]
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with on_card("auto", "a run on two cards", lanes=2, clock=clock):
        for number in ("0", "1"):
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", number)
            with (
                pytest.raises(CardBusyError, match="a run on two cards"),
                on_card("auto", "one of them", clock=clock),
            ):
                pass
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    fake_cards.hold(tmp_path / "cards", uuids[0], 8 * GIB)
    with on_card("auto", "x", ask=answers("w", "g"), clock=clock):
        assert len(asked) == 2 and "16384 of 24576 MiB free" in asked[0]
    with pytest.raises(CardBusyError), on_card("auto", "x", ask=answers("q"), clock=clock):
        pass
    take(Card(uuids[0], 0, "p", GIB, ""), "the lease was given back").release()
    monkeypatch.setenv("VULTUS_CARD", uuids[0])
    with on_card("auto", "under a supervisor") as mine:
        assert mine == uuids[0]


def test_who_has_a_card_open_and_who_listens(tmp_path: Path) -> None:
    """A planted /proc: two processes, one with the card open; and the real one for a port."""
    for pid, name, target in ((11, "python", "/dev/nvidia0"), (12, "sleep", "/dev/nvidiactl")):
        place = tmp_path / str(pid)
        (place / "fd").mkdir(parents=True)
        (place / "fd" / "3").symlink_to(target)
        (place / "stat").write_text(f"{pid} (a ) b) S 1 {pid} {pid} " + "0 " * 15 + "77 0 0\n")
        (place / "cmdline").write_bytes(f"{name}\0main.py\0--api-key\0sk-1\0--token=abc\0".encode())
    (holder,) = users_of_device("/dev/nvidia0", tmp_path)
    assert holder.pid == 11 and "python main.py" in holder.text()
    assert "sk-1" not in holder.text() and "abc" not in holder.text(), "secrets are not told"
    assert users_of_device("", tmp_path) == []
    assert command_line(99, tmp_path) == ""
    program = (
        "import socket, time; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen();"
        "print(s.getsockname()[1], flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        assert port_owner(port) == child.pid and listening_ports(child.pid) == [port]
    finally:
        child.kill()
        child.wait()
    assert port_owner(port) is None


@pytest.mark.slow
def test_jobs_queue_for_a_card_in_the_order_they_came(
    home: Path, python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VULTUS_PROBE", "fake")
    monkeypatch.setenv("VULTUS_FAKE_CARDS", str(tmp_path / "cards"))
    fake_cards.plant_cards(tmp_path / "cards", [24 * GIB])
    cards = open_probe().cards()
    diary = tmp_path / "w" / "work"
    diary.mkdir(parents=True)
    (diary / "hold").touch()
    jobs = [
        make_job(
            python, ["work", str(diary), "1", "0"], tmp_path / "w", card="any", comfyui="ignore"
        )
    ]
    wait_until((diary / "diary").exists)
    for number in (1, 2):
        words = ["work", str(tmp_path / f"w{number}" / "work"), "1", "0"]
        jobs.append(make_job(python, words, tmp_path / f"w{number}", card="0", comfyui="ignore"))
    wait_until(lambda: len(waiting_for(cards[0], cards)) == 2)
    assert [job.id for job in waiting_for(cards[0], cards)] == [jobs[1].id, jobs[2].id]
    assert who_holds(cards[0].uuid).startswith(f"job {jobs[0].id}: vultus work")
    assert not (tmp_path / "w1" / "work").exists()
    os.kill(supervisor_pid(jobs[1]), 9)  # a dead one does not hold up those behind it
    (diary / "hold").unlink()
    assert wait_finished(jobs[0]) == "done" and wait_finished(jobs[2]) == "done"
    assert jobs[1].standing() == "lost" and jobs[2].state.card == cards[0].uuid


@pytest.mark.parametrize(
    ("wanted", "names", "count"),
    [
        ("any", "012", 1),
        ("any:2", "012", 2),
        ("all", "012", 3),
        ("2, 0", "02", 2),
        ("GPU-fake-1,1", "1", 1),
    ],
)
def test_the_cards_that_words_mean(tmp_path: Path, wanted: str, names: str, count: int) -> None:
    fake_cards.plant_cards(tmp_path, [GIB] * 3)
    wish = choose_cards(wanted, fake_cards.FakeProbe(tmp_path).cards())
    assert "".join(str(card.index) for card in wish.cards) == names and wish.count == count


@pytest.mark.parametrize("wanted", ["any:4", "any:0", "any:two", "0,7", "", "GPU-other", "0,,1"])
def test_cards_that_are_not_there_are_told(tmp_path: Path, wanted: str) -> None:
    fake_cards.plant_cards(tmp_path, [GIB] * 3)
    with pytest.raises(JobError, match="there is no card"):
        choose_cards(wanted, fake_cards.FakeProbe(tmp_path).cards())
    with pytest.raises(JobError, match="no graphics card"):
        choose_cards(wanted, ())


@pytest.mark.slow
def test_a_job_takes_several_cards_or_none(
    home: Path, python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One card is held: a job that wants two of two waits without holding the other one."""
    monkeypatch.setenv("VULTUS_PROBE", "fake")
    monkeypatch.setenv("VULTUS_FAKE_CARDS", str(tmp_path / "cards"))
    fake_cards.plant_cards(tmp_path / "cards", [24 * GIB, 16 * GIB])
    first, second = open_probe().cards()
    held = take(second, "a notebook")
    words = ["work", str(tmp_path / "w" / "work"), "1", "0"]
    hold = tmp_path / "w" / "work" / "hold"
    hold.parent.mkdir(parents=True)
    hold.touch()
    job = make_job(python, words, tmp_path / "w", card="any:2", comfyui="ignore")
    wait_until(lambda: "a notebook" in job.supervisor_log.read_text())
    assert not (tmp_path / "w" / "work" / "diary").exists()
    wait_until(lambda: not is_held(lock_path(first.uuid)))
    held.release()
    wait_until((tmp_path / "w" / "work" / "diary").exists)
    for card in (first, second):
        with pytest.raises(CardBusyError, match=f"job {job.id}"):
            take(card, "somebody else")
    killed = supervisor_pid(job)
    os.kill(killed, 9)  # the worker holds both on without its supervisor
    wait_until(lambda: identify(killed) is None)  # a worker that ended before that would miss it
    assert is_held(lock_path(first.uuid)) and is_held(lock_path(second.uuid))
    hold.unlink()
    assert wait_finished(job) == "done"
    assert job.state.card == f"{first.uuid},{second.uuid}"
    measured = (tmp_path / "w" / "work" / "free").read_text().split()
    assert measured == [str(24 * GIB), str(16 * GIB)], "each of its cards was free while it worked"
    wait_until(lambda: not is_held(lock_path(first.uuid)) and not is_held(lock_path(second.uuid)))


def two_cards_the_first_half_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Card, ...]:
    monkeypatch.setenv("VULTUS_PROBE", "fake")
    monkeypatch.setenv("VULTUS_FAKE_CARDS", str(tmp_path / "cards"))
    fake_cards.plant_cards(tmp_path / "cards", [24 * GIB, 24 * GIB])
    cards = open_probe().cards()
    fake_cards.hold(tmp_path / "cards", cards[0].uuid, 12 * GIB)
    return cards


@pytest.mark.slow
def test_a_card_that_a_notebook_fills_holds_nobody_up(
    home: Path, python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Card 0 is half full for good, its lock is free: two jobs for any card take card 1, one after the other."""
    cards = two_cards_the_first_half_full(tmp_path, monkeypatch)
    jobs = [
        make_job(
            python,
            ["work", str(tmp_path / f"w{i}" / "work"), "2", "0.2"],
            tmp_path / f"w{i}",
            card="any",
            comfyui="ignore",
        )
        for i in range(2)
    ]
    assert [wait_finished(job) for job in jobs] == ["done", "done"]
    assert {job.state.card for job in jobs} == {cards[1].uuid}


@pytest.mark.slow
def test_a_job_that_has_its_card_waits_for_its_memory_and_for_nobodys_turn(
    home: Path, python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Job 1 wants card 0 and no other, which is full; job 2 wants any and must not stand behind it."""
    cards = two_cards_the_first_half_full(tmp_path, monkeypatch)
    words = ["work", str(tmp_path / "w0" / "work"), "1", "0"]
    first = make_job(python, words, tmp_path / "w0", card="0", comfyui="ignore")
    wait_until(lambda: first.state.has_card)
    assert first.state.phase.value == "queued" and first.state.card == cards[0].uuid
    assert waiting_for(cards[0], cards) == []
    other = tmp_path / "another name of the home"
    other.symlink_to(home)
    monkeypatch.setenv("VULTUS_HOME", str(other))  # a job must not wait for itself either
    words = ["work", str(tmp_path / "w1" / "work"), "1", "0"]
    second = make_job(python, words, tmp_path / "w1", card="any", comfyui="ignore")
    assert wait_finished(second) == "done" and second.state.card == cards[1].uuid
    fake_cards.hold(tmp_path / "cards", cards[0].uuid, 0)
    assert wait_finished(first) == "done"
