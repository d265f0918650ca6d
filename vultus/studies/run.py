"""The whole run, read from top to bottom: pictures in, a measured LoRA out.

    curate -> train, and beside it the impostors -> yardsticks -> sweep -> scores -> choose -> confirm on fresh blocks

Every arrow is a step in the ledger. Killed anywhere, the same call looks up what is finished and goes on; called again
at the end, it looks everything up. Nothing here remembers anything itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vultus.core.errors import ScoreError
from vultus.datasets.manifest import read_manifest
from vultus.datasets.records import Dataset
from vultus.scoring.gate import judge
from vultus.scoring.records import CellScore, GateSpec
from vultus.steps.environment import fingerprint
from vultus.steps.kinds.measure import read_faces, read_yardstick
from vultus.steps.orders import Do, Done, Order, Pool, Task
from vultus.store.census import Place, places_of, spent_on
from vultus.store.ledger import Ledger
from vultus.studies import requests
from vultus.studies.bases import Base
from vultus.studies.given import Given
from vultus.studies.outcome import CellOutcome, Outcome, Scale, Stage
from vultus.studies.requests import Checkpoint, Faces
from vultus.sweeps.allocate import ALLOCATORS, Batch, Budget
from vultus.sweeps.cells import Block, Cell
from vultus.sweeps.choose import choose
from vultus.sweeps.sweep import Part, Swept, run_sweep


@dataclass
class _Run:
    """One run under way: what it was given, who works, and the keys of all steps so far."""

    given: Given
    pool: Pool
    lanes: int
    keys: list[str] = field(default_factory=list)

    def ask(self, do: Do, order: Order) -> Done:
        done = do(order)
        self.keys.append(done.key)
        return done


@dataclass(frozen=True)
class _Shown:
    """Blocks that were rendered and read."""

    renders: Done
    faces: Done


def run(given: Given, pool: Pool, lanes: int) -> Outcome:
    """Run a workspace to its outcome. Raises the first fault; what was finished stays in the ledger."""
    at = _Run(given, pool, lanes)
    frozen = pool.run([Task(lambda do: at.ask(do, requests.curate_order(given)))])[0]
    dataset = read_manifest(frozen.files["dataset"])

    trained, impostors, alone = _train_and_look_around(at, dataset, frozen)
    checkpoints = requests.checkpoints_of(trained)

    bases = [given.bases[name] for name in given.plan.bases]
    frozen_scales = _freeze(
        at, dataset, frozen, list(zip(bases, impostors, strict=True)), given.panel
    )
    sound = {scale.base: (scale, done) for scale, done in frozen_scales if not scale.refused}
    _refuse_no_scale([scale for scale, _ in frozen_scales])

    swept = _sweep(at, sound, checkpoints)
    cells = _score(at, sound, swept, {b.name: s for b, s in zip(bases, alone, strict=True)})
    by_cell = {outcome.cell: outcome for outcome in cells}
    choice = choose(
        {cell: one.score.m10.value for cell, one in by_cell.items()},
        {cell: one.score.n_renders for cell, one in by_cell.items()},
        given.plan.sweep.indifference_m10,
    )

    fresh_scale, fresh, fresh_alone = _confirm(at, dataset, frozen, choice.chosen, checkpoints)
    stages, places = _looked_back(given, at.keys)
    losses = json.loads(trained.files["losses.json"].read_text(encoding="utf-8"))
    return Outcome(
        persona=given.persona,
        plan=given.plan,
        bases=given.bases,
        pack_name=given.pack.name,
        pack_digest=given.pack.digest,
        pack_licence=given.pack.licence,
        dataset=dataset,
        dataset_folder=frozen.files["dataset"],
        pictures_listed=len(given.pictures),
        checkpoints=tuple(checkpoints),
        losses=tuple((int(step), float(loss)) for step, loss in losses["losses"]),
        training_notes=tuple(losses["notes"]),
        scales=tuple(scale for scale, _ in frozen_scales),
        fresh_scale=fresh_scale,
        cells=tuple(cells),
        choice=choice,
        fresh=fresh,
        fresh_alone=fresh_alone,
        gate=judge(GateSpec(**asdict(given.plan.gate)), fresh.score),
        stages=stages,
        swept_rounds=swept.rounds,
        swept_stop=swept.stopped,
        environment=fingerprint(),
        places=places,
        keys=tuple(sorted(set(at.keys))),
    )


def _train_and_look_around(
    at: _Run, dataset: Dataset, frozen: Done
) -> tuple[Done, list[_Shown], list[_Shown]]:
    """Train in one lane; in the others render what needs no LoRA: impostors, and each base alone."""
    given = at.given
    train = requests.train_order(given, dataset, frozen)
    tasks: list[Task[Done | _Shown]] = [Task(_one(at, train), place="training")]
    tasks.extend(
        _look(at, given.bases[name], None, 0.0, given.panel, words, beside=True)
        for words in (given.persona.class_words, given.persona.with_trigger)
        for name in given.plan.bases
    )
    done = at.pool.run(tasks)
    shown = [one for one in done if isinstance(one, _Shown)]
    trained = next(one for one in done if isinstance(one, Done))
    half = len(given.plan.bases)
    return trained, shown[:half], shown[half:]


def _look(
    at: _Run,
    base: Base,
    checkpoint: Checkpoint | None,
    strength: float,
    blocks: Sequence[Block],
    words: str,
    *,
    beside: bool = False,
) -> Task[Any]:
    """A task that renders blocks and reads their faces."""
    given = at.given
    factor = 1.0 if at.lanes == 1 else 0.0 if beside else 1.0 / at.lanes
    order = requests.render_order(given, base, checkpoint, strength, blocks, words)

    def chain(do: Do) -> _Shown:
        renders = at.ask(do, requests.share_cost(order, factor))
        faces = at.ask(do, requests.share_cost(requests.read_order(given, renders), factor))
        return _Shown(renders, faces)

    return Task(chain, place=base.name)


def _freeze(
    at: _Run,
    dataset: Dataset,
    frozen: Done,
    impostors: Sequence[tuple[Base, _Shown]],
    blocks: Sequence[Block],
) -> list[tuple[Scale, Done]]:
    """Freeze one scale per base."""
    tasks = []
    for base, shown in impostors:
        order = requests.yardstick_order(at.given, base, dataset, frozen, shown.faces, blocks)
        tasks.append(Task(_one(at, requests.share_cost(order, 0.0))))
    scales = []
    for (base, _), done in zip(impostors, at.pool.run(tasks), strict=True):
        yardstick, refused = read_yardstick(done.files["yardstick.json"])
        scales.append((Scale(base.name, yardstick, refused, done.key), done))
    return scales


def _one(at: _Run, order: Order) -> Callable[[Do], Any]:
    """A chain of one order."""
    return lambda do: at.ask(do, order)


def _sweep(
    at: _Run, sound: dict[str, tuple[Scale, Done]], checkpoints: Sequence[Checkpoint]
) -> Swept:
    """Render and read the cells, as the allocator asks for them."""
    given = at.given
    panel = given.panel
    by_step = {one.step: one for one in checkpoints}
    words = given.persona.with_trigger

    def make(batches: Sequence[Batch]) -> list[Part]:
        tasks = [
            _look(
                at,
                given.bases[batch.cell.base],
                by_step[batch.cell.checkpoint],
                batch.cell.strength,
                [panel[i] for i in batch.blocks],
                words,
            )
            for batch in batches
        ]
        parts = []
        for batch, shown in zip(batches, at.pool.run(tasks), strict=True):
            points = _points(sound[batch.cell.base][0], shown.faces)
            by_block = dict(zip(batch.blocks, points, strict=True))
            parts.append(Part(batch.cell, batch.blocks, shown.renders, shown.faces, by_block))
        return parts

    cells = [cell for cell in given.cells if cell.base in sound]
    allocator = ALLOCATORS.get(given.plan.sweep.allocator)()
    return run_sweep(cells, Budget(len(panel)), allocator, make)


def _points(scale: Scale, faces: Done) -> list[float]:
    """m10 of each render; a missing face counts 0 points."""
    points = []
    for emb, _ in read_faces(faces.files["emb.npy"], faces.files["states.json"]):
        if emb is None:
            points.append(0.0)
        else:
            points.append(float(scale.yardstick.points(scale.yardstick.cosines(emb[None]))[0]))
    return points


def _score(
    at: _Run, sound: dict[str, tuple[Scale, Done]], swept: Swept, alone: dict[str, _Shown]
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
        order = requests.score_order(at.given, frozen, rows)
        tasks.append(Task(_one(at, requests.share_cost(order, 0.0))))
        asked.append(cells)
    outcomes = []
    for cells, done in zip(asked, at.pool.run(tasks), strict=True):
        for (cell, parts), score in zip(cells, _scores(done), strict=True):
            outcomes.append(_outcome(cell, score, parts, panel))
    return outcomes


def _scores(done: Done) -> list[CellScore]:
    table = json.loads(done.files["scores.json"].read_text(encoding="utf-8"))
    return [CellScore.from_json(row) for row in table]


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


def _confirm(
    at: _Run, dataset: Dataset, frozen: Done, chosen: Cell, checkpoints: Sequence[Checkpoint]
) -> tuple[Scale, CellOutcome, CellOutcome]:
    """Measure the chosen cell again on blocks that chose nothing, with impostors of the same blocks."""
    given = at.given
    blocks = given.fresh
    base = given.bases[chosen.base]
    checkpoint = next(one for one in checkpoints if one.step == chosen.checkpoint)
    words = given.persona.with_trigger
    impostors, alone, winner = at.pool.run(
        [
            _look(at, base, None, 0.0, blocks, given.persona.class_words),
            _look(at, base, None, 0.0, blocks, words),
            _look(at, base, checkpoint, chosen.strength, blocks, words),
        ]
    )
    scale, done = _freeze(at, dataset, frozen, [(base, impostors)], blocks)[0]
    _refuse_no_scale([scale])
    rows = [[Faces(shown.faces, tuple(blocks))] for shown in (alone, winner)]
    order = requests.share_cost(requests.score_order(given, done, rows), 0.0)
    scores = _scores(at.pool.run([Task(_one(at, order))])[0])
    everything = tuple(range(len(blocks)))
    outcomes = [
        _outcome(cell, score, [Part(cell, everything, shown.renders, shown.faces, {})], blocks)
        for cell, score, shown in zip(
            (Cell(chosen.base, 0, 0.0), chosen), scores, (alone, winner), strict=True
        )
    ]
    return scale, outcomes[1], outcomes[0]


def _refuse_no_scale(scales: Sequence[Scale]) -> None:
    """Raise ScoreError when no base has a scale that can carry a number."""
    if any(not scale.refused for scale in scales):
        return
    told = "; ".join(f"{scale.base}: {', '.join(scale.refused)}" for scale in scales)
    raise ScoreError(
        f"no m10 can be given: {told}",
        expected="references that are more like each other than like strangers",
        next_command="add pictures of the persona, or choose another face_pack in vultus.toml",
    )


def _looked_back(given: Given, keys: Sequence[str]) -> tuple[tuple[Stage, ...], tuple[Place, ...]]:
    """How long each kind of work took and where it was done, whenever that was."""
    with Ledger.open(given.workspace.memory) as ledger:
        spent = spent_on(ledger, keys)
        places = places_of(ledger, keys)
    return tuple(Stage(one.kind, one.seconds, one.steps) for one in spent), tuple(places)


__all__ = ["run"]
