"""Occupancy, spreads and holes of planted sets, and the prompts that fill the holes."""

from __future__ import annotations

import pytest

from tests.datasets.sets import ADA, reading
from vultus.datasets.coverage import (
    Coverage,
    accessories_in,
    count_accessories,
    framing_of,
    measure_coverage,
)
from vultus.datasets.readings import Reading
from vultus.datasets.shotlist import list_shots, paste


def cover(readings: list[Reading], wanted: int = 30) -> Coverage:
    return measure_coverage(readings, {}, wanted=wanted)


def frontal(n: int) -> list[Reading]:
    return [reading(f"{i:02d}.png", background=0, outfit=i % 3) for i in range(n)]


def test_occupancy_counts_every_face_once_and_names_empty_cells() -> None:
    readings = [
        reading("a.png", yaw=30, pitch=20, share=0.5),
        reading("b.png", yaw=-30, share=0.2),
        reading("c.png", yaw=-30, share=0.2),
        reading("d.png", share=0.05, pitch=-20),
        reading("e.png", state="none"),
    ]
    found = cover(readings)
    occupancy = found.occupancy
    assert len(occupancy) == 5 * 3 * 3
    assert sum(occupancy.values()) == 4
    assert occupancy["three-quarter left", "up", "close-up"] == 1
    assert occupancy["three-quarter right", "level", "half body"] == 2
    assert occupancy["ahead", "down", "full body"] == 1
    assert found.unposed == ("e.png",)


def test_framing_is_by_the_area_so_that_bucketing_does_not_change_it() -> None:
    for size in ((1000, 1000), (2000, 500), (600, 1800)):
        assert [framing_of(reading(share=s, size=size)) for s in (0.40, 0.30, 0.10)] == [
            "close-up",
            "half body",
            "full body",
        ]


def test_spreads_and_repetition() -> None:
    readings = [
        *(reading(f"l{i}", light=(0.5, 0.2), background=3, outfit=i) for i in range(4)),
        *(reading(f"d{i}", light=(0.1, 0.0), background=9, mouth=1.0) for i in range(2)),
        reading("x", light=(0.5, -0.2), background=9, mouth=0.5),
    ]
    found = cover(readings)
    assert found.lights == {
        "from the left": 4,
        "from the right": 1,
        "dim": 2,
        "bright": 0,
        "even": 0,
    }
    assert found.mouths == {"narrow": 1, "usual": 4, "wide": 2}
    assert found.backgrounds == (4, 3)
    assert sum(found.outfits) == 7 and found.outfits[0] == 4  # outfit 0 of l0, d0, d1 and x


def test_a_frontal_set_is_uneven_and_its_holes_are_the_other_directions() -> None:
    found = cover(frontal(20))
    assert found.evenness == 0.0
    assert all(hole.have == 0 for hole in found.holes if hole.yaw != "ahead")
    assert {hole.yaw for hole in found.holes} >= {"three-quarter left", "three-quarter right"}
    assert found.holes[0].missing == max(hole.missing for hole in found.holes)
    spread = [
        reading(f"{y}{s}{i}", yaw=y, share=s)
        for y in (30, 0, -30, 60, -60)
        for s in (0.5, 0.2, 0.05)
        for i in range(3)
    ]
    assert cover(spread).evenness > 0.95


def test_the_shot_list_asks_for_what_is_missing_and_no_more() -> None:
    found = cover(frontal(12), wanted=36)
    shots = list_shots(found, ADA, most=99)
    assert sum(shot.count for shot in shots) == sum(hole.missing for hole in found.holes) > 12
    assert all(1 <= shot.count <= 4 for shot in shots)
    left = [shot for shot in shots if "facing left" in shot.prompt]
    right = [shot for shot in shots if "facing right" in shot.prompt]
    assert sum(s.count for s in left) == sum(
        h.missing for h in found.holes if h.yaw.endswith("left")
    )
    assert sum(s.count for s in right) == sum(
        h.missing for h in found.holes if h.yaw.endswith("right")
    )
    assert all("a woman" in shot.prompt and "ohwx" not in shot.prompt for shot in shots), (
        "a generator does not know the trigger"
    )
    assert len({shot.prompt for shot in shots}) == len(shots), "no prompt twice"
    lines = paste(shots).splitlines()
    assert len(lines) == len(shots) and all(line[0].isdigit() for line in lines)


def test_open_axes_are_filled_with_what_the_set_lacks() -> None:
    lit = [reading(f"{i}", light=(0.5, 0.2), mouth=0.8) for i in range(12)]
    shots = list_shots(cover(lit, wanted=36), ADA)
    first = [shot.prompt for shot in shots[:4]]
    assert not any("light from the left" in prompt for prompt in first)
    assert (
        sum("from the right" in p or "dim" in p or "bright" in p or "even" in p for p in first) == 4
    )


def test_a_full_set_needs_nothing() -> None:
    spread = [
        reading(f"{y}{s}{i}", yaw=y, share=s)
        for y in (30, 0, -30, 60, -60)
        for s in (0.5, 0.2, 0.05)
        for i in range(9)
    ]
    found = cover(spread)
    assert found.holes == () and list_shots(found, ADA) == []


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("photo of ohwx woman, wearing glasses", ("glasses",)),
        ("a red hat and Sunglasses", ("glasses", "hat")),
        ("hatless, glassy eyes", ()),
        ("pearl_necklace, earrings", ("earrings", "necklace")),
    ],
)
def test_accessories_are_words_not_parts_of_words(caption: str, expected: tuple[str, ...]) -> None:
    assert accessories_in(caption) == expected


def test_accessory_counts() -> None:
    assert count_accessories(["glasses", "glasses, hat", "nothing"]) == {"glasses": 2, "hat": 1}
