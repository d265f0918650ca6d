"""Which process is meant, and ending it without ever hitting another one.

A process number is used again after a while, and after a reboot at once. A process is therefore
named by its number, its start time and the boot it belongs to; a signal goes through a pidfd that
was opened before the start time was compared, so that nothing can slip in between.

**Notation**
    started     start time in clock ticks since the machine booted (field 22 of /proc/PID/stat)
    boot        random id of this boot (/proc/sys/kernel/random/boot_id)
    family      a process, its descendants, and its process group where it leads one
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vultus.core.clock import Clock, SystemClock

__all__ = [
    "PROC",
    "Process",
    "Stat",
    "boot_id",
    "end_family",
    "family",
    "identify",
    "is_alive",
    "read_stat",
    "read_stats",
    "send",
    "this_process",
]

PROC = Path("/proc")
POLL_S = 0.05
_GONE = "ZXx"  # a zombie has ended; only its parent has not looked yet


@dataclass(frozen=True)
class Process:
    """One process and no other: number, start time, boot."""

    pid: int
    started: int
    boot: str

    def to_json(self) -> dict[str, Any]:
        """Return plain data for a job's folder."""
        return {"pid": self.pid, "started": self.started, "boot": self.boot}

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> Process:
        """Return the process that `to_json` wrote down."""
        return cls(int(table["pid"]), int(table["started"]), str(table["boot"]))


@dataclass(frozen=True)
class Stat:
    """What /proc/PID/stat tells of a process."""

    pid: int
    name: str
    state: str
    parent: int
    group: int
    session: int
    started: int


def boot_id() -> str:
    """Return the id of this boot, or "" where the kernel tells none."""
    with suppress(OSError):
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    return ""


def read_stat(pid: int, proc: Path = PROC) -> Stat | None:
    """Return what the kernel tells of a process, or None when there is none."""
    try:
        text = (proc / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    head, _, tail = text.rpartition(")")  # a name may hold blanks and brackets
    words = tail.split()
    name = head.partition("(")[2]
    if len(words) < 20:
        return None
    return Stat(pid, name, words[0], int(words[1]), int(words[2]), int(words[3]), int(words[19]))


def read_stats(proc: Path = PROC) -> list[Stat]:
    """Return every process there is."""
    found = []
    for entry in proc.iterdir():
        if entry.name.isdigit():
            stat = read_stat(int(entry.name), proc)
            if stat is not None:
                found.append(stat)
    return found


def identify(pid: int) -> Process | None:
    """Return who has this number now, or None when nobody living has it."""
    stat = read_stat(pid)
    if stat is None or stat.state in _GONE:
        return None
    return Process(pid, stat.started, boot_id())


def this_process() -> Process:
    """Return the process that asks."""
    found = identify(os.getpid())
    if found is None:
        return Process(os.getpid(), 0, boot_id())
    return found


def is_alive(process: Process) -> bool:
    """Say whether this very process still runs."""
    return identify(process.pid) == process


def send(process: Process, number: signal.Signals) -> bool:
    """Send a signal to this very process; False when it has ended."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        # The pidfd is bound to whoever had the number when it was opened; if that one has our
        # start time, it is the one we mean, whatever happens to the number from now on.
        if identify(process.pid) != process:
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def family(process: Process, *, whole_session: bool = False) -> list[Process]:
    """Return a process, its descendants, and its group (or session) where it leads one.

    A group that it does not lead is left out on purpose: a start script often puts several services
    into one group. Works on a dead leader too, as long as its number is known.
    """
    stats = read_stats()
    wanted = {process.pid}
    grown = True
    while grown:
        more = {
            s.pid
            for s in stats
            if s.pid not in wanted
            and (
                s.parent in wanted
                or s.group == process.pid
                or (whole_session and s.session == process.pid)
            )
        }
        grown = bool(more)
        wanted |= more
    boot = boot_id()
    if process.boot != boot:
        return []
    return [
        Process(s.pid, s.started, boot)
        for s in stats
        if s.pid in wanted
        and s.state not in _GONE
        and s.started >= process.started
        and (s.pid != process.pid or s.started == process.started)
        and s.pid != os.getpid()
    ]


def end_family(
    process: Process,
    *,
    signals: Iterable[tuple[signal.Signals, float]] = (
        (signal.SIGINT, 20.0),
        (signal.SIGTERM, 5.0),
    ),
    whole_session: bool = False,
    clock: Clock | None = None,
    reap: Callable[[], object] = lambda: None,
) -> bool:
    """Ask a process to end, ever more firmly, then kill its family; True when nobody is left.

    `signals` are (signal, seconds to wait after it). `reap` is called while waiting: a parent
    collects its child there.
    """
    watch = clock or SystemClock()
    members = family(process, whole_session=whole_session)
    for number, patience_s in signals:
        send(process, number)
        until_s = watch.monotonic() + patience_s
        while watch.monotonic() < until_s:
            reap()
            if not is_alive(process):
                break
            watch.sleep(POLL_S)
        if not is_alive(process):
            break
    until_s = watch.monotonic() + 5.0
    while True:
        reap()
        members = list({*members, *family(process, whole_session=whole_session)})
        left = [member for member in members if is_alive(member)]
        if not left:
            return True
        if watch.monotonic() > until_s:
            return False
        for member in left:
            send(member, signal.SIGKILL)
        watch.sleep(POLL_S)
