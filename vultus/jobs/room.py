"""A job's place on its cards: its turn in the queue, the leases, and room made by a ComfyUI.

The queue is nobody's file: a job stands in it while its phase is `queued` and somebody looks after
it, and its place is when it came. A job whose supervisor died does not hold up the others. A job that
wants several cards takes all or none, so that two of them never hold what the other one waits for; those
behind it wait for the cards that it may be given.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from vultus.core.clock import Clock
from vultus.core.errors import CardBusyError, JobError, VultusError
from vultus.jobs.cards import Card, CardProbe, choose_cards, open_probe
from vultus.jobs.events import announce
from vultus.jobs.folder import JobFolder, list_jobs
from vultus.jobs.handover import FREED_WITHIN_S, clear_the_card, neighbours, pay_back
from vultus.jobs.lease import GIVEN_VARIABLE, Lease, take
from vultus.jobs.records import Phase
from vultus.jobs.settings import load_settings

__all__ = ["Room", "waiting_for"]

POLL_S = 0.5
LEASE_FOR_DEBT_S = 3600.0
NEIGHBOURS_EVERY_S = 10.0
"""Looking for a ComfyUI asks every listening process that looks like one."""


class Room:
    """The cards of one job. `breathe` is called while waiting and may raise to give up; `given` hears of the cards
    as soon as their leases are taken, before anybody is stopped for them."""

    def __init__(
        self,
        job: JobFolder,
        clock: Clock,
        breathe: Callable[[], None],
        given: Callable[[str], None],
    ) -> None:
        self._job = job
        self._spec = job.spec
        self._clock = clock
        self._breathe = breathe
        self._given = given
        self._leases: list[Lease] = []
        self._comfyui_on: dict[str, tuple[float, bool]] = {}
        self.is_made = False

    def make(self) -> None:
        """Wait for the job's turn, take the leases, have the memory free.

        Called before every attempt: what was free an hour ago need not be now. A job that needs no
        card is done at once. Raises CardBusyError when the room cannot be had.
        """
        if not self._spec.card:
            return
        probe = open_probe()
        if not self._leases:
            self._leases = self._wait_for_turn(probe)
            self._given(self._uuids())
        for lease in self._leases:
            free = self._clear(lease.card, probe)
            announce(self._job, "card", f"{lease.card.uuid}: {free // 2**20} MiB measured free")
        self.is_made = True

    def _uuids(self) -> str:
        return ",".join(lease.card.uuid for lease in self._leases)

    def _clear(self, card: Card, probe: CardProbe) -> int:
        settings = load_settings()
        # what a killed attempt held comes back in its own time
        patience_s = max(60 * settings.card.wait_min, FREED_WITHIN_S if self.is_made else 0.0)
        return clear_the_card(
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

    def environment(self) -> dict[str, str]:
        """Return what the worker must know of its cards."""
        if not self._leases:
            return {}
        uuids = self._uuids()
        return {GIVEN_VARIABLE: uuids, "CUDA_VISIBLE_DEVICES": uuids}

    def descriptors(self) -> list[int]:
        """Return what the worker must inherit, so that the leases last as long as it does."""
        return [lease.fileno() for lease in self._leases]

    def leave(self, *, restore: bool = True) -> None:
        """Bring back what had to make room, then give the cards back. Never raises."""
        try:
            if restore and self._job.owed_file.exists():
                self._pay()
        except (VultusError, OSError) as fault:
            announce(self._job, "comfyui", f"not brought back yet: {fault}")
        finally:
            for lease in self._leases:
                lease.leave()
            self._leases = []
            self.is_made = False

    def _pay(self) -> None:
        # Under the leases: a ComfyUI that comes back beside another job's training would end it.
        every = open_probe().cards()
        uuids = self._job.state.card.split(",")
        cards = [card for card in every if card.uuid in uuids]
        if not cards and every and self._spec.card:  # it was stopped before it had a card
            cards = list(choose_cards(self._spec.card, every).cards)
        until_s = self._clock.monotonic() + LEASE_FOR_DEBT_S
        while not self._leases and cards:
            try:
                self._leases = _take_all(cards, f"job {self._job.id}, giving ComfyUI back")
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

    def _wait_for_turn(self, probe: CardProbe) -> list[Lease]:
        cards = probe.cards()
        wish = choose_cards(self._spec.card, cards)
        about = f"job {self._job.id}: vultus {self._spec.words[0]}"
        late_s = self._clock.monotonic() + 60 * load_settings().card.wait_min
        told = ""
        while True:
            mine = [card for card in wish.cards if self._is_my_turn(card, cards)]
            if len(wish.cards) > wish.count and self._clock.monotonic() < late_s:
                mine = [card for card in mine if self._may_be_cleared(card, probe)]
            taken, busy = _take_some(mine, wish.count, about)
            if len(taken) == wish.count:
                return taken
            for lease in taken:
                lease.release()
            busy = busy or "no card is free yet: vultus jobs queue"
            if busy != told:
                told = busy
                announce(self._job, "waiting", told)
            self._breathe()
            self._clock.sleep(POLL_S)

    def _may_be_cleared(self, card: Card, probe: CardProbe) -> bool:
        """False for a card that somebody fills who will not make room (a notebook): its lock is free all the same."""
        settings = load_settings()
        if probe.free_bytes(card.uuid) >= settings.card.free_share * card.total_bytes:
            return True
        if self._spec.comfyui == "share":
            return True
        if self._spec.comfyui not in ("wait", "interrupt"):
            return False
        until_s, known = self._comfyui_on.get(card.uuid, (0.0, False))
        if self._clock.monotonic() >= until_s:
            known = bool(neighbours(card, settings.comfyui))
            self._comfyui_on[card.uuid] = (self._clock.monotonic() + NEIGHBOURS_EVERY_S, known)
        return known

    def _is_my_turn(self, card: Card, cards: tuple[Card, ...]) -> bool:
        # By number: the same home may have two names (a link), and a job must not wait for itself.
        queue = [job.id for job in waiting_for(card, cards)]
        return not queue or queue[0] == self._job.id


def _take_some(cards: list[Card], count: int, about: str) -> tuple[list[Lease], str]:
    """Take the locks of so many of the cards, the first that are free; with what the last refusal said."""
    taken: list[Lease] = []
    busy = ""
    for card in cards:
        if len(taken) == count:
            break
        try:
            taken.append(take(card, about))
        except CardBusyError as refusal:
            busy = refusal.what
    return taken, busy


def _take_all(cards: list[Card], about: str) -> list[Lease]:
    """Take the locks of all the cards, or of none. Raises CardBusyError."""
    with ExitStack() as undo:
        leases = []
        for card in cards:
            leases.append(take(card, about))
            undo.callback(leases[-1].release)
        undo.pop_all()
    return leases


def waiting_for(card: Card, cards: tuple[Card, ...]) -> list[JobFolder]:
    """Return the jobs that wait for their turn on this card, first come first."""
    found = []
    for job in list_jobs():
        try:
            wanted, state = job.spec.card, job.state
        except JobError:
            continue  # a damaged folder holds nobody up
        waits = state.phase is Phase.QUEUED and not state.has_card
        if not wanted or not waits or not job.has_supervisor:
            continue
        try:
            if card in choose_cards(wanted, cards).cards:
                found.append((state.queued_at, int(job.id), job))
        except VultusError:
            continue  # it wants a card that is not here; it will be told so itself
    return [job for _, _, job in sorted(found, key=lambda row: row[:2])]
