"""References are held out first, spread over size and direction, whole families at a time."""

from __future__ import annotations

from collections import Counter

import pytest

from vultus.core.errors import DatasetError
from vultus.datasets.records import Candidate, CurateSpec
from vultus.datasets.split import (
    Split,
    check_split,
    choose_references,
    families,
    split_pictures,
)

BOXES = {"large": 64.0, "medium": 30.0, "small": 12.0}


def _candidate(i: int, size: str = "large", state: str = "ok", nose: float = 50.0) -> Candidate:
    side = BOXES[size]
    points = ((40.0, 40.0), (60.0, 40.0), (nose, 50.0), (42.0, 60.0), (58.0, 60.0))
    return Candidate(
        f"p{i:02d}.png", f"sha256:{i:064d}", 128, 128, "", state, (0, 0, side, side), points, 1.0
    )


def _alone(candidates: list[Candidate]) -> dict[str, str]:
    return {candidate.name: candidate.name for candidate in candidates}


def test_each_third_by_size_of_the_face_gives_its_share() -> None:
    sizes = ["large"] * 12 + ["medium"] * 12 + ["small"] * 12
    candidates = [_candidate(i, size) for i, size in enumerate(sizes)]
    chosen = choose_references(candidates, _alone(candidates), CurateSpec(), seed=1)
    assert len(chosen) == 12
    counts = Counter(c.face_size for c in candidates if c.name in chosen)
    assert counts == {"large": 4, "medium": 4, "small": 4}


def test_the_split_looks_at_directions_too() -> None:
    candidates = [_candidate(i, nose=(40.0, 50.0, 60.0)[i % 3]) for i in range(36)]
    chosen = choose_references(candidates, _alone(candidates), CurateSpec(), seed=1)
    counts = Counter(c.facing for c in candidates if c.name in chosen)
    assert counts == {"left": 4, "ahead": 4, "right": 4}


def test_the_split_is_a_named_draw() -> None:
    candidates = [_candidate(i) for i in range(30)]
    once = choose_references(candidates, _alone(candidates), CurateSpec(), seed=1)
    assert once == choose_references(candidates[::-1], _alone(candidates), CurateSpec(), seed=1)
    assert once != choose_references(candidates, _alone(candidates), CurateSpec(), seed=2)


def test_families_are_never_torn_apart() -> None:
    candidates = [_candidate(i) for i in range(30)]
    lineage = {candidate.name: f"shot {i // 3}" for i, candidate in enumerate(candidates)}
    for seed in range(10):
        chosen = choose_references(candidates, lineage, CurateSpec(), seed)
        sizes = Counter(lineage[name] for name in chosen)
        assert len(sizes) >= 4
        assert set(sizes.values()) == {3}


def test_doubtful_faces_are_trained_on_but_never_measure() -> None:
    doubtful = [_candidate(i, state="uncertain_landmarks") for i in range(10)]
    sure = [_candidate(10 + i) for i in range(14)]
    chosen = choose_references(doubtful + sure, _alone(doubtful + sure), CurateSpec(), seed=1)
    assert len(chosen) == 12
    assert chosen <= {candidate.name for candidate in sure}


@pytest.mark.parametrize("count", [1, 3, 17])
def test_too_few_pictures_are_refused_with_the_number_needed(count: int) -> None:
    candidates = [_candidate(i) for i in range(count)]
    with pytest.raises(DatasetError) as caught:
        choose_references(candidates, _alone(candidates), CurateSpec(), seed=1)
    assert f"only {count} usable" in caught.value.what
    assert "18" in caught.value.expected


def test_too_few_sure_faces_are_refused() -> None:
    candidates = [_candidate(i, state="uncertain_landmarks") for i in range(30)]
    with pytest.raises(DatasetError, match="without doubt"):
        choose_references(candidates, _alone(candidates), CurateSpec(), seed=1)


def test_training_keeps_its_minimum() -> None:
    candidates = [_candidate(i) for i in range(18)]
    spec = CurateSpec(reference_share=0.7)
    chosen = choose_references(candidates, _alone(candidates), spec, seed=1)
    assert len(chosen) == 12


def test_families_join_copies_crops_and_frames_of_one_shot() -> None:
    names = ["a", "b", "c", "d", "e", "f", "g"]
    family = families(
        names, [("a", "b"), ("b", "gone")], {"c": "gone", "d": "film#1", "e": "film#1"}
    )
    assert family["a"] == family["b"] == family["c"] == "a"
    assert family["d"] == family["e"] == "d"
    assert family["f"] == "f" and family["g"] == "g"
    assert set(family) == set(names), "who is not in the set has no side"


def test_a_split_tells_its_strata_and_keeps_families_whole() -> None:
    candidates = [_candidate(i, nose=(40.0, 50.0, 60.0)[i % 3]) for i in range(30)]
    names = [candidate.name for candidate in candidates]
    links = [(names[i], names[i + 1]) for i in range(0, 20, 2)]
    split = split_pictures(candidates, families(names, links), CurateSpec(), 3)
    assert set(split.references) | set(split.training) == set(names)
    assert not set(split.references) & set(split.training)
    for a, b in links:
        assert (a in split.references) == (b in split.references)
    assert sum(every for _, every in split.strata.values()) == 30
    assert sum(held for held, _ in split.strata.values()) == len(split.references) >= 12


def test_a_leaking_split_is_refused() -> None:
    with pytest.raises(DatasetError, match="same shot"):
        check_split(Split(("a",), ("b",), {"a": "x", "b": "x"}, {}))
    check_split(Split(("a",), ("b",), {"a": "x", "b": "y"}, {}))
