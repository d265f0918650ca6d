"""The whole run, read from top to bottom: pictures in, a measured LoRA out.

    curate -> train, and beside it the impostors -> yardsticks -> sweep -> finalists on fresh blocks -> choose
           -> the chosen checkpoint at every strength -> scores -> guard-rails -> gate

Every arrow is a step in the ledger. Killed anywhere, the same call looks up what is finished and goes on; called again
at the end, it looks everything up. Nothing here remembers anything itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict

from vultus.datasets.manifest import read_manifest
from vultus.datasets.records import Dataset
from vultus.scoring.records import GateSpec
from vultus.scoring.second import decide
from vultus.steps.environment import fingerprint
from vultus.steps.orders import Done, Pool, Task
from vultus.store.census import Place, places_of, spent_on
from vultus.store.ledger import Ledger
from vultus.studies import requests
from vultus.studies.given import Given
from vultus.studies.guarding import guard, second_judge
from vultus.studies.looking import Look, Run, freeze, look, one, refuse_no_scale
from vultus.studies.outcome import Outcome, Scale, Stage, read_ceiling
from vultus.studies.sweeping import confirm, pick, score, sweep, whole_row


def run(
    given: Given, pool: Pool, lanes: int, expect: Callable[[float], None] | None = None
) -> Outcome:
    """Run a workspace to its outcome. Raises the first fault; what was finished stays in the ledger.

    `expect` is told the cost that is still to come whenever it is known better than before.
    """
    at = Run(given, pool, lanes) if expect is None else Run(given, pool, lanes, expect)
    frozen = pool.run([Task(lambda do: at.ask(do, requests.curate_order(given)))])[0]
    dataset = read_manifest(frozen.files["dataset"])
    ceiling = pool.run([Task(one(at, requests.ceiling_order(given, dataset, frozen)))])[0]

    trained, impostors, alone = _train_and_look_around(at, dataset, frozen)
    checkpoints = requests.checkpoints_of(trained)

    scales, sound = _scales(at, dataset, frozen, impostors)

    swept = sweep(at, sound, checkpoints)
    shown = dict(zip(given.plan.bases, alone, strict=True))
    confirmed = confirm(at, dataset, frozen, swept.finalists, checkpoints)
    choice = pick(at, swept, confirmed)
    row = whole_row(at, sound, checkpoints, swept, choice.chosen)
    guards = guard(at, dataset, frozen, confirmed, choice.chosen, checkpoints)
    second = second_judge(at, dataset, frozen, confirmed, choice.chosen)
    cells = score(at, sound, swept, shown, requests.recognisers_used(checkpoints))
    fresh = confirmed.finalists[choice.chosen]
    stages, places = _looked_back(given, at.keys)
    losses, notes = _learnt(trained)
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
        losses=losses,
        training_notes=notes,
        scales=scales,
        fresh_scale=confirmed.scales[choice.chosen.base],
        cells=tuple(cells),
        choice=choice,
        fresh=fresh,
        fresh_alone=confirmed.alone[choice.chosen.base],
        finalists=tuple(confirmed.finalists.values()),
        ceiling=read_ceiling(ceiling.files["ceiling.json"]),
        guards=guards,
        second=second,
        gate=decide(GateSpec(**asdict(given.plan.gate)), fresh.score, guards, second),
        stages=stages,
        swept_rounds=swept.rounds,
        swept_stop=swept.stopped,
        row_renders=row,
        environment=fingerprint(),
        places=places,
        keys=tuple(sorted(set(at.keys))),
    )


def _scales(
    at: Run, dataset: Dataset, frozen: Done, impostors: Sequence[Look]
) -> tuple[tuple[Scale, ...], dict[str, tuple[Scale, Done]]]:
    """The scale of every base, and those that can carry a number. Raises ScoreError when none can."""
    bases = [at.given.bases[name] for name in at.given.plan.bases]
    strangers = list(zip(bases, impostors, strict=True))
    found = freeze(at, dataset, frozen, strangers, at.given.panel)
    scales = tuple(scale for scale, _ in found)
    refuse_no_scale(scales)
    return scales, {scale.base: (scale, done) for scale, done in found if not scale.refused}


def _learnt(trained: Done) -> tuple[tuple[tuple[int, float], ...], tuple[str, ...]]:
    """What a training says of itself: (step, loss) and notes."""
    told = json.loads(trained.files["losses.json"].read_text(encoding="utf-8"))
    return tuple((int(step), float(loss)) for step, loss in told["losses"]), tuple(told["notes"])


def _train_and_look_around(
    at: Run, dataset: Dataset, frozen: Done
) -> tuple[Done, list[Look], list[Look]]:
    """Train in one lane; in the others render what needs no LoRA: impostors, and each base alone."""
    given = at.given
    train = requests.train_order(given, dataset, frozen)
    tasks: list[Task[Done | Look]] = [Task(one(at, train), place="training")]
    tasks.extend(
        look(at, given.bases[name], None, 0.0, given.panel, words, beside=True)
        for words in (given.persona.class_words, given.persona.with_trigger)
        for name in given.plan.bases
    )
    done = at.pool.run(tasks)
    shown = [one for one in done if isinstance(one, Look)]
    trained = next(one for one in done if isinstance(one, Done))
    half = len(given.plan.bases)
    return trained, shown[:half], shown[half:]


def _looked_back(given: Given, keys: Sequence[str]) -> tuple[tuple[Stage, ...], tuple[Place, ...]]:
    """How long each kind of work took and where it was done, whenever that was."""
    with Ledger.open(given.workspace.memory) as ledger:
        spent = spent_on(ledger, keys)
        places = places_of(ledger, keys)
    return tuple(Stage(one.kind, one.seconds, one.steps) for one in spent), tuple(places)


__all__ = ["run"]
