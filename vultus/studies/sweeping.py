"""The sweep of a run: cells as the allocator asks for them, their scores, and the finalists on fresh blocks.

The confirmation measures every finalist on prompts and seeds that chose nothing, each on a scale frozen from impostors
of the same blocks. What chose a cell is never what is reported of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vultus.datasets.records import Dataset
from vultus.scoring.records import CellScore
from vultus.steps.orders import Done, Task
from vultus.studies import cost, requests
from vultus.studies.looking import (
    Look,
    Run,
    freeze,
    look,
    look_row,
    one,
    points_of,
    refuse_no_scale,
    scores_of,
)
from vultus.studies.outcome import CellOutcome, Scale
from vultus.studies.requests import Checkpoint, Faces
from vultus.sweeps.allocate import ALLOCATORS, Batch, Budget, Rules
from vultus.sweeps.cells import Block, Cell
from vultus.sweeps.choose import Choice, Shown, choose
from vultus.sweeps.sweep import Part, Swept, run_sweep


def sweep(
    at: Run, sound: dict[str, tuple[Scale, Done]], checkpoints: Sequence[Checkpoint]
) -> Swept:
    """Render and read the cells, as the allocator asks for them."""
    given = at.given
    panel = given.panel

    def make(batches: Sequence[Batch]) -> list[Part]:
        return make_parts(at, sound, checkpoints, batches)

    by_step = {one.step for one in checkpoints}

    # a training that was stopped early has fewer checkpoints than the plan
    cells = [c for c in given.cells if c.base in sound and c.checkpoint in by_step]
    spec = given.plan.sweep
    rules = Rules(spec.finalists, spec.indifference_m10, seed=given.plan.seed)
    allocator = ALLOCATORS.get(spec.allocator)(rules)
    budget = Budget(len(panel), cost.screening_renders(given, at.keys, at.lanes))
    swept = run_sweep(cells, budget, allocator, make)
    at.expect(requests.after_sweep_cost(given, at.lanes, len(swept.finalists)))
    return swept


def make_parts(
    at: Run,
    sound: Mapping[str, tuple[Scale, Done]],
    checkpoints: Sequence[Checkpoint],
    batches: Sequence[Batch],
) -> list[Part]:
    """Render, read and score these blocks of these cells, or look them up."""
    given, panel = at.given, at.given.panel
    by_step = {one.step: one for one in checkpoints}
    words = given.persona.with_trigger
    rows: dict[tuple[str, int, float, tuple[int, ...]], list[Batch]] = {}
    for batch in batches:
        cell = batch.cell
        row_of = (cell.base, cell.checkpoint, cell.detail, batch.blocks)
        rows.setdefault(row_of, []).append(batch)
    # Denoising strengths together saves a part of a second each; a lane that has nothing to do wastes all of its time.
    if len(rows) < at.lanes or given.plan.machine.executor.startswith("ray"):
        lots = [[batch] for row in rows.values() for batch in row]
    else:
        lots = list(rows.values())
    tasks = [
        look_row(
            at,
            given.bases[row[0].cell.base],
            by_step[row[0].cell.checkpoint],
            [batch.cell.strength for batch in row],
            [panel[i] for i in row[0].blocks],
            words,
            row[0].cell.detail,
        )
        for row in lots
    ]
    seen: dict[Cell, Look] = {}
    for row, looks in zip(lots, at.pool.run(tasks), strict=True):
        seen.update({batch.cell: shown for batch, shown in zip(row, looks, strict=True)})
    parts = []
    for batch in batches:
        shown = seen[batch.cell]
        points = points_of(sound[batch.cell.base][0], shown.faces)
        by_block = dict(zip(batch.blocks, points, strict=True))
        parts.append(Part(batch.cell, batch.blocks, shown.renders, shown.faces, by_block))
    return parts


def whole_row(
    at: Run,
    sound: Mapping[str, tuple[Scale, Done]],
    checkpoints: Sequence[Checkpoint],
    swept: Swept,
    chosen: Cell,
) -> int:
    """Give the chosen checkpoint every strength on the blocks that the chosen cell has rendered.

    Halving leaves holes where cells dropped out early; this row is what a person reads the strength from, so it is
    completed after the choice and chooses nothing. Adds its parts to `swept`; returns the renders that it took.
    """
    blocks = sorted({i for part in swept.parts[chosen] for i in part.blocks})
    batches = []
    for cell in at.given.cells:
        if replace(cell, strength=chosen.strength) != chosen:
            continue
        known = {i for part in swept.parts.get(cell, ()) for i in part.blocks}
        lacking = tuple(i for i in blocks if i not in known)
        if lacking:
            batches.append(Batch(cell, lacking))
    for part in make_parts(at, sound, checkpoints, batches):
        swept.parts.setdefault(part.cell, []).append(part)
    return sum(len(batch.blocks) for batch in batches)


def score(
    at: Run,
    sound: dict[str, tuple[Scale, Done]],
    swept: Swept,
    alone: dict[str, Look],
    made_with: Sequence[str],
) -> list[CellOutcome]:
    """Score every cell on its base's scale, the base alone first."""
    panel = at.given.panel
    tasks, asked = [], []
    for base, (_, frozen) in sound.items():
        cells: list[tuple[Cell, list[Part]]] = [
            (cell, parts) for cell, parts in sorted(swept.parts.items()) if cell.base == base
        ]
        everything = tuple(range(len(panel)))
        zero = Cell(base, 0, 0.0)
        shown = alone[base]
        cells.insert(0, (zero, [Part(zero, everything, shown.renders, shown.faces, {})]))
        rows = [
            [Faces(part.faces, tuple(panel[i] for i in part.blocks)) for part in parts]
            for _, parts in cells
        ]
        order = requests.score_order(at.given, frozen, rows, made_with)
        tasks.append(Task(one(at, requests.share_cost(order, 0.0))))
        asked.append(cells)
    outcomes = []
    for cells, done in zip(asked, at.pool.run(tasks), strict=True):
        for (cell, parts), score in zip(cells, scores_of(done), strict=True):
            outcomes.append(_outcome(cell, score, parts, panel))
    return outcomes


