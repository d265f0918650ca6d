"""The exam of card probes: `check_probe(probe, hold)` asserts what `jobs.cards.CardProbe` promises."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from vultus.core.errors import JobError
from vultus.jobs.cards import CardProbe, Wish, choose_cards

__all__ = ["check_probe"]


def check_probe(
    probe: CardProbe,
    hold: Callable[[str, int], AbstractContextManager[object]] | None = None,
    *,
    slack_bytes: int = 0,
) -> None:
    """Ask a probe with at least one card.

    `hold(uuid, bytes)` holds memory on a card in another process while its block lasts; readings
    may be off by `slack_bytes` (a real context costs some hundred MB). Without it nothing is held.
    """
    cards = probe.cards()
    assert cards, "the exam needs a card"
    assert [card.index for card in cards] == list(range(len(cards)))
    assert len({card.uuid for card in cards}) == len(cards), "two cards have one name"
    assert probe.cards() == cards, "cards change between two questions"
    for card in cards:
        assert card.name and card.uuid and card.total_bytes > 0
        free = probe.free_bytes(card.uuid)
        assert 0 <= free <= card.total_bytes
        for name in (str(card.index), card.uuid):
            assert choose_cards(name, cards) == Wish((card,), 1)
        if hold is not None:
            held = free // 4
            with hold(card.uuid, held):
                during = probe.free_bytes(card.uuid)
                assert abs(free - during - held) <= slack_bytes, "what is held is not seen"
            assert abs(probe.free_bytes(card.uuid) - free) <= slack_bytes, "it is not given back"
    assert choose_cards("any", cards) == Wish(cards, 1)
    assert choose_cards("all", cards) == Wish(cards, len(cards))
    for call in (lambda: probe.free_bytes("GPU-nobody"), lambda: choose_cards("99", cards)):
        try:
            call()
        except JobError:
            continue
        raise AssertionError("a card that is not there was answered for")
