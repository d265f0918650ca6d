"""Fed wrongly, the free pack must get worse: colour order, landmark order, template, flip."""

from __future__ import annotations

import pytest

from bench.faces.sets import SHARED, free_pack, generated, orl
from tests.faces.mutations import FAULTS, embed_with, linked_eer, people_eer
from vultus.faces.engines import open_engine
from vultus.faces.records import Face, Rgb

pytestmark = [
    pytest.mark.shared,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (SHARED / "photos" / "orl").is_dir() or not (SHARED / "models").is_dir(),
        reason=f"photographs or weights are absent under {SHARED}",
    ),
]


def faces_of(rgbs: list[Rgb]) -> list[tuple[Rgb, Face]]:
    results = open_engine(free_pack()).read_many(rgbs)
    found = [(rgb, r.face) for rgb, r in zip(rgbs, results, strict=True) if r.face is not None]
    assert len(found) == len(rgbs)
    return found


def test_each_fault_raises_the_equal_error_rate() -> None:
    """Thirty people, three photographs each; the colour order on generated pictures, ORL being grey.

    d' must fall as well: on small sets an EER moves in steps.
    """
    rgbs, who = orl()
    few = [k for k in range(len(rgbs)) if k % 10 in (0, 4, 8)]
    grey, names = faces_of([rgbs[k] for k in few]), [who[k] for k in few]
    soft, theirs = generated()
    coloured = faces_of(soft)
    right = people_eer(embed_with(free_pack(), grey), names)
    right_coloured = linked_eer(embed_with(free_pack(), coloured), theirs)
    worse = 0
    for fault in FAULTS:
        if fault == "colour order":
            eer, d_prime = linked_eer(embed_with(free_pack(), coloured, fault), theirs)
            better = right_coloured
        else:
            eer, d_prime = people_eer(embed_with(free_pack(), grey, fault), names)
            better = right
        assert eer > better[0], f"{fault}: EER {eer:.4f} against {better[0]:.4f}"
        assert d_prime < better[1], f"{fault}: d' {d_prime:.2f} against {better[1]:.2f}"
        worse += 1
    assert worse == 4
