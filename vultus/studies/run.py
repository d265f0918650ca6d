"""The whole run, read from top to bottom: pictures in, a measured LoRA out.

    curate -> train, and beside it the impostors -> yardsticks -> sweep -> finalists on fresh blocks -> choose
           -> the chosen checkpoint at every strength -> scores -> guard-rails -> gate

LoRA files that were given take the place of the training. With [clock] the training comes after the yardsticks, part by
part (`clock`). Every arrow is a step in the ledger.
Killed anywhere, the same call looks up what is finished and goes on; called again at the end, it looks everything up.
Nothing here remembers anything itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from vultus.datasets.manifest import read_manifest
from vultus.datasets.records import Dataset
from vultus.scoring.records import GateSpec, GateVerdict, Guard
from vultus.scoring.second import SecondOpinion, decide
from vultus.steps.environment import fingerprint
from vultus.steps.kinds.average import AVERAGE
from vultus.steps.orders import Done, Pool, Task
from vultus.store.census import Place, places_of, spent_on
from vultus.store.ledger import Ledger
from vultus.studies import requests
from vultus.studies.clock import train_by_clock
from vultus.studies.given import Given
from vultus.studies.guarding import guard, second_judge
from vultus.studies.looking import Look, Run, freeze, look, one, refuse_no_scale
from vultus.studies.outcome import Outcome, Scale, Stage, Tick, read_ceiling
from vultus.studies.requests import Checkpoint
from vultus.studies.sweeping import Confirmed, confirm, pick, score, sweep, whole_row
from vultus.sweeps.cells import Cell


def run(
    given: Given,
    pool: Pool,
    lanes: int,
    expect: Callable[[float], None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Outcome:
    """Run a workspace to its outcome. Raises the first fault; what was finished stays in the ledger.

    `expect` is told the cost that is still to come whenever it is known better than before, `tell` what each
    checkpoint showed where [clock] asks for it.
    """
    at = Run(given, pool, lanes)
    at.expect, at.tell = expect or at.expect, tell or at.tell
    frozen = pool.run([Task(lambda do: at.ask(do, requests.curate_order(given)))])[0]
    dataset = read_manifest(frozen.files["dataset"])
    ceiling = pool.run([Task(one(at, requests.ceiling_order(given, dataset, frozen)))])[0]

    learnt = _learn(at, dataset, frozen)
    sound = {scale.base: (scale, done) for scale, done in learnt.scales if not scale.refused}
    swept = sweep(at, sound, learnt.checkpoints)
    confirmed = confirm(at, dataset, frozen, swept.finalists, learnt.checkpoints)
    choice = pick(at, swept, confirmed)
    row = whole_row(at, sound, learnt.checkpoints, swept, choice.chosen)
    guards, second, gate = _judged(at, dataset, frozen, confirmed, choice.chosen, learnt)
    cells = score(at, sound, swept, learnt.alone, requests.recognisers_used(learnt.checkpoints))
    stages, places = _looked_back(given, at.keys)
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
        checkpoints=learnt.checkpoints,
        losses=learnt.losses,
        training_notes=learnt.notes,
        ticks=learnt.ticks,
        scales=tuple(scale for scale, _ in learnt.scales),
        fresh_scale=confirmed.scales[choice.chosen.base],
        cells=tuple(cells),
        choice=choice,
        fresh=confirmed.finalists[choice.chosen],
        fresh_alone=confirmed.alone[choice.chosen.base],
        finalists=tuple(confirmed.finalists.values()),
        ceiling=read_ceiling(ceiling.files["ceiling.json"]),
        guards=guards,
        second=second,
        gate=gate,
        stages=stages,
        swept_rounds=swept.rounds,
        swept_stop=swept.stopped,
        row_renders=row,
        environment=fingerprint(),
        places=places,
        keys=tuple(sorted(set(at.keys))),
    )


def _judged(
    at: Run, dataset: Dataset, frozen: Done, confirmed: Confirmed, chosen: Cell, learnt: _Learnt
) -> tuple[tuple[Guard, ...], SecondOpinion | None, GateVerdict]:
    """What stands beside the number of the chosen cell, and what the gate says to all of it."""
    guards = guard(at, dataset, frozen, confirmed, chosen, learnt.checkpoints)
    second = second_judge(at, dataset, frozen, confirmed, chosen)
    spec = GateSpec(**asdict(at.given.plan.gate))
    return guards, second, decide(spec, confirmed.finalists[chosen].score, guards, second)


@dataclass(frozen=True, eq=False)
class _Learnt:
    """A training that is done, and what it is measured with: a scale of every base, and each base alone."""

    checkpoints: tuple[Checkpoint, ...]
    losses: tuple[tuple[int, float], ...]
    notes: tuple[str, ...]
    ticks: tuple[Tick, ...]
    scales: list[tuple[Scale, Done]]
    alone: dict[str, Look]


def _learn(at: Run, dataset: Dataset, frozen: Done) -> _Learnt:
    """Train and freeze the scales: the training beside the impostors, or by the clock after them."""
    given = at.given
    by_clock = given.plan.clock.blocks > 0
    train = not by_clock and not given.loras
    parts, impostors, looks = _train_and_look_around(at, dataset, frozen, train=train)
    bases = [given.bases[name] for name in given.plan.bases]
    shown = list(zip(bases, impostors, strict=True))
    scales = freeze(at, dataset, frozen, shown, given.panel)
    refuse_no_scale([scale for scale, _ in scales])
    alone = dict(zip(given.plan.bases, looks, strict=True))
    ticks: tuple[Tick, ...] = ()
    notes: tuple[str, ...] = ()
    if by_clock:
        name = given.plan.trains_on
        own = next((scale, done) for scale, done in scales if scale.base == name)
        refuse_no_scale([own[0]])
        clocked = train_by_clock(at, dataset, frozen, own, alone[name])
        parts, ticks = clocked.parts, clocked.ticks
        notes = (f"The training was {clocked.stopped}.",) if clocked.stopped else ()
    if given.loras:
        return _Learnt(given.loras, (), _told_of(given.loras), (), scales, alone)
    # a trainer may tell of earlier checkpoints again; the last part tells the losses of all
    found = {one.step: one for part in parts for one in requests.checkpoints_of(part)}
    table = json.loads(parts[-1].files["losses.json"].read_text(encoding="utf-8"))
    losses = tuple((int(step), float(loss)) for step, loss in table["losses"])
    trained = tuple(found.values())
    more, told = _averaged(at, trained)
    notes = (*notes, *told, *table["notes"])
    return _Learnt((*trained, *more), losses, notes, ticks, scales, alone)


def _averaged(
    at: Run, trained: tuple[Checkpoint, ...]
) -> tuple[tuple[Checkpoint, ...], tuple[str, ...]]:
    """The average of the last checkpoints as one more, where it is asked for and there are two."""
    last = trained[-at.given.plan.sweep.average :] if at.given.plan.sweep.average else ()
    if len(last) < 2:
        return (), ()
    (done,) = at.pool.run([Task(one(at, requests.average_order(at.given, last)))])
    steps = tuple(checkpoint.step for checkpoint in last)
    # The plan's number, also where the clock ended the training early: the sweep asks for that one.
    mean = Checkpoint(at.given.steps[-1], done.ids[AVERAGE], done.files[AVERAGE], steps)
    said = ", ".join(str(step) for step in steps)
    return (mean,), (f"Step {mean.step} is no step: it is the average of the checkpoints {said}.",)


def _told_of(loras: Sequence[Checkpoint]) -> tuple[str, ...]:
    """What a reader must know of files that were trained elsewhere."""
    which = "; ".join(f"{one.step} is {one.path.name}" for one in loras)
    return (
        f"Nothing was trained: the checkpoints are files that were given ({which}).",
        "Whether they were trained on the held-out references is not known; if they were, m10 is too high.",
    )


def _train_and_look_around(
    at: Run, dataset: Dataset, frozen: Done, *, train: bool
) -> tuple[tuple[Done, ...], list[Look], list[Look]]:
    """Train in one lane; in the others render what needs no LoRA: impostors, and each base alone."""
    given = at.given
    tasks: list[Task[Done | Look]] = []
    if train:
        order = requests.train_order(given, dataset, frozen)
        tasks.append(Task(one(at, order), place="training"))
    tasks.extend(
        look(at, given.bases[name], None, 0.0, given.panel, words, beside=True)
        for words in (given.persona.class_words, given.persona.with_trigger)
        for name in given.plan.bases
    )
    done = at.pool.run(tasks)
    shown = [one for one in done if isinstance(one, Look)]
    trained = tuple(one for one in done if isinstance(one, Done))
    half = len(given.plan.bases)
    return trained, shown[:half], shown[half:]


def _looked_back(given: Given, keys: Sequence[str]) -> tuple[tuple[Stage, ...], tuple[Place, ...]]:
    """How long each kind of work took and where it was done, whenever that was."""
    with Ledger.open(given.workspace.memory) as ledger:
        spent = spent_on(ledger, keys)
        places = places_of(ledger, keys)
    return tuple(Stage(one.kind, one.seconds, one.steps) for one in spent), tuple(places)


__all__ = ["run"]
