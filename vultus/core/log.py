"""Where the program tells what it did: short lines on stderr, full ones in a log file.

Modules ask for a logger by name (`logger(__name__)`) and never configure anything; only a front
command calls `set_up`, once.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import TextIO

from vultus.core.files import disk_errors

__all__ = ["logger", "set_up"]

_ROOT = "vultus"


class _UtcFormatter(logging.Formatter):
    """Times in UTC, so that logs of two machines can be laid side by side."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))


def logger(name: str) -> logging.Logger:
    """The logger of a module; its lines go nowhere until `set_up` was called."""
    return logging.getLogger(name if name.startswith(_ROOT) else f"{_ROOT}.{name}")


def set_up(
    file: Path | None = None, *, verbose: bool = False, stream: TextIO | None = None
) -> None:
    """Send warnings (or everything, if verbose) to stderr, and everything to `file`.

    Calling it again replaces what was set up before, so that a test or a second command in one
    process never writes a line twice.
    """
    root = logging.getLogger(_ROOT)
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(logging.DEBUG)
    root.propagate = False

    screen = logging.StreamHandler(stream or sys.stderr)
    screen.setLevel(logging.INFO if verbose else logging.WARNING)
    screen.setFormatter(logging.Formatter("vultus: %(message)s"))
    root.addHandler(screen)

    if file is not None:
        with disk_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            keeper = logging.FileHandler(file, encoding="utf-8")
        keeper.setLevel(logging.DEBUG)
        keeper.setFormatter(_UtcFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        root.addHandler(keeper)
