"""A yardstick refuses what cannot carry a score, says every reason, and cannot be altered unseen."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.scoring.worlds import PACK, D, World, unit
from vultus.core.errors import FaceError, ScoreError
from vultus.faces.similarity import Vectors, leave_one_out
from vultus.scoring.similarity import leave_references_out, pose_bins
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
    """One bin: the plain definition. Three bins: the whole thing made anew without each reference."""
    rows = World(8).genuine(13).astype(np.float32)
    fast = leave_references_out(pose_bins(rows))
    poses = ["ahead"] * 7 + ["left"] * 4 + ["right"] * 2
    binned = leave_references_out(pose_bins(rows, poses))
    for i in range(13):
        rest = np.delete(rows, i, axis=0)
        slow = leave_one_out(Vectors(rest, PACK)).mean()
        assert fast.genuine_means[i] == pytest.approx(slow, abs=1e-6)
        centroid = unit(rest.astype(float).sum(axis=0))
        assert fast.centroids[i, 0] == pytest.approx(centroid, abs=1e-6)
        assert fast.centroids[i, -1] == pytest.approx(centroid, abs=1e-6)
        anew = pose_bins(rest, [p for j, p in enumerate(poses) if j != i])
        assert binned.genuine_means[i] == pytest.approx(anew.genuine().mean(), abs=1e-9)
        assert binned.centroids[i] == pytest.approx(anew.centroids(), abs=1e-9)
    with pytest.raises(ValueError, match="needs 3"):
        leave_references_out(pose_bins(rows[:2]))


def test_a_bin_is_drawn_to_the_whole_the_more_the_smaller_it_is() -> None:
    """Two poses far apart: with twenty references a bin is itself, with one it is the whole."""
    rng = np.random.default_rng(5)
    ahead, left = unit(rng.normal(size=D)), unit(rng.normal(size=D))

    def pull(n_left: int) -> float:
        rows = np.vstack([np.tile(ahead, (20, 1)), np.tile(left, (n_left, 1))]).astype(np.float32)
        bins = pose_bins(rows, ["ahead"] * 20 + ["left"] * n_left)
        return float(bins.centroids()[bins.place(["left"])[0]] @ left)

    near = [pull(n) for n in (1, 2, 6, 20, 200)]
    assert near == sorted(near) and near[0] < 0.5 and near[-1] > 0.98
    rows = np.tile(ahead, (3, 1)).astype(np.float32)
    bins = pose_bins(rows, ["ahead", "ahead", "left"])
    assert bins.place(["left", "behind", "ahead"]).tolist() == [1, 2, 0], "unknown poses: the whole"


def test_poses_compare_like_with_like() -> None:
    """Turned faces resemble each other, whoever they are: without poses a stranger in profile gains points by it."""
    world = World(11, shift=0.0, prompt_sd=0.0)
    turn = 0.5 * unit(np.random.default_rng(1).normal(size=D))
    prompts = world.prompts(12)
    refs = np.vstack([world.genuine(40), unit(world.genuine(40) + turn)])
    imps = np.vstack([world.impostors(prompts, 2), unit(world.impostors(prompts, 2) + turn)])
    poses, imp_poses = ["ahead"] * 40 + ["left"] * 40, ["ahead"] * 24 + ["left"] * 24
    names = tuple(f"p{i // 2}" for i in range(24)) * 2
    plain = Yardstick(refs.astype(np.float32), imps.astype(np.float32), names, PACK)
    binned = replace(plain, reference_poses=tuple(poses), impostor_poses=tuple(imp_poses))
    persona = unit(world.genuine(300) + turn).astype(np.float32)
    stranger = unit(world.impostors(world.prompts(60), 5) + turn).astype(np.float32)

    def blind(faces: np.ndarray) -> float:
        return float(plain.points(plain.cosines(faces)).mean())

    def told(faces: np.ndarray) -> float:
        return float(binned.points(binned.cosines(faces, ["left"] * 300), "left").mean())

    assert abs(told(persona) - 10.0) < 0.6 < 1.0 < abs(blind(persona) - 10.0)
    assert abs(told(stranger)) < 1.2 and blind(stranger) > 2.0
    again = Yardstick.from_json(json.loads(json.dumps(binned.to_json())))
    assert again.digest == binned.digest != plain.digest
    assert binned.needs() == () and binned.poses() == {"ahead": 40, "left": 40}


def test_a_refusal_says_what_to_add() -> None:
    world = World(7)
    names = [f"p{i}" for i in range(16)]
    few = Yardstick(
        world.genuine(9).astype(np.float32),
        world.impostors(world.prompts(4), 4).astype(np.float32),
        tuple(names),
        PACK,
    )
    assert few.needs() == ("add 3 clear pictures of the person to hold out, better 27",)
    with pytest.raises(ScoreError) as told:
        few.require()
    assert "add 3 clear pictures" in told.value.next_command
    one_sided = Yardstick.freeze(
        world.genuine(14),
        world.impostors(world.prompts(4), 4),
        names,
        PACK,
        reference_poses=["ahead"] * 12 + ["left"] * 2,
    )
    assert one_sided.needs() == (
        "sharper with 6 references of every pose, few are looking left (2)",
    )
