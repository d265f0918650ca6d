"""What stands beside the number of the chosen cell: guard-rails, and a second judge.

Both look at the renders of the confirmation, which chose nothing, and at the base's own renders of the same blocks.
Only the leakage guard-rail makes renders of its own: the chosen LoRA with the class words alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vultus.core.errors import ScoreError
from vultus.datasets.manifest import read_embeddings
from vultus.datasets.records import Dataset, Member
from vultus.images.hashing import bits_from_hex
from vultus.scoring import copying, guards
from vultus.scoring.guards import Seen
from vultus.scoring.panel import score_cell
from vultus.scoring.records import CellScore, Guard
from vultus.scoring.second import SecondOpinion, second_opinion
from vultus.scoring.yardstick import Yardstick
from vultus.steps.kinds.inspect import read_inspection
from vultus.steps.kinds.measure import Face, face_places, read_faces, render_rows
from vultus.steps.orders import Done, Task
from vultus.studies import requests
from vultus.studies.looking import Look, Run, look, one, points_of
from vultus.studies.outcome import Scale
from vultus.studies.requests import Checkpoint
from vultus.studies.sweeping import Confirmed
from vultus.sweeps.cells import Block, Cell


def guard(
    at: Run,
    dataset: Dataset,
    frozen: Done,
    confirmed: Confirmed,
    chosen: Cell,
    checkpoints: Sequence[Checkpoint],
) -> tuple[Guard, ...]:
    """Every guard-rail of the chosen cell, in the order in which they are told."""
    given, blocks = at.given, at.given.fresh
    zero = Cell(chosen.base, 0, 0.0)
    looks = (confirmed.looks[chosen], confirmed.looks[zero])
    folder = frozen.files["dataset"]
    members = [*dataset.training, *dataset.references]
    prompts = [block.prompt(given.persona.with_trigger) for block in blocks]
    orders = [requests.inspect_order(given, _pictures(shown.renders), prompts) for shown in looks]
    orders.append(requests.inspect_order(given, _own(folder, members)))
    tasks: list[Task[Any]] = [Task(one(at, requests.share_cost(o, 0.0))) for o in orders]
    leak = given.leak_blocks
    if leak:
        words = given.persona.class_words
        base = given.bases[chosen.base]
        lora = next(one for one in checkpoints if one.step == chosen.checkpoint)
        tasks.append(look(at, base, lora, chosen.strength, leak, words, detail=chosen.detail))
    done = at.pool.run(tasks)
    mine, alone = (
        _seen(shown.faces, found, blocks) for shown, found in zip(looks, done[:2], strict=True)
    )
    scale = confirmed.scales[chosen.base]
    known = _known(dataset, folder, read_inspection(done[2].files["inspect.json"]), scale.yardstick)
    found = [
        copying.copying(mine, alone, known),
        copying.copied_pictures(mine, alone, known),
        copying.black_hole(mine, known),
        guards.flat_pictures(mine, alone),
        _adherence(at, mine, alone),
        guards.framing(mine, alone),
        guards.diversity(mine, alone),
        *guards.quality(mine, alone),
    ]
    if leak:
        strangers = confirmed.impostors[chosen.base]
        full = confirmed.finalists[chosen].score.m10.value
        found.append(_leakage(scale, done[3], strangers, blocks, leak, full))
    return tuple(found)


def second_judge(
    at: Run, dataset: Dataset, frozen: Done, confirmed: Confirmed, chosen: Cell
) -> SecondOpinion | None:
    """The finalists of the chosen base under the second judge; None where nobody was named."""
    given, blocks, second = at.given, at.given.fresh, at.given.second
    if second is None:
        return None
    cells = [cell for cell in confirmed.finalists if cell.base == chosen.base]
    orders = [
        requests.read_pictures_order(
            given, _own(frozen.files["dataset"], dataset.references), second
        ),
        requests.read_order(given, confirmed.impostors[chosen.base].renders, second),
        *(requests.read_order(given, confirmed.looks[cell].renders, second) for cell in cells),
    ]
    tasks = [Task(one(at, requests.share_cost(order, 0.0))) for order in orders]
    references, strangers, *shown = [_faces(done) for done in at.pool.run(tasks)]
    first = [confirmed.finalists[cell].score for cell in cells]
    name, pack = second[1].name, second[1].digest
    try:
        yardstick = _second_yardstick(at, dataset, references, strangers, chosen.base)
        scores = [_score(yardstick, faces, blocks) for faces in shown]
    except ScoreError as fault:
        return SecondOpinion(name, pack, first[cells.index(chosen)], None, refused=(fault.what,))
    return second_opinion((name, pack), first, scores, cells.index(chosen))


def _second_yardstick(
    at: Run, dataset: Dataset, references: list[Face], strangers: list[Face], base: str
) -> Yardstick:
    """The scale of the second judge, from the same references and impostors. Raises ScoreError when it is unfit."""
    second = at.given.second
    assert second is not None
    blocks = at.given.fresh
    own = [i for i, face in enumerate(references) if face[0] is not None]
    met = [i for i, face in enumerate(strangers) if face[0] is not None]
    if not own or not met:
        raise ScoreError("the second judge finds no face in the references or in the impostors")
    return Yardstick.freeze(
        np.stack([row for row, _, _ in (references[i] for i in own) if row is not None]),
        np.stack([row for row, _, _ in (strangers[i] for i in met) if row is not None]),
        [blocks[i].template for i in met],
        second[1].digest,
        persona=at.given.persona.name,
        base=base,
        reference_ids=[dataset.references[i].content_id for i in own],
        impostor_misses=len(strangers) - len(met),
        reference_poses=[references[i][2] for i in own],
        impostor_poses=[strangers[i][2] for i in met],
        recogniser=second[1].recogniser.sha256,
    )


def _score(yardstick: Yardstick, faces: list[Face], blocks: Sequence[Block]) -> CellScore:
    return score_cell(
        yardstick, render_rows(faces, [(b.template, b.seed, b.group) for b in blocks])
    )


def _adherence(at: Run, mine: Sequence[Seen], alone: Sequence[Seen]) -> Guard:
    eye = at.given.eye
    if eye is None:
        return guards.not_measured(
            "adherence",
            "adherence was not measured: name the folder of a CLIP model in [guards] clip of vultus.toml",
        )
    return guards.adherence(mine, alone, eye.unit, eye.words)


def _leakage(
    scale: Scale,
    shown: Look,
    strangers: Look,
    blocks: Sequence[Block],
    leak: Sequence[Block],
    full: float,
) -> Guard:
    """Class words with the LoRA against class words without it, on the same noise."""
    without = dict(zip(blocks, points_of(scale, strangers.faces), strict=True))
    with_lora = points_of(scale, shown.faces)
    rows = [(b.template, points, without[b]) for b, points in zip(leak, with_lora, strict=True)]
    return guards.leakage(rows, full)


def _faces(done: Done) -> list[Face]:
    return read_faces(*(done.files[name] for name in ("emb.npy", "states.json", "faces.json")))


def _pictures(done: Done) -> list[tuple[str, Path]]:
    return [(done.ids[name], done.files[name]) for name in sorted(done.files)]


def _own(folder: Path, members: Sequence[Member]) -> list[tuple[str, Path]]:
    return [(member.content_id, folder / member.picture) for member in members]


def _seen(faces: Done, inspected: Done, blocks: Sequence[Block]) -> list[Seen]:
    """Join what was read and what was inspected, by block."""
    places = face_places(faces.files["faces.json"])
    rows = read_inspection(inspected.files["inspect.json"])
    return [
        Seen(
            prompt_id=block.template,
            seed=block.seed,
            emb=emb,
            face_share=None if place is None else _height(place),
            sharpness=None if place is None else float(place["sharpness"]),
            bits=bits_from_hex(row["bits"]),
            structure=float(row["structure"]),
            luma_mean=float(row["luma_mean"]),
            luma_sd=float(row["luma_sd"]),
            clipped=float(row["clipped"]),
            obeyed=row["obeyed"],
        )
        for block, (emb, _, _), place, row in zip(blocks, _faces(faces), places, rows, strict=True)
    ]


def _height(place: Mapping[str, Any]) -> float:
    """Height of the face as a share of the picture's."""
    _, y0, _, y1 = place["box_px"]
    return float(max(y1 - y0, 1.0) / place["size_px"][1])


def _known(
    dataset: Dataset, folder: Path, rows: Sequence[Mapping[str, Any]], yardstick: Yardstick
) -> copying.Known:
    """The persona's own pictures as the copying guard-rails see them; training pictures come first in `rows`."""
    n = len(dataset.training)
    bits = [[bits_from_hex(row["bits"]), bits_from_hex(row["mirrored"])] for row in rows[:n]]
    return copying.Known(
        trained=read_embeddings(folder, dataset, "training"),
        references=read_embeddings(folder, dataset, "reference"),
        trained_bits=np.array(bits, dtype=np.bool_),
        reference_bits=np.array([bits_from_hex(row["bits"]) for row in rows[n:]], dtype=np.bool_),
        span=yardstick.genuine_mean - yardstick.impostor_mean,
    )


__all__ = ["guard", "second_judge"]
