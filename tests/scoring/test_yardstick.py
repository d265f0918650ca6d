"""A yardstick refuses what cannot carry a score, says every reason, and cannot be altered unseen."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.scoring.worlds import PACK, World, unit
from vultus.core.errors import FaceError, ScoreError
from vultus.faces.similarity import Vectors, leave_one_out
from vultus.scoring.similarity import leave_references_out
from vultus.scoring.yardstick import Yardstick


def test_the_anchors_are_the_references_own_closeness_and_the_strangers() -> None:
    world = World(1)
    yardstick = world.yardstick(world.prompts(12), references=30)
    assert yardstick.genuine_mean > 0.5 > 0.45 > yardstick.impostor_mean
    points = yardstick.points(np.array([yardstick.impostor_mean, yardstick.genuine_mean]))
    assert points == pytest.approx([0.0, 10.0])
    assert 0.0 < yardstick.calibration.cllr < 0.5
    below = np.mean(yardstick.genuine < yardstick.genuine_cut)
    assert below == pytest.approx(0.1, abs=0.04)


@pytest.mark.parametrize("count", [2, 5, 11])
def test_too_few_references_are_refused(count: int) -> None:
    world = World(2)
    with pytest.raises(ScoreError) as refusal:
        world.yardstick(world.prompts(12), references=count)
    assert f"{count} references" in refusal.value.what and "12" in refusal.value.expected
    assert refusal.value.next_command


def test_twelve_references_are_enough() -> None:
    world = World(2)
    assert len(world.yardstick(world.prompts(12), references=12).references) == 12


def test_references_that_strangers_resemble_as_much_are_refused() -> None:
    """A recogniser that cannot tell the persona from strangers: Cllr near 1."""
    rng = np.random.default_rng(3)
    look = unit(rng.normal(size=96))
    crowd = unit(look + rng.normal(size=(60, 96)) * 0.2)
    with pytest.raises(ScoreError, match=r"Cllr (0\.9|1\.0)|no closer"):
        Yardstick.freeze(crowd[:20], crowd[20:], [f"p{i}" for i in range(40)], PACK)


def test_all_reasons_are_told_at_once() -> None:
    world = World(4)
    refs, imps = world.genuine(3), world.impostors(world.prompts(2), 2)
    with pytest.raises(ScoreError) as refusal:
        Yardstick.freeze(refs, imps, ["p0"], PACK, persona="ada", base="soft")
    for words in ("3 references", "4 impostors", "1 impostor prompts", "ada, soft"):
        assert words in str(refusal.value)


def test_vectors_that_are_not_unit_vectors_are_refused() -> None:
    world = World(5)
    with pytest.raises(FaceError, match="unit length"):
        Yardstick.freeze(
            world.genuine(14) * 14.0, world.impostors(world.prompts(4), 4), ["p"] * 16, PACK
        )


def test_a_yardstick_survives_json_bit_for_bit_and_betrays_a_change() -> None:
    world = World(6)
    yardstick = world.yardstick(world.prompts(8))
    text = json.dumps(yardstick.to_json())
    again = Yardstick.from_json(json.loads(text))
    assert again.digest == yardstick.digest
    assert np.array_equal(again.references, yardstick.references)
    assert again.calibration == yardstick.calibration
    altered = json.loads(text)
    altered["persona"] = "eve"
    with pytest.raises(ScoreError, match="changed after it was frozen"):
        Yardstick.from_json(altered)


def test_everything_that_enters_a_score_enters_the_digest() -> None:
    world = World(7)
    prompts = world.prompts(4)
    refs, imps = world.genuine(14), world.impostors(prompts, 4)
    names = [f"p{i}" for i in range(16)]
    first = Yardstick.freeze(refs, imps, names, PACK)
    others = [
        Yardstick.freeze(refs[::-1], imps, names, PACK),
        Yardstick.freeze(refs, imps[::-1], names, PACK),
        Yardstick.freeze(refs, imps, names[::-1], PACK),
        Yardstick.freeze(refs, imps, names, "sha256:" + "8" * 64),
        Yardstick.freeze(refs, imps, names, PACK, base="soft"),
    ]
    assert len({first.digest, *(other.digest for other in others)}) == 6
    assert Yardstick.freeze(refs, imps, names, PACK).digest == first.digest


def test_leaving_references_out_agrees_with_doing_it_one_by_one() -> None:
    """The Gram-matrix shortcut against the plain definition."""
    rows = World(8).genuine(13).astype(np.float32)
    fast = leave_references_out(rows)
    for i in range(13):
        rest = np.delete(rows, i, axis=0)
        slow = leave_one_out(Vectors(rest, PACK)).mean()
        assert fast.genuine_means[i] == pytest.approx(slow, abs=1e-6)
        assert fast.centroids[i] == pytest.approx(unit(rest.astype(float).sum(axis=0)), abs=1e-6)
    with pytest.raises(ValueError, match="3 references"):
        leave_references_out(rows[:2])
