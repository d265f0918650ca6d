"""m10 is 0 for impostors and 10 for the persona, counts missing faces, and its interval tells the truth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.scoring.worlds import World, rows_of, unit
from vultus.core.errors import ScoreError
from vultus.scoring.panel import difference, score_cell
from vultus.scoring.records import CellScore, RenderRow
from vultus.scoring.yardstick import Yardstick


def test_impostors_score_exactly_zero() -> None:
    """The renders that set the zero lie at it: no drift, no offset, whatever the prompts do."""
    world = World(1)
    yardstick = world.yardstick(world.prompts(12))
    score = score_cell(yardstick, rows_of(yardstick.impostors.astype(np.float64), 4))
    assert score.m10.value == pytest.approx(0.0, abs=1e-6)
    assert score.m10.half_width < 1e-6
    assert score.yield_share.value <= 0.1 and score.llr10_mean < 0


def test_fresh_impostors_score_zero_and_fresh_pictures_of_the_persona_ten() -> None:
    zero, ten = [], []
    for seed in range(12):
        world = World(seed, shift=0.0, prompt_sd=0.0)
        prompts = world.prompts(12)
        yardstick = world.yardstick(prompts)
        zero.append(score_cell(yardstick, rows_of(world.impostors(prompts, 4), 4)).m10)
        ten.append(score_cell(yardstick, rows_of(world.genuine(48), 4)).m10)
    assert len(zero) == len(ten) == 12
    assert abs(np.mean([m.value for m in zero])) < 0.25
    assert abs(np.mean([m.value for m in ten]) - 10.0) < 0.35
    assert all(abs(m.value) < 1.0 for m in zero)


def test_missing_faces_score_zero_points_and_are_counted() -> None:
    world = World(3)
    prompts = world.prompts(12)
    yardstick = world.yardstick(prompts)
    rows = rows_of(world.renders(prompts, 2), 2)
    whole = score_cell(yardstick, rows)
    half = [replace(r, emb=None, state="none") if r.seed == 0 else r for r in rows]
    score = score_cell(yardstick, half)
    kept = score_cell(yardstick, [r for r in rows if r.seed == 1])
    assert score.m10.value == pytest.approx(kept.m10.value / 2)
    assert score.m10.value < 0.7 * whole.m10.value
    assert (score.misses, score.n_renders, score.m10.n_renders) == (12, 24, 24)
    assert score.miss_rate.value == 0.5
    assert sum(r.points == 0.0 and r.cosine is None for r in score.renders) == 12
    assert any("no face in 12 of 24" in flag for flag in score.flags)


def test_a_cell_without_a_single_face_scores_zero_not_nothing() -> None:
    world = World(4)
    prompts = world.prompts(8)
    yardstick = world.yardstick(prompts)
    rows = [RenderRow(f"p{i}", 0, None, "none") for i in range(8)]
    score = score_cell(yardstick, rows)
    assert score.m10.value == 0.0 and score.misses == 8
    assert score.cosine_mean == pytest.approx(yardstick.impostor_mean)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("references", "prompts", "seeds", "shift"), [(24, 12, 2, 0.5), (36, 12, 1, 1.0)]
)
def test_the_interval_covers_the_planted_truth(
    references: int, prompts: int, seeds: int, shift: float
) -> None:
    """95 % intervals cover the truth of endless pictures in 90-100 % of 120 worlds, and are no wider
    than they must be: their half width stays below 1.45 times what the spread of the scores asks for."""
    covered, errors, widths = 0, [], []
    for seed in range(120):
        world = World(seed % 20, shift)
        world.rng = np.random.default_rng(20_000 + seed)
        drawn = world.prompts(prompts)
        yardstick = world.yardstick(drawn, references)
        m10 = score_cell(yardstick, rows_of(world.renders(drawn, seeds), seeds)).m10
        truth = TRUTHS.setdefault((seed % 20, shift), world.truth())
        covered += m10.low <= truth <= m10.high
        errors.append(m10.value - truth)
        widths.append(m10.half_width)
    assert len(errors) == 120
    assert covered / 120 >= 0.90
    assert abs(np.mean(errors)) < 0.3
    assert np.mean(widths) < 1.45 * 1.96 * np.std(errors)


TRUTHS: dict[tuple[int, float], float] = {}


def test_fresh_prompts_bring_their_own_luck_and_more_prompts_help() -> None:
    world = World(6)
    shared, fresh = world.prompts(12), world.prompts(12)
    yardstick = world.yardstick(shared)
    few = score_cell(yardstick, rows_of(world.renders(fresh[:4], 2), 2, first=100))
    many = score_cell(yardstick, rows_of(world.renders(fresh, 2), 2, first=100))
    assert many.m10.half_width < few.m10.half_width
    assert few.m10.bounded
    one = score_cell(yardstick, rows_of(world.renders(fresh[:1], 5), 5, first=100))
    assert not one.m10.bounded and any("only 1 prompts" in flag for flag in one.flags)


def test_the_same_material_always_gives_the_same_score_in_any_order() -> None:
    world = World(7)
    prompts = world.prompts(6)
    yardstick = world.yardstick(prompts)
    rows = rows_of(world.renders(prompts, 2), 2)
    a, b = score_cell(yardstick, rows), score_cell(yardstick, rows[::-1])
    assert a == score_cell(yardstick, rows)
    assert (a.m10.value, a.m10.low) == pytest.approx((b.m10.value, b.m10.low))
    assert CellScore.from_json(a.to_json()) == a


def test_parts_of_the_panel_are_scored_beside_the_whole() -> None:
    world = World(8)
    prompts = world.prompts(12)
    yardstick = world.yardstick(prompts)
    good = rows_of(world.renders(prompts[:6], 2), 2, group="close-up")
    bad = rows_of(world.impostors(prompts[6:], 2), 2, group="full body", first=6)
    score = score_cell(yardstick, good + bad)
    assert [g.name for g in score.groups] == ["close-up", "full body"]
    assert score.group("close-up").m10.value > 5 > 2 > score.group("full body").m10.value
    mean = np.mean([g.m10.value for g in score.groups])
    assert score.m10.value == pytest.approx(mean)


def test_closer_than_the_persona_itself_is_flagged() -> None:
    world = World(9)
    prompts = world.prompts(12)
    yardstick = world.yardstick(prompts)
    c = unit(yardstick.references.astype(np.float64).sum(axis=0))
    rows = [RenderRow(f"p{i}", 0, c.astype(np.float32)) for i in range(12)]
    score = score_cell(yardstick, rows)
    assert score.m10.value > 10.5
    assert any(flag.startswith("closer") for flag in score.flags)


def test_the_difference_of_two_cells_is_paired_by_block() -> None:
    world = World(10)
    prompts = world.prompts(12)
    yardstick = world.yardstick(prompts)
    faces = world.renders(prompts, 2)
    # Pushing a face by 0.2 of the persona raises its cosine: a planted, unmistakable gain.
    better = unit(faces + 0.2 * world.mu)
    a, b = score_cell(yardstick, rows_of(better, 2)), score_cell(yardstick, rows_of(faces, 2))
    gain = difference(a, b)
    assert gain.value == pytest.approx(a.m10.value - b.m10.value)
    assert gain.low > 0 and gain.half_width < 0.5 * a.m10.half_width
    with pytest.raises(ScoreError, match="share 24 blocks of 24 and 26"):
        difference(a, score_cell(yardstick, rows_of(world.renders(world.prompts(13), 2), 2)))


def test_rows_that_are_not_one_cell_are_refused() -> None:
    world = World(11)
    prompts = world.prompts(6)
    yardstick = world.yardstick(prompts)
    rows = rows_of(world.renders(prompts, 1), 1)
    with pytest.raises(ScoreError, match="without renders"):
        score_cell(yardstick, [])
    with pytest.raises(ScoreError, match="7 renders but only 6"):
        score_cell(yardstick, [*rows, rows[0]])
    with pytest.raises(ScoreError, match="yardstick of width"):
        score_cell(yardstick, [replace(rows[0], emb=np.ones(3, np.float32))])


def test_a_yardstick_that_cannot_carry_a_score_gives_none() -> None:
    world = World(12)
    prompts = world.prompts(4)
    weak = Yardstick(
        references=world.genuine(5).astype(np.float32),
        impostors=world.impostors(prompts, 4).astype(np.float32),
        impostor_prompts=tuple(f"p{i}" for i in range(4) for _ in range(4)),
        pack_digest="sha256:0",
    )
    with pytest.raises(ScoreError, match="5 references"):
        score_cell(weak, rows_of(world.renders(prompts, 1), 1))
    assert math.isfinite(weak.genuine_mean)
