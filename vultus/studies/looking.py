"""What a run does again and again: render blocks and read their faces, freeze the scale of a base.

Every function gives tasks to the pool or asks for their steps; what was asked before is a look-up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vultus.core.errors import ScoreError
from vultus.datasets.records import Dataset
from vultus.scoring.records import CellScore
from vultus.steps.kinds.measure import read_faces, read_yardstick
from vultus.steps.orders import Do, Done, Order, Pool, Task
from vultus.studies import requests
from vultus.studies.bases import Base
from vultus.studies.given import Given
from vultus.studies.outcome import Scale
from vultus.studies.requests import Checkpoint
from vultus.sweeps.cells import Block


def _nobody(cost: float) -> None:
    """Nobody listens."""


def _silence(words: str) -> None:
    """Nobody reads."""


@dataclass
class Run:
    """One run under way: what it was given, who works, and the keys of all steps so far.

    `expect` is told how much cost is still to come whenever that is known better, `tell` what a person who follows
    wants to read.
    """

    given: Given
    pool: Pool
    lanes: int
    expect: Callable[[float], None] = _nobody
    tell: Callable[[str], None] = _silence
    keys: list[str] = field(default_factory=list)

    def ask(self, do: Do, order: Order) -> Done:
        done = do(order)
        self.keys.append(done.key)
        return done


@dataclass(frozen=True)
class Look:
    """Blocks that were rendered and read."""

    renders: Done
    faces: Done


def look(
    at: Run,
    base: Base,
    checkpoint: Checkpoint | None,
    strength: float,
    blocks: Sequence[Block],
    words: str,
    *,
    beside: bool = False,
    detail: float = 0.0,
) -> Task[Any]:
    """A task that renders blocks and reads their faces; with `detail`, draws these again and reads them once more."""
    given = at.given
    factor = 1.0 if at.lanes == 1 else 0.0 if beside else 1.0 / at.lanes
    order = requests.render_order(given, base, checkpoint, strength, blocks, words)

    def chain(do: Do) -> Look:
        renders = at.ask(do, requests.share_cost(order, factor))
        return _read(at, do, order, renders, detail, factor)

    return Task(chain, place=base.name)


def _read(at: Run, do: Do, order: Order, renders: Done, detail: float, factor: float) -> Look:
    """Read the faces of what a render order gave, after a second pass over them where one is asked for."""
    given = at.given
    shown = Look(
        renders, at.ask(do, requests.share_cost(requests.read_order(given, renders), factor))
    )
    if not detail:
        return shown
    again = requests.detail_order(given, order, shown.renders, shown.faces, detail)
    drawn = at.ask(do, requests.share_cost(again, factor))
    return Look(drawn, at.ask(do, requests.share_cost(requests.read_order(given, drawn), factor)))


def look_row(
    at: Run,
    base: Base,
    checkpoint: Checkpoint,
    strengths: Sequence[float],
    blocks: Sequence[Block],
    words: str,
    detail: float = 0.0,
) -> Task[Any]:
    """A task that looks at several strengths of one checkpoint, one after the other in one lane.

    Each strength is a step of its own; the worker is told which come next, so that it can denoise them together.
    """
    given = at.given
    factor = 1.0 / at.lanes

    def chain(do: Do) -> list[Look]:
        found = []
        for position, strength in enumerate(strengths):
            order = requests.render_order(given, base, checkpoint, strength, blocks, words)
            hints = {**order.hints, "ahead": list(strengths[position + 1 :])}
            renders = at.ask(do, requests.share_cost(replace(order, hints=hints), factor))
            found.append((order, renders))
        return [_read(at, do, order, renders, detail, factor) for order, renders in found]

    return Task(chain, place=base.name)


def freeze(
    at: Run,
    dataset: Dataset,
    frozen: Done,
    impostors: Sequence[tuple[Base, Look]],
    blocks: Sequence[Block],
) -> list[tuple[Scale, Done]]:
    """Freeze one scale per base."""
    tasks = []
    for base, shown in impostors:
        order = requests.yardstick_order(at.given, base, dataset, frozen, shown.faces, blocks)
        tasks.append(Task(one(at, requests.share_cost(order, 0.0))))
    scales = []
    for (base, _), done in zip(impostors, at.pool.run(tasks), strict=True):
        yardstick, refused = read_yardstick(done.files["yardstick.json"])
        scales.append((Scale(base.name, yardstick, refused, done.key), done))
    return scales


def points_of(scale: Scale, faces: Done) -> list[float]:
    """m10 of each render of a look; a missing face counts 0 points."""
    points = []
    files = (faces.files[name] for name in ("emb.npy", "states.json", "faces.json"))
    for emb, _, facing in read_faces(*files):
        if emb is None:
            points.append(0.0)
        else:
            cosine = scale.yardstick.cosines(emb[None], [facing])
            points.append(float(scale.yardstick.points(cosine)[0]))
    return points


def scores_of(done: Done) -> list[CellScore]:
    table = json.loads(done.files["scores.json"].read_text(encoding="utf-8"))
    return [CellScore.from_json(row) for row in table]


def one(at: Run, order: Order) -> Callable[[Do], Any]:
    """A chain of one order."""
    return lambda do: at.ask(do, order)


def refuse_no_scale(scales: Sequence[Scale]) -> None:
    """Raise ScoreError when no base has a scale that can carry a number."""
    if any(not scale.refused for scale in scales):
        return
    told = "; ".join(f"{scale.base}: {', '.join(scale.refused)}" for scale in scales)
    raise ScoreError(
        f"no m10 can be given: {told}",
        expected="references that are more like each other than like strangers",
        next_command="add pictures of the persona, or choose another face_pack in vultus.toml",
    )


__all__ = [
    "Look",
    "Run",
    "freeze",
    "look",
    "look_row",
    "one",
    "points_of",
    "refuse_no_scale",
    "scores_of",
]
