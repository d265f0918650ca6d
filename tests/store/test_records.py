"""The states of an attempt and the ways between them."""

from __future__ import annotations

import itertools

from vultus.store.records import AttemptState

LEGAL = {
    ("planned", "queued"),
    ("planned", "running"),
    ("planned", "cancelled"),
    ("queued", "running"),
    ("queued", "cancelled"),
    ("running", "done"),
    ("running", "failed"),
    ("running", "cancelled"),
    ("running", "lost"),
}


def test_only_the_legal_ways_are_open() -> None:
    pairs = list(itertools.product(AttemptState, repeat=2))
    assert len(pairs) == 49
    assert {(a.value, b.value) for a, b in pairs if a.may_become(b)} == LEGAL


def test_a_finished_attempt_goes_nowhere() -> None:
    for state in AttemptState:
        leaves = any(state.may_become(other) for other in AttemptState)
        assert state.is_finished() is not leaves
