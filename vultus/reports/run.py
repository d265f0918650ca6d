"""Tells a whole run: from its outcome to the record that the page shows. No fact is added on the way.

What the reader sees first are pictures that nobody picked: the chosen cell on fresh prompts, in the order of the plan.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vultus.datasets.records import REASON_WORDS, Drop, Member
from vultus.reports.guards import guard_views, second_view
from vultus.reports.records import (
    CellView,
    ChosenView,
    Curve,
    DroppedPicture,
    Fact,
    GroupView,
    PictureView,
    RunReport,
    Timing,
    VerdictWords,
    YardstickView,
)
from vultus.reports.sheets import contact_sheets
from vultus.reports.words import places_sentence, run_limits, run_verdict
from vultus.scoring.records import CellScore
from vultus.studies.outcome import CellOutcome, Outcome, Scale

__all__ = ["lora_file_name", "run_report"]

STAGE_WORDS = {
    "curate": "pictures curated",
    "train": "LoRA trained",
    "render": "renders made",
    "read": "faces read",
    "yardstick": "yardsticks frozen",
    "score": "cells scored",
}


def run_report(outcome: Outcome, created: str = "", file_name: str = "") -> RunReport:
    """The record of a run; the same outcome always gives the same record.

    `file_name` is the LoRA's in loras/, where that is not its first choice.
    """
    chosen = _chosen(outcome, file_name or lora_file_name(outcome))
    renders = sum(len(one.renders) for one in outcome.cells) + len(outcome.fresh.renders)
    return RunReport(
        title=outcome.persona.name,
        subtitle=f"{len(outcome.cells)} cells, {renders} renders",
        created=created,
        verdict=_verdict(outcome, chosen),
        chosen=chosen,
        cells=tuple(_cell_view(outcome, one) for one in outcome.cells),
        yardsticks=_yardsticks(outcome),
        sheets=contact_sheets(outcome),
        losses=(Curve("training loss", tuple((float(s), v) for s, v in outcome.losses)),),
        references=tuple(_member(outcome, one) for one in outcome.dataset.references),
        trained=tuple(_member(outcome, one) for one in outcome.dataset.training),
        n_pictures=outcome.pictures_listed,
        dropped=tuple(_dropped(outcome, i, drop) for i, drop in enumerate(outcome.dataset.drops)),
        timings=tuple(
            Timing(
                STAGE_WORDS.get(stage.kind, stage.kind),
                stage.seconds,
                f"{stage.steps} step{'' if stage.steps == 1 else 's'} in the ledger",
            )
            for stage in outcome.stages
        ),
        facts=_facts(outcome),
        ceiling=outcome.ceiling,
        guards=guard_views(outcome),
        second=second_view(outcome),
        ticks=outcome.ticks,
        environment=outcome.environment,
        limits=(
            *_rivals(outcome),
            *run_limits(
                1, len(outcome.plan.confirm.prompts.rows()), len(outcome.dataset.references)
            ),
            *outcome.dataset.notes,
            *outcome.training_notes,
        ),
    )


def _rivals(outcome: Outcome) -> tuple[str, ...]:
    """The other finalists, by fresh blocks only."""
    told = []
    for rival in outcome.choice.rivals:
        gap = rival.behind.words(2)
        sure = "told apart" if rival.told_apart else "not told apart"
        told.append(
            f"Finalist {rival.cell.words}: chosen minus this one is {gap} m10 on the same fresh blocks, {sure};"
            f" its chance to be the best is {rival.p_best:.0%} (the chosen one's {outcome.choice.p_best:.0%})."
        )
    return tuple(told)


def _verdict(outcome: Outcome, chosen: ChosenView) -> VerdictWords:
    verdict = run_verdict(chosen, outcome.persona.name)
    across = places_sentence(outcome.places)
    return replace(verdict, sentences=(*verdict.sentences, across)) if across else verdict


def lora_file_name(outcome: Outcome) -> str:
    """The name under which the chosen checkpoint is handed over; a given file's own might be taken already."""
    words = "".join(c if c.isalnum() else "-" for c in outcome.persona.name.lower()).strip("-")
    if outcome.plan.loras:
        return f"{words or 'persona'}-chosen-{outcome.chosen_checkpoint.path.name}"
    chosen = outcome.chosen_checkpoint
    if chosen.averaged:
        return f"{words or 'persona'}-mean-{'-'.join(map(str, chosen.averaged))}.safetensors"
    return f"{words or 'persona'}-step-{chosen.step:06d}.safetensors"


def _chosen(outcome: Outcome, file_name: str) -> ChosenView:
    cell = outcome.choice.chosen
    score = outcome.fresh.score
    return ChosenView(
        base=cell.place,
        checkpoint=cell.checkpoint,
        strength=cell.strength,
        m10=score.m10,
        yield_share=score.yield_share,
        misses=score.misses,
        n_renders=score.n_renders,
        cosine_mean=score.cosine_mean,
        llr10_mean=score.llr10_mean,
        screening=outcome.cell(cell).score.m10,
        groups=tuple(GroupView(g.name, g.m10, g.misses, g.n_renders) for g in score.groups),
        gate_answer=outcome.gate.answer,
        gate_bar=outcome.plan.gate.m10,
        gate_reasons=outcome.gate.reasons,
        file_name=f"loras/{file_name}",
        trigger=outcome.persona.with_trigger,
    )


