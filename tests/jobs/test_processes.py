"""A process is named by number, start and boot; families end whole, strangers are never hit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from vultus.jobs.processes import (
    end_family,
    family,
    identify,
    is_alive,
    read_stat,
    send,
    this_process,
)
from vultus.testing.jobs import wait_until

PARENT = (
    "import subprocess, sys, time;"
    "c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
    "print(c.pid, flush=True); time.sleep(60)"
)


def test_names_of_processes() -> None:
    me = this_process()
    assert me.pid == os.getpid() and is_alive(me) and identify(me.pid) == me
    assert not is_alive(replace(me, started=me.started + 1))
    assert not is_alive(replace(me, boot="another boot"))
    stat = read_stat(me.pid)
    assert stat is not None and stat.session == os.getsid(0) and stat.parent == os.getppid()


def test_a_signal_for_a_dead_namesake_hits_nobody() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        process = identify(child.pid)
        assert process is not None
        assert not send(replace(process, started=process.started - 1), signal.SIGKILL)
        assert child.poll() is None
        assert send(process, signal.SIGKILL)
        child.wait()
        assert not send(process, signal.SIGKILL) and identify(child.pid) is None
    finally:
        child.kill()
        child.wait()


def test_a_family_ends_whole() -> None:
    leader = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert leader.stdout is not None
    child = identify(int(leader.stdout.readline()))
    process = identify(leader.pid)
    assert child is not None and process is not None
    assert {one.pid for one in family(process)} == {leader.pid, child.pid}
    os.kill(leader.pid, signal.SIGKILL)
    leader.wait()
    assert is_alive(child), "an orphan of the group"
    assert end_family(process, signals=(), whole_session=True)
    wait_until(lambda: not is_alive(child))
    assert family(replace(process, boot="another boot")) == []


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    deaf = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"pathlib.Path({str(tmp_path / 'up')!r}).touch(); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", deaf])
    wait_until((tmp_path / "up").exists)
    process = identify(child.pid)
    assert process is not None
    assert end_family(process, signals=((signal.SIGTERM, 0.2),), reap=child.poll)
    assert child.wait() == -signal.SIGKILL


def test_a_group_that_it_does_not_lead_is_left_alone() -> None:
    """A start script often puts several services into one group."""
    service = subprocess.Popen(["sleep", "60"])
    neighbour = subprocess.Popen(["sleep", "60"])
    try:
        process = identify(service.pid)
        assert process is not None and read_stat(service.pid).group == os.getpgrp()  # type: ignore[union-attr]
        assert end_family(process, signals=((signal.SIGTERM, 5.0),), reap=service.poll)
        time.sleep(0.05)
        assert neighbour.poll() is None
    finally:
        for one in (service, neighbour):
            one.kill()
            one.wait()