def _outcome(
    cell: Cell, score: CellScore, parts: Sequence[Part], blocks: Sequence[Block]
) -> CellOutcome:
    renders = {}
    for part in parts:
        paths = [part.renders.files[name] for name in sorted(part.renders.files)]
        for i, path in zip(part.blocks, paths, strict=True):
            renders[blocks[i]] = path
    keys = tuple(key for part in parts for key in (part.renders.key, part.faces.key))
    return CellOutcome(cell, score, renders, keys)


@dataclass(frozen=True, eq=False)
class Confirmed:
    """The finalists on fresh blocks, the scales of their bases there, and each base alone."""

    scales: Mapping[str, Scale]
    finalists: Mapping[Cell, CellOutcome]
    alone: Mapping[str, CellOutcome]
    looks: Mapping[Cell, Look]
    """of the finalists, and of each base alone as the cell of strength 0"""
    impostors: Mapping[str, Look]


def confirm(
    at: Run,
    dataset: Dataset,
    frozen: Done,
    finalists: Sequence[Cell],
    checkpoints: Sequence[Checkpoint],
) -> Confirmed:
    """Measure the finalists again on blocks that chose nothing, with impostors of the same blocks."""
    given, blocks = at.given, at.given.fresh
    bases = [given.bases[name] for name in dict.fromkeys(cell.base for cell in finalists)]
    by_step = {checkpoint.step: checkpoint for checkpoint in checkpoints}
    persona, stranger = given.persona.with_trigger, given.persona.class_words
    tasks: list[Task[Any]] = [look(at, base, None, 0.0, blocks, stranger) for base in bases]
    tasks += [look(at, base, None, 0.0, blocks, persona) for base in bases]
    tasks += [
        look(
            at,
            given.bases[c.base],
            by_step[c.checkpoint],
            c.strength,
            blocks,
            persona,
            detail=c.detail,
        )
        for c in finalists
    ]
    shown: list[Look] = at.pool.run(tasks)
    impostors, alone, looks = (
        shown[: len(bases)],
        shown[len(bases) : 2 * len(bases)],
        dict(zip(finalists, shown[2 * len(bases) :], strict=True)),
    )
    scales = freeze(at, dataset, frozen, list(zip(bases, impostors, strict=True)), blocks)
    refuse_no_scale([scale for scale, _ in scales])
    everything = tuple(range(len(blocks)))
    found: dict[Cell, CellOutcome] = {}
    zeros: dict[str, CellOutcome] = {}
    for base, zero, (scale, done) in zip(bases, alone, scales, strict=True):
        if scale.refused:
            continue
        mine = [cell for cell in finalists if cell.base == base.name]
        measured = [(Cell(base.name, 0, 0.0), zero), *((cell, looks[cell]) for cell in mine)]
        rows = [[Faces(seen.faces, tuple(blocks))] for _, seen in measured]
        used = requests.recognisers_used([by_step[cell.checkpoint] for cell in mine])
        order = requests.score_order(given, done, rows, used)
        scored = scores_of(at.pool.run([Task(one(at, requests.share_cost(order, 0.0)))])[0])
        for (cell, seen), value in zip(measured, scored, strict=True):
            part = Part(cell, everything, seen.renders, seen.faces, {})
            outcome = _outcome(cell, value, [part], blocks)
            if cell.strength == 0:
                zeros[base.name] = outcome
            else:
                found[cell] = outcome
    everyone = {**looks, **{Cell(b.name, 0, 0.0): a for b, a in zip(bases, alone, strict=True)}}
    strangers = {base.name: shown for base, shown in zip(bases, impostors, strict=True)}
    return Confirmed({scale.base: scale for scale, _ in scales}, found, zeros, everyone, strangers)


def pick(at: Run, swept: Swept, confirmed: Confirmed) -> Choice:
    """Choose among the finalists by all they have shown."""
    spec, blocks = at.given.plan.sweep, at.given.fresh
    finalists = []
    for cell in swept.finalists:
        if cell not in confirmed.finalists:  # its base has no sound scale on the fresh blocks
            continue
        fresh = {(r.prompt_id, r.seed): r.points for r in confirmed.finalists[cell].score.renders}
        screening = [p for part in swept.parts[cell] for p in part.points.values()]
        finalists.append(
            Shown(cell, tuple(screening), tuple(fresh[(b.template, b.seed)] for b in blocks))
        )
    prompts = [block.template for block in blocks]
    return choose(finalists, prompts, spec.indifference_m10, at.given.plan.seed)


__all__ = ["Confirmed", "confirm", "make_parts", "pick", "score", "sweep", "whole_row"]
