"""The gate certifies only what clears the bar with room, and names every reason when it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.scoring.worlds import World, rows_of
from vultus.scoring.gate import certified_chance, judge, lower_bound
from vultus.scoring.panel import score_cell
from vultus.scoring.records import CellScore, GateSpec, GroupScore, Guard
from vultus.stats.estimate import Estimate, wilson


@pytest.fixture(scope="module")
def score() -> CellScore:
    world = World(1, shift=0.3)
    prompts = world.prompts(12)
    return score_cell(world.yardstick(prompts), rows_of(world.renders(prompts, 2), 2))


def with_m10(score: CellScore, value: float, half: float) -> CellScore:
    return replace(score, m10=Estimate(value, value - half, value + half, "m10", 24), flags=())


@pytest.mark.parametrize(
    ("value", "half", "answer"),
    [
        (9.5, 1.0, "certified"),
        (8.3, 1.0, "provisional"),
        (7.9, 1.0, "undecided"),
        (7.9, 0.1, "refused"),
    ],
)
def test_point_and_lower_bound_decide(
    score: CellScore, value: float, half: float, answer: str
) -> None:
    verdict = judge(GateSpec(m10=8.0), with_m10(score, value, half))
    assert verdict.answer == answer and len(verdict.reasons) == 1
    assert verdict.passed == (answer in ("certified", "provisional"))
    strict = {"certified": "pass", "refused": "fail"}.get(answer, "undecided")
    assert verdict.decision() == strict
    assert verdict.decision("provisional") == ("pass" if answer == "provisional" else strict)


def test_the_lower_bound_is_one_sided_and_inside_the_interval(score: CellScore) -> None:
    bound = lower_bound(score.m10, 0.90, 12)
    assert score.m10.low < bound < score.m10.value
    assert lower_bound(score.m10, 0.975, 12) == pytest.approx(score.m10.low)
    assert lower_bound(score.m10, 0.90, 1) == -np.inf


def test_a_weak_part_missing_faces_and_copies_each_refuse(score: CellScore) -> None:
    fine = with_m10(score, 9.5, 0.5)
    weak = GroupScore("full body", Estimate(4.0, 3.0, 5.0, "m10", 8), 0, 8)
    faults = replace(
        fine,
        groups=(weak,),
        misses=4,
        miss_rate=wilson(4, 24),
    )
    verdict = judge(GateSpec(m10=8.0), faults, (Guard("prompt", False, "prompts are ignored"),))
    assert verdict.answer == "refused" and len(verdict.reasons) == 3
    for words in ("full body scores 4.0", "no face in 4 of 24", "prompts are ignored"):
        assert any(words in reason for reason in verdict.reasons)


def test_a_weak_part_within_its_luck_is_undecided_and_a_tiny_one_is_not_judged(
    score: CellScore,
) -> None:
    fine = with_m10(score, 9.5, 0.5)
    maybe = GroupScore("full body", Estimate(5.5, 3.0, 8.0, "m10", 8), 0, 8)
    verdict = judge(GateSpec(), replace(fine, groups=(maybe,)))
    assert verdict.answer == "undecided" and "full body" in verdict.reasons[0]
    tiny = GroupScore("full body", Estimate(1.0, 0.0, 2.0, "m10", 3), 0, 3)
    assert judge(GateSpec(), replace(fine, groups=(tiny,))).answer == "certified"
    aside = GroupScore("left", Estimate(2.0, 1.0, 3.0, "m10", 8), 0, 8)
    turned = judge(GateSpec(), replace(fine, poses=(aside,)))
    assert turned.answer == "refused" and "looking left scores 2.0" in turned.reasons[0]


def test_closer_than_real_needs_the_copying_guard(score: CellScore) -> None:
    close = replace(with_m10(score, 11.0, 0.3), flags=("closer to the persona than its own",))
    assert judge(GateSpec(), close).answer == "undecided"
    assert judge(GateSpec(), close, (Guard("copying", True, "no copies"),)).answer == "certified"
    assert judge(GateSpec(), close, (Guard("copying", False, "copies"),)).answer == "refused"


def test_a_guard_that_was_asked_for_must_have_looked(score: CellScore) -> None:
    fine = with_m10(score, 9.5, 0.5)
    asked = GateSpec(guards=("copying", "diversity"))
    verdict = judge(asked, fine, (Guard("copying", True, "no copies"),))
    assert verdict.answer == "undecided" and verdict.reasons == ("diversity was not measured",)
    open_guard = (Guard("copying", True, ""), Guard("diversity", None, "too few seeds"))
    assert judge(asked, fine, open_guard).answer == "undecided"
    assert [c.name for c in verdict.conditions][-2:] == ["copying", "diversity"]


def test_the_upper_bound_of_misses_counts_where_it_could_be_met(score: CellScore) -> None:
    """One miss of 24 is 4 %, but up to 14 %: open. None of 12 could never prove less than 12 %."""
    fine = with_m10(score, 9.5, 0.5)
    assert judge(GateSpec(), replace(fine, misses=1)).answer == "undecided"
    assert judge(GateSpec(), replace(fine, misses=3)).answer == "refused"
    assert judge(GateSpec(), replace(fine, n_renders=12)).answer == "certified"


def test_the_power_table_of_the_reference_is_reproduced() -> None:
    """measuring.md section 5: sd 0.43, a true 8.4 is certified about 36 %, a true 9.0 about 85 %."""
    assert certified_chance(8.4, 8.0, 0.43) == pytest.approx(0.36, abs=0.02)
    assert certified_chance(9.0, 8.0, 0.43) == pytest.approx(0.85, abs=0.01)
