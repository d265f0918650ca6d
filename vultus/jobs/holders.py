"""Who uses a card, and who listens on a port: read from /proc, because the driver cannot tell.

NVIDIA's library reports process numbers of the host, which mean nothing inside a container. Open
files do: a process that has memory on a card has /dev/nvidiaN open. Processes of other users and of
other containers are not seen; the measured free bytes see them all the same.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vultus.jobs.processes import PROC, read_stats

__all__ = ["Holder", "command_line", "listening_ports", "port_owner", "users_of_device"]

_LISTEN = "0A"
_SECRET = ("token", "secret", "password", "api-key", "api_key", "apikey")


@dataclass(frozen=True)
class Holder:
    """One process that uses a card."""

    pid: int
    command: str

    def text(self) -> str:
        """Return it for people: number and command line."""
        return f"process {self.pid} ({self.command})"


def users_of_device(device_file: str, proc: Path = PROC) -> list[Holder]:
    """Return the processes that have a card's device file open."""
    if not device_file:
        return []
    return [
        Holder(stat.pid, command_line(stat.pid, proc) or stat.name)
        for stat in read_stats(proc)
        if stat.pid != os.getpid() and device_file in _open_files(stat.pid, proc)
    ]


def port_owner(port: int, proc: Path = PROC) -> int | None:
    """Return the process that listens on a TCP port, or None."""
    inodes = {inode for found, inode in _listening(proc) if found == port}
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    owners = [s for s in read_stats(proc) if wanted & set(_open_files(s.pid, proc))]
    # A child may have inherited the socket: the one that opened it is the oldest.
    return min(owners, key=lambda s: (s.started, s.pid)).pid if owners else None


def listening_ports(pid: int, proc: Path = PROC) -> list[int]:
    """Return the TCP ports that a process listens on."""
    files = set(_open_files(pid, proc))
    return sorted({port for port, inode in _listening(proc) if f"socket:[{inode}]" in files})


def command_line(pid: int, proc: Path = PROC, most: int = 120) -> str:
    """Return a command line for people: shortened, and without values that look secret."""
    try:
        raw = (proc / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""
    words = []
    hide = False
    for word in raw.decode("utf-8", errors="replace").rstrip("\0").split("\0"):
        name, equals, _ = word.partition("=")
        secret = any(part in name.lower() for part in _SECRET)
        words.append("…" if hide else f"{name}=…" if secret and equals else word)
        hide = secret and not equals and word.startswith("-")
    text = " ".join(words)
    return text if len(text) <= most else text[: most - 1] + "…"


def _open_files(pid: int, proc: Path) -> list[str]:
    found = []
    with suppress(OSError):
        for entry in (proc / str(pid) / "fd").iterdir():
            with suppress(OSError):
                found.append(str(entry.readlink()))
    return found


def _listening(proc: Path) -> list[tuple[int, str]]:
    """Every listening TCP socket as (port, inode)."""
    found = []
    for name in ("net/tcp", "net/tcp6"):
        with suppress(OSError):
            for line in (proc / name).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTEN:
                    found.append((int(words[1].rpartition(":")[2], 16), words[9]))
    return found
