"""Log files that do not fill the disk, and reading their end.

A log is written by a process that outlives everybody, straight to its file, because a pipe would
break with its reader. So it is rotated by copying and emptying; what is written between the two,
a few lines at most, is lost. The file is opened for appending, so the writer goes on at its start.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

__all__ = ["KEPT", "MOST_BYTES", "rotate", "tail"]

MOST_BYTES = 8 * 2**20
KEPT = 3


def rotate(path: Path, *, most_bytes: int = MOST_BYTES, kept: int = KEPT) -> bool:
    """Move a grown log aside to .1 (and .1 to .2, ...); True when that was done."""
    with suppress(OSError):
        if path.stat().st_size <= most_bytes:
            return False
        for number in range(kept - 1, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            if older.exists():
                older.replace(path.with_name(f"{path.name}.{number + 1}"))
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
        os.truncate(path, 0)
        return True
    return False


def tail(path: Path, lines: int = 20, most_bytes: int = 65536) -> list[str]:
    """Return the last lines of a log; an absent one is empty."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - most_bytes, 0))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in text.replace("\r", "\n").splitlines() if line.strip()][-lines:]
