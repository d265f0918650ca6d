"""The orders of a run: what each step is asked, so that equal questions have equal keys.

Pure functions from what is given, and from what earlier steps gave, to orders. A key holds digests and settings,
never a path, a device or a file name the user may change.

Costs are in passes of the UNet over one picture, the one thing that training and rendering have in common: a
render takes one or two per denoising step, a training step about five per picture (forward, backward, LoRA,
optimizer; measured on the stand-in nets, and about what SDXL takes on a 24 GB card with checkpointing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vultus.core.errors import WeightsError
from vultus.core.seeds import seed_of
from vultus.core.weights import read_header
from vultus.datasets.freeze import Frozen
from vultus.datasets.manifest import reference_digest
from vultus.datasets.records import Dataset
from vultus.faces.packs import Pack
from vultus.scoring.ceiling import widths_for
from vultus.steps.kinds.train import CARRIED, training_inputs
from vultus.steps.orders import Done, Order, step_of
from vultus.studies import cost
from vultus.studies.bases import Base
from vultus.studies.given import Checkpoint, Given
from vultus.sweeps.cells import Block
from vultus.training.lora_file import RECOGNISERS_KEY

CURATE_COST = 30.0
READ_COST = 4.0
INSPECT_COST = 1.0
TRAIN_COST = 5.0
START_COST = 1500.0
"""Starting a worker, loading a base, caching latents: six seconds for the stand-in, one or two minutes for SDXL."""

DECODE_COST = 4.0


def curate_order(given: Given) -> Order:
    """Curate the pictures as they were listed, or take over what the user froze."""
    if given.frozen is not None:
        return _adopt_order(given, given.frozen)
    inputs = {
        "pictures": [list(row) for row in given.pictures],
        "persona": asdict(given.persona),
        "spec": _table(given.plan.curate),
        "seed": given.plan.seed,
        "pack": given.pack.digest,
    }
    return Order(
        step_of("curate", inputs),
        {"folder": given.workspace.pictures},
        given.hints,
        units=len(given.pictures),
        cost=CURATE_COST,
    )


def _adopt_order(given: Given, frozen: Frozen) -> Order:
    inputs = {
        "manifest": frozen.digest,
        "persona": asdict(given.persona),
        "pack": given.pack.digest,
    }
    return Order(
        step_of("adopt", inputs),
        {"library": frozen.path.parents[2]},
        given.hints,
        units=len(given.pictures),
        cost=CURATE_COST,
    )


def train_order(
    given: Given,
    dataset: Dataset,
    frozen: Done,
    part: tuple[int, int] | None = None,
    after: Done | None = None,
) -> Order:
    """Train on the training side of the frozen dataset.

    `part` = (first, last) asks for the steps after `first` up to `last` alone, going on from what the part `after`
    left.
    """
    plan = given.plan
    inputs: dict[str, Any] = {
        "trainer": plan.trainer,
        "base": given.training_base.digest,
        **training_inputs(plan.train, dataset, plan.trainer),
        "spec": _table(plan.train),
        "seed": seed_of("train", plan.seed),
    }
    files = {"base": given.training_base.path, "dataset": frozen.files["dataset"]}
    units = plan.train.steps
    if part is not None:
        inputs |= {"first": part[0], "until": part[1], "after": "" if after is None else after.key}
        units = part[1] - part[0]
    if after is not None:
        files |= {n: after.files[file] for n, file in CARRIED.items() if file in after.files}
    return Order(
        step_of("train", inputs),
        files,
        given.hints,
        units=units,
        cost=train_cost(given),
        start=START_COST,
    )


def ceiling_order(given: Given, dataset: Dataset, frozen: Done) -> Order:
    """Send the references through the training base's VAE."""
    widths = widths_for(given.plan.render.width_px)
    inputs = {
        "renderer": given.plan.renderer,
        "references": reference_digest(dataset),
        "base": given.training_base.digest,
        "spec": _table(given.plan.render),
        "pack": given.pack.digest,
        "widths_px": list(widths),
    }
    files = {"dataset": frozen.files["dataset"], "base": given.training_base.path}
    return Order(
        step_of("ceiling", inputs),
        files,
        given.hints,
        units=len(widths),
        cost=READ_COST * len(dataset.references),
    )


