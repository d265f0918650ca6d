"""The whole run, read from top to bottom: pictures in, a measured LoRA out.

    curate -> train, and beside it the impostors -> yardsticks -> sweep -> scores -> finalists on fresh blocks -> choose

With [clock] the training comes after the yardsticks, part by part (`clock`). Every arrow is a step in the ledger.
Killed anywhere, the same call looks up what is finished and goes on; called again at the end, it looks everything up.
Nothing here remembers anything itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict

from vultus.datasets.manifest import read_manifest
from vultus.datasets.records import Dataset
from vultus.scoring.gate import judge
from vultus.scoring.records import GateSpec
from vultus.steps.environment import fingerprint
from vultus.steps.orders import Done, Pool, Task
from vultus.store.census import Place, places_of, spent_on
from vultus.store.ledger import Ledger
from vultus.studies import requests
from vultus.studies.clock import train_by_clock
from vultus.studies.given import Given
from vultus.studies.looking import Look, Run, freeze, look, one, refuse_no_scale
from vultus.studies.outcome import Outcome, Stage, read_ceiling
from vultus.studies.sweeping import confirm, pick, score, sweep


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

    by_clock = given.plan.clock.blocks > 0
    parts, impostors, alone = _train_and_look_around(at, dataset, frozen, train=not by_clock)

    bases = [given.bases[name] for name in given.plan.bases]
    frozen_scales = freeze(
        at, dataset, frozen, list(zip(bases, impostors, strict=True)), given.panel
    )
    sound = {scale.base: (scale, done) for scale, done in frozen_scales if not scale.refused}
    refuse_no_scale([scale for scale, _ in frozen_scales])
    clocked = None
    if by_clock:
        name = given.plan.trains_on
        refuse_no_scale([scale for scale, _ in frozen_scales if scale.base == name])
        clocked = train_by_clock(
            at, dataset, frozen, sound[name], alone[given.plan.bases.index(name)]
        )
        parts = clocked.parts
    checkpoints = list(
        {one.step: one for part in parts for one in requests.checkpoints_of(part)}.values()
    )

    swept = sweep(at, sound, checkpoints)
    shown = {b.name: s for b, s in zip(bases, alone, strict=True)}
    cells = score(at, sound, swept, shown, requests.recognisers_used(checkpoints))

    confirmed = confirm(at, dataset, frozen, swept.finalists, checkpoints)
    choice = pick(at, swept, confirmed)
    fresh = confirmed.finalists[choice.chosen]
    stages, places = _looked_back(given, at.keys)
    # the last part of a training tells the losses of all
    losses = json.loads(parts[-1].files["losses.json"].read_text(encoding="utf-8"))
    ended = (f"The training was {clocked.stopped}.",) if clocked and clocked.stopped else ()
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
        training_notes=(*ended, *losses["notes"]),
        ticks=clocked.ticks if clocked else (),
        scales=tuple(scale for scale, _ in frozen_scales),
        fresh_scale=confirmed.scales[choice.chosen.base],
        cells=tuple(cells),
        choice=choice,
        fresh=fresh,
        fresh_alone=confirmed.alone[choice.chosen.base],
        finalists=tuple(confirmed.finalists.values()),
        ceiling=read_ceiling(ceiling.files["ceiling.json"]),
        gate=judge(GateSpec(**asdict(given.plan.gate)), fresh.score),
        stages=stages,
        swept_rounds=swept.rounds,
        swept_stop=swept.stopped,
        environment=fingerprint(),
        places=places,
        keys=tuple(sorted(set(at.keys))),
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
