"""A card for a command that runs in front of a person: taken, asked for, or refused with who has it.

A job's supervisor waits for its turn and lets a ComfyUI make room, and brings it back whatever
becomes of the job. A command in a terminal cannot promise that (a kill -9 would leave the ComfyUI
stopped), so it asks, and without a person to ask it refuses and says how to start it as a job.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from vultus.core.clock import Clock, SystemClock
from vultus.core.errors import CardBusyError, MissingExtraError
from vultus.core.log import logger
from vultus.jobs.cards import Card, CardProbe, open_probe
from vultus.jobs.lease import Lease, free_or_refuse, given, take
from vultus.jobs.settings import load_settings

__all__ = ["ask_on_terminal", "on_card"]

WAIT_S = 2.0


def ask_on_terminal(question: str) -> str:
    """Ask a person; "" when there is none."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return ""
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower()[:1]


@contextmanager
def on_card(
    device: str,
    about: str,
    *,
    lanes: int = 1,
    shared: bool = False,
    ask: Callable[[str], str] = ask_on_terminal,
    clock: Clock | None = None,
) -> Iterator[str]:
    """Hold the lease of one visible card per lane while the block lasts; yield the first's UUID, "" without one.

    With `shared` its memory is not measured: a ComfyUI that renders for this run holds some of it.
    Several are taken in the order of their UUIDs, so that two commands never hold what the other one waits for.
    Nothing is taken on a machine without cards, for `device` "cpu", or when a supervisor holds the
    lease already. Raises CardBusyError.
    """
    probe = None if device == "cpu" or given() else _probe()
    cards = probe.cards() if probe is not None else ()
    if probe is None or not cards:
        yield given()
        return
    mine = _visible(cards)[: max(1, lanes)]
    with ExitStack() as leases:
        for card in sorted(mine, key=lambda one: one.uuid):
            lease = _taken(card, about, probe, ask, clock or SystemClock(), shared=shared)
            leases.callback(lease.release)
        yield mine[0].uuid


def _probe() -> CardProbe | None:
    try:
        return open_probe()
    except MissingExtraError as absent:
        logger(__name__).warning("the card is not leased: %s", absent.what)
        return None


def _visible(cards: tuple[Card, ...]) -> list[Card]:
    """The cards in the order in which CUDA counts them: that of CUDA_VISIBLE_DEVICES."""
    names = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    named = [card for name in names for card in cards if name in (card.uuid, str(card.index))]
    return named or list(cards)


def _taken(
    card: Card,
    about: str,
    probe: CardProbe,
    ask: Callable[[str], str],
    clock: Clock,
    *,
    shared: bool,
) -> Lease:
    need_bytes = 0 if shared else int(load_settings().card.free_share * card.total_bytes)
    lease: Lease | None = None
    while True:
        try:
            lease = lease or take(card, about)
            free_or_refuse(card, probe, need_bytes, clock=clock)
            return lease
        except CardBusyError as busy:
            answer = ask(f"vultus: {busy.what}\n  [w]ait, [g]o on with what is free, or [q]uit? ")
            if answer == "w":
                clock.sleep(WAIT_S)
                continue
            if answer == "g" and lease is not None:
                return lease
            if lease is not None:
                lease.release()
            busy.next_command = "give the same command with --detach: as a job it waits its turn"
            raise
