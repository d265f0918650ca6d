"""A comparison across environments is said in the verdict; work done in one place needs no word."""

from __future__ import annotations

from vultus.reports.words import places_sentence
from vultus.store.census import Place

HERE = Place("aaaa1111bbbb2222", {"package torch": "2.13.0", "gpu 0": "RTX 4090"}, {"train": 1})
THERE = Place("cccc3333dddd4444", {"package torch": "2.14.0", "gpu 0": "RTX 4090"}, {"render": 12})
ELSEWHERE = Place("eeee5555ffff6666", {"package torch": "2.13.0"}, {"render": 3, "read": 3})


def test_one_place_needs_no_word() -> None:
    assert places_sentence(()) == "" and places_sentence((HERE,)) == ""


def test_what_was_done_where_and_in_what_the_places_differ() -> None:
    said = places_sentence((THERE, HERE))
    assert "2 environments" in said and "cccc3333 (12 render); aaaa1111 (1 train)" in said
    assert "differ in package torch:" in said and "gpu" not in said
    three = places_sentence((THERE, HERE, ELSEWHERE))
    assert "differ in gpu 0, package torch:" in three, "a card that one place lacks is a difference"
