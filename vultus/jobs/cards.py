"""Graphics cards as a job sees them: which there are, and how much of each is free, by measurement.

A probe only measures. It does not say who holds the memory: inside a container NVIDIA's library
tells process numbers of the host (NVIDIA/nvidia-docker issue 1483), so that is `holders.py`'s work.

**Notation**
    uuid            the card's own name, the same in every container ("GPU-…")
    free_bytes      bytes that a new process could take now, as the driver measures it
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vultus.core.errors import JobError
from vultus.core.registry import Registry

__all__ = ["PROBES", "Card", "CardProbe", "Wish", "choose_cards", "locks_folder", "open_probe"]

PROBE_VARIABLE = "VULTUS_PROBE"
LOCKS_VARIABLE = "VULTUS_LOCKS"


@dataclass(frozen=True)
class Card:
    """One graphics card."""

    uuid: str
    index: int
    name: str
    total_bytes: int
    device_file: str
    """what its users have open, e.g. /dev/nvidia0; "" where there is no such file"""


class CardProbe(Protocol):
    """How to measure cards. `vultus.testing.cards.check_probe` is its exam."""

    def cards(self) -> tuple[Card, ...]:
        """Return every card, by index. Empty where there is none."""

    def free_bytes(self, uuid: str) -> int:
        """Measure now. Raises JobError for a card that is not there (any more)."""


PROBES: Registry[Callable[[], CardProbe]] = Registry("card probe")
PROBES.add(
    "nvml",
    "vultus.jobs.nvml:open_probe",
    help="NVIDIA's management library: the driver's own numbers",
    extra="gpu",
)
PROBES.add(
    "fake",
    "vultus.jobs.fake_cards:open_probe",
    help="planted cards in a folder, for tests and drills",
)
PROBES.add("none", "vultus.jobs.cards:no_cards", help="a machine without a card")


class _NoCards:
    """A machine without cards."""

    def cards(self) -> tuple[Card, ...]:
        return ()

    def free_bytes(self, uuid: str) -> int:
        raise JobError(f"there is no card {uuid!r}", expected="a machine with a graphics card")


def no_cards() -> CardProbe:
    """Return the probe of a machine without a card."""
    return _NoCards()


def open_probe() -> CardProbe:
    """Return the probe of this machine: the one $VULTUS_PROBE names, else nvml, else none."""
    told = os.environ.get(PROBE_VARIABLE, "")
    if told:
        return PROBES.get(told)()
    if not Path("/dev/nvidiactl").exists():
        return no_cards()
    return PROBES.get("nvml")()


@dataclass(frozen=True)
class Wish:
    """Which cards a job may be given, by index, and how many of them it wants at once."""

    cards: tuple[Card, ...]
    count: int


def choose_cards(wanted: str, cards: tuple[Card, ...]) -> Wish:
    """Return what `wanted` may mean.

    "any" (one of them), "any:2" (two of them), "all", or these and no others: indices and beginnings of UUIDs, with
    commas. Raises JobError when there are not so many, or when one is not there.
    """
    kind, _, number = wanted.partition(":")
    if kind == "any" and (not number or number.isdecimal()):
        wish = Wish(cards, int(number or 1))
    elif wanted == "all":
        wish = Wish(cards, max(1, len(cards)))
    else:
        named = [_named(one.strip(), cards) for one in wanted.split(",")]
        mine = tuple(card for card in cards if any(card in found for found in named))
        wish = Wish(mine if all(named) else (), len(mine))
    if 1 <= wish.count <= len(wish.cards):
        return wish
    listed = ", ".join(f"{card.index} ({card.name}, {card.uuid})" for card in cards)
    raise JobError(
        f"there is no card {wanted!r}" if cards else "this machine has no graphics card",
        expected=f"any, any:N or all of {listed}, or some of them with commas between"
        if cards
        else "a card that the driver shows",
        next_command="vultus doctor",
    )


def _named(name: str, cards: tuple[Card, ...]) -> list[Card]:
    if name.isdecimal():
        return [card for card in cards if card.index == int(name)]
    return [card for card in cards if name and card.uuid.startswith(name)][:1]


def locks_folder() -> Path:
    """Return where the locks of cards lie: one place per machine, whoever asks.

    Not in a home: the cards are shared by all users and homes of the machine.
    """
    told = os.environ.get(LOCKS_VARIABLE, "")
    if told:
        return Path(told)
    for folder in (Path("/run/lock"), Path("/tmp")):
        if os.access(folder, os.W_OK | os.X_OK):
            return folder / "vultus"
    return Path("/tmp/vultus")
