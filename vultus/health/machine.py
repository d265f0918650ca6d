"""Python, cores, memory, disk, and whether the clock can be believed."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from vultus.health.findings import Finding

__all__ = ["clock", "machine", "python"]

GIB = 2**30
LEAST_PYTHON = (3, 11)
ENOUGH_MEMORY_GIB = 4
"""What the demo needs; training full-size SDXL asks for a card with 24 GB."""

ENOUGH_DISK_GIB = 2
SOUND_DISK_GIB = 20
"""A full-size run: a base of 7 GB beside checkpoints, renders and their copies."""

RELEASED = 1_795_300_000.0
"""2026-11-21: no clock is right that shows an earlier day than this program's own."""

_STA_UNSYNC = 0x0040


def python(folder: Path) -> Iterator[Finding]:
    """The interpreter."""
    del folder
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info[:2] < LEAST_PYTHON:
        yield Finding("Python", "fault", text, "install Python 3.11 or newer")
    else:
        yield Finding("Python", "ok", text)


def machine(folder: Path) -> Iterator[Finding]:
    """Cores, memory, and the disk that `folder` lies on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("processor", "ok", f"{cores} core{'' if cores == 1 else 's'}")
    yield _memory()
    free_gib = shutil.disk_usage(folder).free / GIB
    where = f"{free_gib:,.1f} GiB free at {folder}"
    remedy = "free some space (vultus store sweep WORKSPACE), or work on another disk"
    if free_gib < ENOUGH_DISK_GIB:
        yield Finding("disk", "fault", f"{where}; a workspace wants {ENOUGH_DISK_GIB}", remedy)
    elif free_gib < SOUND_DISK_GIB:
        text = f"{where}; a run with full-size SDXL wants {SOUND_DISK_GIB}"
        yield Finding("disk", "note", text, remedy)
    else:
        yield Finding("disk", "ok", where)


def _memory() -> Finding:
    try:
        whole_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    except (AttributeError, ValueError, OSError):
        return Finding("memory", "note", "this system does not tell how much there is")
    limit_gib = _container_limit_bytes() / GIB
    gib = min(whole_gib, limit_gib) if limit_gib else whole_gib
    text = f"{gib:.1f} GiB" + (" for this container" if 0 < limit_gib < whole_gib else "")
    if gib >= ENOUGH_MEMORY_GIB:
        return Finding("memory", "ok", text)
    return Finding("memory", "note", f"{text}; the demo needs {ENOUGH_MEMORY_GIB}")


def _container_limit_bytes(group: Path = Path("/sys/fs/cgroup")) -> int:
    """The memory limit of this container, 0 where there is none."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (group / name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdecimal() and int(text) < 2**60:
            return int(text)
    return 0


def clock(folder: Path) -> Iterator[Finding]:
    """Whether time is believable: records are ordered by it, and deadlines are kept by it."""
    now = time.time()
    newest = _newest(folder)
    set_it = "sudo timedatectl set-ntp true, or set the clock by hand"
    if now < RELEASED:
        shown = time.strftime("%Y-%m-%d", time.gmtime(now))
        yield Finding("clock", "fault", f"it shows {shown}, before this program was made", set_it)
    elif newest > now + 60:
        text = f"the workspace was written {(newest - now) / 60:.0f} min after the time it shows"
        yield Finding("clock", "fault", text, set_it)
    else:
        synced = _is_synchronised()
        text = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
        if synced is False:
            yield Finding("clock", "note", f"{text}, kept by no time server", set_it)
        else:
            yield Finding("clock", "ok", text + (", synchronised" if synced else ""))


def _newest(folder: Path) -> float:
    """When the workspace's ledger was last written, by its file."""
    try:
        return (folder / ".vultus" / "ledger.sqlite").stat().st_mtime
    except OSError:
        return 0.0


def _is_synchronised() -> bool | None:
    """Whether the kernel's clock follows a time server; None where it does not tell."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        state = ctypes.create_string_buffer(
            512
        )  # struct timex, more than large enough; all zero: only ask
        if library.adjtimex(state) < 0:
            return None
    except (OSError, AttributeError):
        return None
    # struct timex on 64-bit Linux: modes (int, padded), offset, freq, maxerror, esterror (long), status (int).
    status = int.from_bytes(state.raw[40:44], sys.byteorder)
    return not status & _STA_UNSYNC