def _cell_view(outcome: Outcome, one: CellOutcome) -> CellView:
    cell = one.cell
    return CellView(
        base=cell.place,
        checkpoint=cell.checkpoint,
        strength=cell.strength,
        m10=one.score.m10,
        misses=one.score.misses,
        n_renders=one.score.n_renders,
        chosen=cell == outcome.choice.chosen,
        tied=cell in outcome.choice.tied and cell != outcome.choice.chosen,
        label=next(
            (o.words for o in outcome.checkpoints if o.averaged and o.step == cell.checkpoint), ""
        ),
    )


def _yardsticks(outcome: Outcome) -> tuple[YardstickView, ...]:
    best = outcome.choice.chosen.base
    views = [
        _scale(
            outcome,
            scale,
            outcome.cell(outcome.choice.chosen).score if scale.base == best else None,
        )
        for scale in outcome.scales
    ]
    views.append(_scale(outcome, outcome.fresh_scale, outcome.fresh.score, ", fresh prompts"))
    return tuple(views)


def _scale(
    outcome: Outcome, scale: Scale, score: CellScore | None, words: str = ""
) -> YardstickView:
    yardstick = scale.yardstick
    refused = "; ".join(scale.refused)
    measurable = len(yardstick.references) >= 2 and len(yardstick.impostors) >= 1
    calibrated = not refused
    misses = yardstick.impostor_misses
    return YardstickView(
        label=f"{scale.base}{words}",
        references=tuple(float(v) for v in yardstick.genuine) if measurable else (),
        impostors=tuple(float(v) for v in yardstick.strangers) if measurable else (),
        renders=tuple(r.cosine for r in score.renders if r.cosine is not None) if score else (),
        cllr=yardstick.calibration.cllr if calibrated else None,
        cllr_min=yardstick.calibration.cllr_min if calibrated else None,
        digest=yardstick.digest,
        pack=outcome.pack_name,
        refused=refused,
        warnings=(f"{misses} impostor renders show no face",) if misses else (),
    )


def _member(outcome: Outcome, member: Member) -> PictureView:
    return PictureView(
        outcome.dataset_folder / member.picture,
        name=member.name,
        note=member.caption
        if member.role == "training"
        else f"{member.face_size} face, looking {member.facing}",
        cosine=member.cosine,
    )


def _dropped(outcome: Outcome, position: int, drop: Drop) -> DroppedPicture:
    partner = next(
        (
            _member(outcome, member)
            for member in outcome.dataset.members
            if member.name == drop.partner
        ),
        None,
    )
    return DroppedPicture(
        PictureView(_thumbnail(outcome, position), name=drop.name),
        REASON_WORDS[drop.reason],
        drop.detail,
        partner,
    )


def _thumbnail(outcome: Outcome, position: int) -> Path:
    return outcome.dataset_folder / "dropped" / f"{position:04d}.png"


def _row_words(outcome: Outcome) -> str:
    if not outcome.row_renders:
        return ""
    return f"; {outcome.row_renders} renders more completed the chosen checkpoint's row of strengths after the choice"


def _training_facts(outcome: Outcome) -> tuple[Fact, ...]:
    """How the checkpoints came to be: trained here, or given."""
    if outcome.plan.loras:
        return tuple(
            Fact(f"given as {one.step}", f"{one.path.name}, {one.content_id}")
            for one in outcome.checkpoints
        )
    train = outcome.plan.train
    recipe = (
        f"rank {train.rank}, alpha {train.alpha:g}, {train.steps} steps of {train.batch},"
        f" {train.optimizer} at {train.peak_rate:g}, {train.resolution_px} px"
    )
    return (Fact("trained on", outcome.plan.trains_on), Fact("training", recipe))


def _facts(outcome: Outcome) -> tuple[Fact, ...]:
    render = outcome.plan.render
    bases = [Fact(f"base {base.name}", base.digest) for base in outcome.bases.values()]
    return (
        Fact("persona", f"{outcome.persona.name}: {outcome.persona.provenance}, adult"),
        Fact("face pack", f"{outcome.pack_name} ({outcome.pack_licence}), {outcome.pack_digest}"),
        *bases,
        *_training_facts(outcome),
        Fact(
            "rendering",
            f"{render.width_px} x {render.height_px} px, {render.scheduler}, {render.steps} steps,"
            f" guidance {render.guidance:g}",
        ),
        Fact(
            "sweep",
            f"{outcome.plan.sweep.allocator}, {outcome.swept_rounds} rounds: {outcome.swept_stop}"
            + _row_words(outcome),
        ),
        Fact("chosen checkpoint", outcome.chosen_checkpoint.content_id),
        Fact("evidence", f"{len(outcome.keys)} steps in the ledger"),
    )
