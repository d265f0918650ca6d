"""Guard-rails on planted truths: each sees what was planted, and nothing where nothing was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.scoring.worlds import World, rows_of
from vultus.images.hashing import N_BITS
from vultus.scoring import copying, guards
from vultus.scoring.gate import judge
from vultus.scoring.guards import Seen
from vultus.scoring.panel import score_cell
from vultus.scoring.records import GateSpec, Guard
from vultus.scoring.second import SECOND_JUDGE, decide, second_guard, second_opinion

PROMPTS, SEEDS = 8, 3


def seen_of(
    emb: np.ndarray, rng: np.random.Generator, luck: np.random.Generator | None = None
) -> list[Seen]:
    """Renders with these faces; what belongs to the block (face, light) is equal for equal `rng`."""
    found = []
    for i, row in enumerate(emb):
        found.append(
            Seen(
                prompt_id=f"p{i // SEEDS}",
                seed=i % SEEDS,
                emb=row.astype(np.float32),
                face_share=float(rng.uniform(0.25, 0.35)),
                sharpness=float(rng.uniform(0.4, 0.6)),
                bits=(luck or rng).random(N_BITS) < 0.5,
                structure=80.0,
                luma_mean=120.0,
                luma_sd=40.0,
                clipped=float(rng.uniform(0.0, 0.02)),
                obeyed=float(rng.choice([0.75, 1.0])),
            )
        )
    return found


@pytest.fixture
def honest() -> tuple[list[Seen], list[Seen], copying.Known]:
    """A LoRA that learnt the person and copies nothing, and its base."""
    world = World(3, shift=0.2)
    prompts = world.prompts(PROMPTS)
    chosen = seen_of(world.renders(prompts, SEEDS), np.random.default_rng(5))
    base = seen_of(
        world.impostors(prompts, SEEDS), np.random.default_rng(5), np.random.default_rng(6)
    )
    trained, references = world.genuine(24), world.genuine(14)
    rng = np.random.default_rng(7)
    known = copying.Known(
        trained.astype(np.float32),
        references.astype(np.float32),
        rng.random((24, 2, N_BITS)) < 0.5,
        rng.random((14, N_BITS)) < 0.5,
        0.4,
    )
    return chosen, base, known


def every(chosen: list[Seen], base: list[Seen], known: copying.Known) -> dict[str, Guard]:
    found = [
        copying.copying(chosen, base, known),
        copying.copied_pictures(chosen, base, known),
        copying.black_hole(chosen, known),
        guards.flat_pictures(chosen, base),
        guards.adherence(chosen, base, "share", "planted"),
        guards.framing(chosen, base),
        guards.diversity(chosen, base),
        *guards.quality(chosen, base),
    ]
    return {one.name: one for one in found}


def test_an_honest_lora_keeps_every_guard_rail(
    honest: tuple[list[Seen], list[Seen], copying.Known],
) -> None:
    found = every(*honest)
    assert len(found) == 9
    assert {name: one.kept for name, one in found.items()} == dict.fromkeys(found, True)


def change(seen: Sequence[Seen], alter: Callable[[int, Seen], Seen]) -> list[Seen]:
    return [alter(i, one) for i, one in enumerate(seen)]


PLANTED: dict[str, Callable[[int, Seen, list[Seen], copying.Known], Seen]] = {
    "flat pictures": lambda i, one, all_, known: (
        replace(one, emb=None, luma_sd=0.0, luma_mean=0.0) if i < 3 else one
    ),
    "adherence": lambda i, one, all_, known: replace(one, obeyed=0.25),
    "framing": lambda i, one, all_, known: replace(one, face_share=(one.face_share or 0) * 1.8),
    "diversity": lambda i, one, all_, known: replace(one, bits=all_[i - i % SEEDS].bits),
    "sharpness": lambda i, one, all_, known: replace(one, sharpness=(one.sharpness or 0) - 0.2),
    "burnt pixels": lambda i, one, all_, known: replace(one, clipped=0.3),
    "copied pictures": lambda i, one, all_, known: (
        replace(one, bits=known.trained_bits[i, 1]) if i < 4 else one
    ),
    "copying": lambda i, one, all_, known: replace(one, emb=known.trained[i % len(known.trained)]),
}


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_each_planted_fault_breaks_its_own_guard_rail_and_no_other(
    honest: tuple[list[Seen], list[Seen], copying.Known], name: str
) -> None:
    chosen, base, known = honest
    sick = change(chosen, lambda i, one: PLANTED[name](i, one, chosen, known))
    broken = {n for n, one in every(sick, base, known).items() if one.kept is False}
    assert broken == {name}


def test_one_training_picture_that_swallows_the_renders_is_a_black_hole(
    honest: tuple[list[Seen], list[Seen], copying.Known],
) -> None:
    chosen, _, known = honest
    sick = change(
        chosen,
        lambda i, one: replace(one, emb=known.trained[3]) if i % 4 else one,
    )
    assert copying.black_hole(sick, known).kept is False
    assert "nearest training picture" in copying.black_hole(sick, known).words


def test_the_nearest_of_many_is_not_nearer_than_the_nearest_of_few() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4000, 20))
    few = copying.near(values[:, :8], 8).mean()
    drawn = copying.near(values, 8).mean()
    assert abs(few - drawn) < 0.05 < copying.near(values, 20).mean() - few
    with pytest.raises(ValueError, match="cannot be drawn"):
        copying.near(values[:, :4], 8)


def test_the_copy_angle_is_one_for_a_copy_and_minus_one_for_a_reference(
    honest: tuple[list[Seen], list[Seen], copying.Known],
) -> None:
    chosen, _, known = honest
    copies = change(chosen, lambda i, one: replace(one, emb=known.trained[i % 24]))
    fresh = change(chosen, lambda i, one: replace(one, emb=known.references[i % 14]))
    assert copying.copy_angle(copies, known) == pytest.approx(1.0, abs=1e-3)
    assert copying.copy_angle(fresh, known) == pytest.approx(-1.0, abs=1e-3)
    assert abs(copying.copy_angle(chosen, known)) < 0.3


def test_leakage_is_told_and_counts_only_when_it_is_asked_for() -> None:
    world = World(1, shift=0.1)
    prompts = world.prompts(12)
    score = score_cell(world.yardstick(prompts), rows_of(world.renders(prompts, 2), 2))
    leaks = guards.leakage([(f"p{i}", 7.0 + i % 3, 0.1) for i in range(8)], 9.0)
    tight = guards.leakage([(f"p{i}", 0.3 + 0.1 * (i % 3), 0.1) for i in range(8)], 9.0)
    assert leaks.kept is False and leaks.advisory and tight.kept is True
    lax, strict = GateSpec(m10=1.0, worst_group_m10=0.0), GateSpec(1.0, 0.0, guards=("leakage",))
    assert judge(lax, score, [leaks]).answer == judge(lax, score).answer == "certified"
    assert judge(strict, score, [leaks]).answer == "refused"
    assert judge(strict, score, [tight]).answer == "certified"
    unseen = guards.not_measured("adherence", "adherence was not measured")
    asked = GateSpec(1.0, 0.0, guards=("adherence",))
    assert judge(lax, score, [unseen]).answer == "certified"
    assert judge(asked, score, [unseen]).answer == "undecided"


def test_a_second_judge_that_disagrees_takes_a_yes_back() -> None:
    world, other = World(1, shift=0.1), World(2, shift=2.5)
    prompts = world.prompts(12)
    good = score_cell(world.yardstick(prompts), rows_of(world.renders(prompts, 2), 2))
    poor_prompts = other.prompts(12)
    poor = score_cell(other.yardstick(poor_prompts), rows_of(other.renders(poor_prompts, 2), 2))
    spec = GateSpec(m10=8.0, worst_group_m10=0.0)
    assert judge(spec, good).passed and judge(spec, poor).answer == "refused"
    alike = second_opinion(("b", "sha256:b"), [good], [good], 0)
    apart = second_opinion(("b", "sha256:b"), [good], [poor], 0)
    assert alike.spearman == pytest.approx(1.0)
    assert second_guard(spec, alike).kept is True
    assert decide(spec, good, (), alike).answer == judge(spec, good).answer
    verdict = decide(spec, good, (), apart)
    assert verdict.answer == "undecided" and "second judge" in " ".join(verdict.reasons)
    assert verdict.conditions[-1].name == SECOND_JUDGE
    lenient = second_opinion(("b", "sha256:b"), [poor], [good], 0)
    assert decide(spec, poor, (), lenient).answer == "refused", "a second judge cannot make a yes"


def test_judges_that_prefer_other_finalists_say_so() -> None:
    world = World(1, shift=0.1)
    prompts = world.prompts(6)
    yardstick = world.yardstick(prompts)
    a = score_cell(yardstick, rows_of(world.renders(prompts, 2), 2))
    weak = World(1, shift=1.5)
    b = score_cell(yardstick, rows_of(weak.renders(prompts, 2), 2))
    assert second_opinion(("b", "x"), [a, b], [a, b], 0).same_best
    assert not second_opinion(("b", "x"), [a, b], [b, a], 0).same_best