def render_order(
    given: Given,
    base: Base,
    checkpoint: Checkpoint | None,
    strength: float,
    blocks: Sequence[Block],
    words: str,
) -> Order:
    """Render blocks with one base; without a checkpoint, or at strength 0, it is the base alone."""
    plan = given.plan
    alone = checkpoint is None or strength == 0
    inputs = {
        "renderer": plan.renderer,
        "base": base.digest,
        "lora": "" if checkpoint is None or alone else checkpoint.content_id,
        "strength": 0.0 if alone else strength,
        "spec": _table(plan.render),
        "blocks": [[block.prompt(words), block.noise_seed] for block in blocks],
    }
    files = {"base": base.path}
    if checkpoint is not None and not alone:
        files["lora"] = checkpoint.path
    return Order(
        step_of("render", inputs),
        files,
        given.hints,
        units=len(blocks),
        cost=render_cost(given),
    )


def detail_order(given: Given, order: Order, renders: Done, faces: Done, denoise: float) -> Order:
    """Draw the faces of what a render order gave a second time."""
    names = sorted(renders.files)
    asked = order.step.inputs
    inputs = {
        "renders": [renders.ids[name] for name in names],
        "faces": faces.key,
        "denoise": denoise,
        **{k: asked[k] for k in ("renderer", "base", "lora", "strength", "spec", "blocks")},
    }
    files = {name.removesuffix(".png"): renders.files[name] for name in names}
    files |= {"faces": faces.files["faces.json"], **order.files}
    cost = render_cost(given) * denoise + DECODE_COST
    return Order(step_of("detail", inputs), files, given.hints, units=len(names), cost=cost)


def read_order(given: Given, renders: Done, judge: tuple[str, Pack] | None = None) -> Order:
    """Read the faces of what one render step gave, with the run's pack or another judge's."""
    names = sorted(renders.files)
    pictures = [(renders.ids[name], renders.files[name]) for name in names]
    return read_pictures_order(given, pictures, judge or (given.pack_name, given.pack))


def read_pictures_order(
    given: Given, pictures: Sequence[tuple[str, Path]], judge: tuple[str, Pack]
) -> Order:
    """Read the faces of some pictures (content id, path)."""
    name, pack = judge
    inputs = {"renders": [content for content, _ in pictures], "pack": pack.digest}
    files = {f"r{i:03d}": path for i, (_, path) in enumerate(pictures)}
    hints = {**given.hints, "face_pack": name}
    return Order(step_of("read", inputs), files, hints, units=len(pictures), cost=READ_COST)


def inspect_order(
    given: Given, pictures: Sequence[tuple[str, Path]], prompts: Sequence[str] = ()
) -> Order:
    """Look at pictures as guard-rails do; with their prompts, the eye looks too."""
    eye = given.eye if prompts else None
    inputs = {
        "pictures": [content for content, _ in pictures],
        "prompts": list(prompts) if eye else [],
        "eye": None if eye is None else {"kind": eye.kind, "digest": eye.digest},
    }
    files = {f"p{i:03d}": path for i, (_, path) in enumerate(pictures)}
    if eye is not None:
        files["eye"] = eye.path
    return Order(
        step_of("inspect", inputs), files, given.hints, units=len(pictures), cost=INSPECT_COST
    )


def yardstick_order(
    given: Given, base: Base, dataset: Dataset, frozen: Done, faces: Done, blocks: Sequence[Block]
) -> Order:
    """Freeze the scale of one base: its references, and impostors rendered on these blocks."""
    inputs = {
        "references": reference_digest(dataset),
        "impostors": faces.key,
        "prompts": [block.template for block in blocks],
        "persona": given.persona.name,
        "base": base.name,
        "recogniser": given.pack.recogniser.sha256,
    }
    files = {
        "dataset": frozen.files["dataset"],
        "emb": faces.files["emb.npy"],
        "states": faces.files["states.json"],
        "faces": faces.files["faces.json"],
    }
    return Order(step_of("yardstick", inputs), files, given.hints)


@dataclass(frozen=True)
class Faces:
    """The faces of some blocks of one cell: what a score is made from."""

    read: Done
    blocks: tuple[Block, ...]


