"""Alive means locked: who works on something holds a kernel lock, and nobody else can.

A kernel lock (flock) ends with its process, whatever ended it: kill -9, a crash, a reboot. There
is no heartbeat to miss and no stale file to clean. What is written inside the lock file (a
process number) only serves the error message.

Works on local disks of Linux and macOS; network disks that do not carry flock are not supported.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vultus.core.errors import BusyError
from vultus.core.files import disk_errors

__all__ = ["Lock", "held", "is_held"]

# `is_held` takes the lock for microseconds; a taker who meets one tries again this often.
_TRIES, _PAUSE_S = 10, 0.005


class Lock:
    """One taken lock. Prefer `held`; this is for owners that outlive a block of code."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle: int | None = handle

    @classmethod
    def take(
        cls, path: Path, *, blocking: bool = False, shared: bool = False, public: bool = False
    ) -> Lock:
        """Take the lock at `path`. Raises BusyError if another holds it and `blocking` is off.

        `public` locks may be taken by every user of the machine.
        """
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            for attempt in range(_TRIES):
                handle = _try(path, blocking=blocking, shared=shared, public=public)
                if handle is not None:
                    return cls(path, handle)
                if attempt + 1 < _TRIES:
                    time.sleep(_PAUSE_S)
        raise BusyError(
            f"another process is at work here{_holder(path)}",
            where=str(path),
            expected="one worker at a time",
            next_command="wait for it to finish, or stop it, then run the same command again",
        )

    def release(self, *, remove: bool = False) -> None:
        """Give the lock back; with `remove`, the file goes too (its name will not be reused)."""
        if self._handle is None:
            return
        if remove:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
        with suppress(OSError):
            # Explicit, because a forked child may still hold a copy of the handle.
            fcntl.flock(self._handle, fcntl.LOCK_UN)
        os.close(self._handle)
        self._handle = None

    def fileno(self) -> int:
        """The descriptor that holds the lock: a child that inherits it holds the lock too."""
        if self._handle is None:
            raise ValueError("the lock was given back")
        return self._handle

    def abandon(self) -> None:
        """Close our copy and give nothing back: whoever shares it (a parent, a child that inherited it) holds on."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _open(path: Path, *, public: bool) -> int:
    # Without O_CREAT first: in a folder for everybody (/tmp) Linux refuses it on another user's file, even for root.
    with suppress(FileNotFoundError):
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    if public:
        with suppress(OSError):
            os.fchmod(handle, 0o666)  # the umask took the others' right to write
    return handle


def _try(path: Path, *, blocking: bool, shared: bool, public: bool) -> int | None:
    handle = _open(path, public=public)
    taken = False
    try:
        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        while True:
            fcntl.flock(handle, mode if blocking else mode | fcntl.LOCK_NB)
            if _is_at(handle, path):
                break
            # The last owner removed the file while we waited: lock the new one instead.
            os.close(handle)
            handle = _open(path, public=public)
        if not shared:
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        taken = True
        return handle
    except BlockingIOError:
        return None
    finally:
        if not taken:
            os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    with suppress(OSError, ValueError):
        return f" (process {int(path.read_text())})"
    return ""


@contextmanager
def held(path: Path, *, blocking: bool = False, shared: bool = False) -> Iterator[Lock]:
    """Hold the lock at `path` for the length of the block.

    Raises BusyError if another process (or another block of this one) holds it and `blocking` is
    off. `shared` locks go together with each other, not with an exclusive one.
    """
    lock = Lock.take(path, blocking=blocking, shared=shared)
    try:
        yield lock
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock at `path` now."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        fcntl.flock(handle, fcntl.LOCK_UN)
        return False
    finally:
        os.close(handle)
