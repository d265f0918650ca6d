"""Alive means locked: exact, across processes, and gone with its holder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vultus.core.errors import BusyError
from vultus.core.locks import Lock, held, is_held

HOLDER = """
import sys
from pathlib import Path
from vultus.core.locks import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lock_is_held_for_the_length_of_the_block(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "a"
    assert not is_held(path)
    with held(path):
        assert is_held(path)
    assert not is_held(path)


def test_another_process_is_kept_out_and_named(tmp_path: Path) -> None:
    process = holder(tmp_path / "a")
    try:
        assert is_held(tmp_path / "a")
        with pytest.raises(BusyError) as caught, held(tmp_path / "a"):
            raise AssertionError("two hold one lock")
        assert f"process {process.pid}" in str(caught.value)
        assert caught.value.next_command
    finally:
        process.communicate("go\n")
    with held(tmp_path / "a"):
        pass


def test_sigkill_frees_the_lock(tmp_path: Path) -> None:
    process = holder(tmp_path / "a")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not is_held(tmp_path / "a")
    with held(tmp_path / "a"):
        pass


def test_a_second_block_of_this_process_is_kept_out_too(tmp_path: Path) -> None:
    with held(tmp_path / "a"), pytest.raises(BusyError), held(tmp_path / "a"):
        raise AssertionError("two hold one lock")


def test_a_waiting_taker_gets_it_when_it_is_free(tmp_path: Path) -> None:
    process = holder(tmp_path / "a")
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    with held(tmp_path / "a", blocking=True):
        assert is_held(tmp_path / "a")
    process.communicate()


def test_shared_locks_go_together_but_not_with_an_exclusive_one(tmp_path: Path) -> None:
    with held(tmp_path / "a", shared=True), held(tmp_path / "a", shared=True):
        with pytest.raises(BusyError), held(tmp_path / "a"):
            raise AssertionError("exclusive beside shared")
        assert is_held(tmp_path / "a")
    with held(tmp_path / "a"):
        pass


def test_a_removed_lock_file_lets_nobody_in_twice(tmp_path: Path) -> None:
    first = Lock.take(tmp_path / "a")
    old = os.open(tmp_path / "a", os.O_RDWR)  # as a waiting taker would hold it open
    first.release(remove=True)
    assert not (tmp_path / "a").exists()
    second = Lock.take(tmp_path / "a")
    assert not os.path.samestat(os.fstat(old), (tmp_path / "a").stat())
    assert is_held(tmp_path / "a")
    os.close(old)
    second.release()
    second.release()  # giving back twice is nothing


def test_an_abandoned_copy_leaves_the_owners_lock(tmp_path: Path) -> None:
    lock = Lock.take(tmp_path / "a")
    child = os.fork()
    if child == 0:
        lock.abandon()
        os._exit(0)
    os.waitpid(child, 0)
    assert is_held(tmp_path / "a")
    lock.release()
    assert not is_held(tmp_path / "a")


def test_release_frees_although_a_forked_child_has_a_copy(tmp_path: Path) -> None:
    lock = Lock.take(tmp_path / "a")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)  # lives, with its copy of the handle, until the parent closes the pipe
        os._exit(0)
    os.close(reader)
    lock.release()
    assert not is_held(tmp_path / "a")
    os.close(writer)
    os.waitpid(child, 0)


def test_a_child_that_inherited_the_lock_holds_on_when_ours_is_abandoned(tmp_path: Path) -> None:
    lock = Lock.take(tmp_path / "lock")
    child = subprocess.Popen(["sleep", "60"], pass_fds=[lock.fileno()])
    try:
        lock.abandon()
        assert is_held(tmp_path / "lock")
        with pytest.raises(BusyError):
            Lock.take(tmp_path / "lock")
    finally:
        child.kill()
        child.wait()
    assert not is_held(tmp_path / "lock")


def test_a_public_lock_may_be_taken_by_everybody(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        Lock.take(tmp_path / "mine").release()
        Lock.take(tmp_path / "card", public=True).release()
    finally:
        os.umask(before)
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "card").stat().st_mode & 0o777 == 0o666