def score_order(
    given: Given,
    yardstick: Done,
    cells: Sequence[Sequence[Faces]],
    made_with: Sequence[str] = (),
) -> Order:
    """Score cells on one yardstick; each cell is a list of parts.

    `made_with` identifies the recognisers that took part in making the renders.
    """
    files = {"yardstick": yardstick.files["yardstick.json"]}
    rows = []
    for position, parts in enumerate(cells):
        for batch, part in enumerate(parts):
            files[f"e{position:03d}_{batch:02d}"] = part.read.files["emb.npy"]
            files[f"s{position:03d}_{batch:02d}"] = part.read.files["states.json"]
            files[f"f{position:03d}_{batch:02d}"] = part.read.files["faces.json"]
        rows.append(
            {
                "faces": [part.read.key for part in parts],
                "blocks": [[b.template, b.seed, b.group] for part in parts for b in part.blocks],
            }
        )
    inputs = {
        "yardstick": yardstick.ids["yardstick.json"],
        "cells": rows,
        "made_with": sorted(set(made_with)),
    }
    return Order(step_of("score", inputs), files, given.hints, units=len(rows))


def recognisers_used(checkpoints: Sequence[Checkpoint]) -> tuple[str, ...]:
    """The recognisers that taught these checkpoints, as their files tell (`vultus_recognisers`)."""
    found: set[str] = set()
    for one in checkpoints:
        try:
            told = read_header(one.path).metadata.get(RECOGNISERS_KEY, "")
        except WeightsError:  # a planted checkpoint of a test is no weight file
            told = ""
        found.update(name.strip() for name in told.split(",") if name.strip())
    return tuple(sorted(found))


def checkpoints_of(trained: Done) -> list[Checkpoint]:
    """The weight files of a training, by step."""
    found = []
    for name, path in trained.files.items():
        if name.startswith("checkpoint-"):
            step = int(name.removeprefix("checkpoint-").removesuffix(".safetensors"))
            found.append(Checkpoint(step, trained.ids[name], path))
    return sorted(found, key=lambda one: one.step)


def average_order(given: Given, last: Sequence[Checkpoint]) -> Order:
    """Average these checkpoints."""
    inputs = {
        "loras": [one.content_id for one in last],
        "precision": given.plan.train.save_precision,
    }
    files = {f"lora{i:03d}": one.path for i, one in enumerate(last)}
    return Order(step_of("average", inputs), files, given.hints)


def train_cost(given: Given) -> float:
    """Cost of one training step."""
    return TRAIN_COST * given.plan.train.batch


def render_cost(given: Given) -> float:
    """Cost of one render."""
    passes = 2 if given.plan.render.guidance > 1 else 1
    return given.plan.render.steps * passes + DECODE_COST


def total_cost(given: Given, lanes: int) -> float:
    """What a whole run costs on so many lanes, in the units of the orders.

    Impostors are rendered beside the training where there are two lanes, and cost no time of their own then.
    """
    one_render = render_cost(given) + READ_COST
    training = START_COST + given.plan.train.steps * train_cost(given)
    beside = 2 * len(given.plan.bases) * len(given.panel) * one_render
    swept = cost.planned_renders(given) * one_render
    fresh = (cost.confirm_renders(given) + cost.row_renders(given)) * one_render
    curated = len(given.pictures) * CURATE_COST
    if given.loras:
        training = 0.0
    if given.plan.clock.blocks:  # part by part, with renders between: nothing is beside it
        parts = len(given.plan.train.checkpoint_steps)
        training += (parts - 1) * START_COST + parts * given.plan.clock.blocks * one_render
        return curated + training + (beside + swept + fresh) / lanes
    if lanes > 1:
        return curated + max(training, beside) + (swept + fresh) / lanes
    return curated + training + beside + swept + fresh


def after_sweep_cost(given: Given, lanes: int, finalists: int) -> float:
    """What comes after the sweep costs at most on so many lanes: the confirmation and the chosen row."""
    renders = cost.confirm_renders(given, finalists) + cost.row_renders(given)
    return renders * (render_cost(given) + READ_COST) / max(1, lanes)


def share_cost(order: Order, factor: float) -> Order:
    """The same order with its cost scaled, for work that is done beside other work."""
    return replace(order, cost=order.cost * factor, start=order.start * factor)


def _table(spec: Any) -> dict[str, Any]:
    """A spec as a table; what was left unset stays out, as it would in TOML."""
    return {name: value for name, value in asdict(spec).items() if value is not None}


__all__ = [
    "CURATE_COST",
    "READ_COST",
    "Checkpoint",
    "Faces",
    "ceiling_order",
    "checkpoints_of",
    "curate_order",
    "detail_order",
    "inspect_order",
    "read_order",
    "read_pictures_order",
    "render_cost",
    "render_order",
    "score_order",
    "share_cost",
    "total_cost",
    "train_cost",
    "train_order",
    "yardstick_order",
]
