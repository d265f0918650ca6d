"""A job's place on a card: its turn in the queue, the lease, and room made by a ComfyUI.

The queue is nobody's file: a job stands in it while its phase is `queued` and somebody looks after
it, and its place is when it came. A job whose supervisor died does not hold up the others.
"""

from __future__ import annotations

from collections.abc import Callable

from vultus.core.clock import Clock
from vultus.core.errors import CardBusyError, VultusError
from vultus.jobs.cards import Card, CardProbe, choose_card, open_probe
from vultus.jobs.events import announce
from vultus.jobs.folder import JobFolder, list_jobs
from vultus.jobs.handover import FREED_WITHIN_S, clear_the_card, pay_back
from vultus.jobs.lease import GIVEN_VARIABLE, Lease, take
from vultus.jobs.records import Phase
from vultus.jobs.settings import load_settings

__all__ = ["Room", "waiting_for"]

POLL_S = 0.5
LEASE_FOR_DEBT_S = 3600.0


class Room:
    """The card of one job. `breathe` is called while waiting and may raise to give up."""

    def __init__(self, job: JobFolder, clock: Clock, breathe: Callable[[], None]) -> None:
        self._job = job
        self._spec = job.spec
        self._clock = clock
        self._breathe = breathe
        self._lease: Lease | None = None
        self.is_made = False

    def make(self) -> str:
        """Wait for the job's turn, take the lease, have the memory free; return the card's UUID.

        Called before every attempt: what was free an hour ago need not be now. A job that needs no
        card is done at once. Raises CardBusyError when the room cannot be had.
        """
        if not self._spec.card:
            return ""
        settings = load_settings()
        probe = open_probe()
        if self._lease is None:
            self._lease = self._wait_for_turn(probe)
        card = self._lease.card
        # what a killed attempt held comes back in its own time
        patience_s = max(60 * settings.card.wait_min, FREED_WITHIN_S if self.is_made else 0.0)
        free = clear_the_card(
            card,
            probe,
            int(settings.card.free_share * card.total_bytes),
            spec=settings.comfyui,
            way=self._spec.comfyui,
            owed_file=self._job.owed_file,
            patience_s=patience_s,
            clock=self._clock,
            breathe=self._breathe,
            tell=lambda text: announce(self._job, "comfyui", text),
        )
        announce(self._job, "card", f"{card.uuid}: {free // 2**20} MiB measured free")
        self.is_made = True
        return card.uuid

    def environment(self) -> dict[str, str]:
        """Return what the worker must know of its card."""
        if self._lease is None:
            return {}
        uuid = self._lease.card.uuid
        return {GIVEN_VARIABLE: uuid, "CUDA_VISIBLE_DEVICES": uuid}

    def descriptors(self) -> list[int]:
        """Return what the worker must inherit, so that the lease lasts as long as it does."""
        return [] if self._lease is None else [self._lease.fileno()]

    def leave(self, *, restore: bool = True) -> None:
        """Bring back what had to make room, then give the card back. Never raises."""
        try:
            if restore and self._job.owed_file.exists():
                self._pay()
        except (VultusError, OSError) as fault:
            announce(self._job, "comfyui", f"not brought back yet: {fault}")
        finally:
            if self._lease is not None:
                self._lease.release()
            self._lease = None
            self.is_made = False

    def _pay(self) -> None:
        # Under the lease: a ComfyUI that comes back beside another job's training would end it.
        uuid = self._job.state.card
        cards = [card for card in open_probe().cards() if card.uuid == uuid]
        until_s = self._clock.monotonic() + LEASE_FOR_DEBT_S
        while self._lease is None and cards:
            try:
                self._lease = take(cards[0], f"job {self._job.id}, giving ComfyUI back")
            except CardBusyError:
                if self._clock.monotonic() > until_s:
                    raise
                self._clock.sleep(POLL_S)
        pay_back(
            self._job.owed_file,
            load_settings().comfyui,
            clock=self._clock,
            tell=lambda text: announce(self._job, "comfyui", text),
        )

    def _wait_for_turn(self, probe: CardProbe) -> Lease:
        cards = probe.cards()
        mine = choose_card(self._spec.card, cards)
        told = ""
        while True:
            for card in mine:
                if self._is_my_turn(card, cards):
                    try:
                        return take(card, f"job {self._job.id}: vultus {self._spec.words[0]}")
                    except CardBusyError as busy:
                        if busy.what != told:
                            told = busy.what
                            announce(self._job, "waiting", told)
            self._breathe()
            self._clock.sleep(POLL_S)

    def _is_my_turn(self, card: Card, cards: tuple[Card, ...]) -> bool:
        queue = waiting_for(card, cards)
        before = queue[: queue.index(self._job)] if self._job in queue else queue
        return not before


def waiting_for(card: Card, cards: tuple[Card, ...]) -> list[JobFolder]:
    """Return the jobs that wait for this card, first come first."""
    found = []
    for job in list_jobs():
        wanted = job.spec.card
        state = job.state
        if not wanted or state.phase is not Phase.QUEUED or not job.has_supervisor:
            continue
        try:
            if card in choose_card(wanted, cards):
                found.append((state.queued_at, int(job.id), job))
        except VultusError:
            continue  # it wants a card that is not here; it will be told so itself
    return [job for _, _, job in sorted(found, key=lambda row: row[:2])]
