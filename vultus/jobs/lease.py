"""One card, one user: a kernel lock per card, and memory that was measured to be free.

The lock keeps our own jobs apart and ends with its holder, however that ends; a child that inherits
its descriptor holds it too. Whoever never heard of the lock (a ComfyUI, a notebook) is seen by the
measurement: a lease is given when the bytes are free, not when somebody promised to free them.

**Notation**
    need_bytes      what must be free before work begins
    steady          two readings in a row, a second apart, that are both enough: a driver gives the
                    memory of a process that ended back in pieces
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vultus.core.clock import Clock, SystemClock
from vultus.core.errors import BusyError, CardBusyError
from vultus.core.locks import Lock
from vultus.jobs.cards import Card, CardProbe, locks_folder
from vultus.jobs.holders import users_of_device
from vultus.jobs.processes import this_process

__all__ = ["GIVEN_VARIABLE", "Lease", "free_or_refuse", "given", "lock_path", "take", "who_holds"]

GIVEN_VARIABLE = "VULTUS_CARD"
"""Set for a worker whose supervisor holds the leases: the UUIDs of its cards, with commas."""
STEADY_S = 1.0
MIB = 2**20


@dataclass
class Lease:
    """A card that is ours until `release`, or until the last process that inherited it ends."""

    card: Card
    lock: Lock

    def fileno(self) -> int:
        """Return the descriptor that a child must inherit to hold the lease too."""
        return self.lock.fileno()

    def release(self) -> None:
        """Give the card back."""
        self.lock.release()

    def leave(self) -> None:
        """Give our part of it back: a worker that inherited the lease and still lives keeps the card."""
        self.lock.abandon()


def lock_path(uuid: str) -> Path:
    """Return the lock file of a card, the same for everybody on the machine."""
    return locks_folder() / f"card-{uuid}.lock"


def take(card: Card, about: str) -> Lease:
    """Take the lock of a card for `about` (a job, a command). Raises CardBusyError with the holder.

    This says nothing about its memory: ask `free_or_refuse` next.
    """
    path = lock_path(card.uuid)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o1777)
    try:
        lock = Lock.take(path, public=True)
    except BusyError:
        raise CardBusyError(
            f"card {card.index} ({card.name}) is in use by {who_holds(card.uuid) or 'another job'}",
            expected="one user at a time",
            next_command="vultus jobs queue",
        ) from None
    note = json.dumps({"pid": os.getpid(), "about": about, "started": this_process().started})
    os.ftruncate(lock.fileno(), 0)
    os.pwrite(lock.fileno(), note.encode(), 0)
    return Lease(card, lock)


def who_holds(uuid: str) -> str:
    """Return who said that it holds a card's lock, or "" when nobody did."""
    try:
        note = json.loads(lock_path(uuid).read_text(encoding="utf-8"))
        return f"{note['about']} (process {note['pid']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def free_or_refuse(
    card: Card,
    probe: CardProbe,
    need_bytes: int,
    *,
    patience_s: float = 0.0,
    clock: Clock | None = None,
    breathe: Callable[[], None] = lambda: None,
) -> int:
    """Return the measured free bytes once they are enough and steady.

    Waits up to `patience_s`. Raises CardBusyError with what is free and who has the card open.
    """
    watch = clock or SystemClock()
    until_s = watch.monotonic() + patience_s
    enough_before = False
    while True:
        free = probe.free_bytes(card.uuid)
        if free >= need_bytes and enough_before:
            return free
        if free < need_bytes and watch.monotonic() >= until_s:
            raise _too_little(card, free, need_bytes)
        enough_before = free >= need_bytes
        breathe()
        watch.sleep(STEADY_S)


def given() -> str:
    """Return the UUIDs, with commas, of the cards that this process was given by its supervisor, or ""."""
    return os.environ.get(GIVEN_VARIABLE, "")


def _too_little(card: Card, free: int, need_bytes: int) -> CardBusyError:
    users = users_of_device(card.device_file)
    who = "; it is held by " + ", ".join(user.text() for user in users[:4]) if users else ""
    hidden = "" if users else " (by a process that is not visible here: another user or container)"
    return CardBusyError(
        f"card {card.index} ({card.name}) has {free // MIB} of {card.total_bytes // MIB} MiB free"
        f"{who or hidden}",
        expected=f"{need_bytes // MIB} MiB measured free",
        next_command="end what holds it, or let Vultus hand ComfyUI over: --comfyui wait",
    )
