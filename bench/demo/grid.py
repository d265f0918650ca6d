"""The full grid of a persona beside what halving chose: does the choice hold against every cell, by the oracle?

Notation
    cell       base x checkpoint x strength; the panel's blocks are common to all of them
    points     m10 of each render                                     float64 (cells, blocks)
    identity   cosine between the geometry that the oracle reads from a render's face and the persona's true one
               float64 (cells, blocks); a render without a face counts what the base alone shows on average
    regret     identity of the best cell minus that of the chosen one
The best of 48 noisy means is biased up, so regret is told twice: on the same blocks, and crossed: the best cell is
picked on half of the prompts and compared with the chosen one on the other half, both ways round. Only the second one
has expectation zero when the choice is right.

What halving rendered is looked up; only the missing blocks are made, in the persona's own workspace, so a killed grid
goes on where it was and the training is shared.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vultus.core.files import write_json
from vultus.core.keys import canonical, content_id
from vultus.core.progress import Progress
from vultus.standin.identity import COLOURED
from vultus.standin.personas import persona
from vultus.studies.drive import count_lanes, open_pool
from vultus.studies.given import gather
from vultus.studies.looking import Run
from vultus.studies.outcome import Outcome
from vultus.studies.sweeping import make_parts
from vultus.studies.workspace import Workspace
from vultus.sweeps.allocate import Batch
from vultus.sweeps.cells import Block, Cell

__all__ = ["crossed_regret", "full_grid", "write_world"]

Floats = npt.NDArray[np.float64]
CACHE = "full_grid.json"


def full_grid(index: int, folder: Path, outcome: Outcome) -> dict[str, Any]:
    """Render what the grid still lacks, let the oracle judge all of it, and compare. Remembered in the folder."""
    given = gather(Workspace(folder))
    asked = content_id(
        canonical([list(outcome.keys), [b.prompt("x") for b in given.panel]]).encode()
    )
    cache = folder / CACHE
    if cache.is_file():
        table: dict[str, Any] = json.loads(cache.read_text(encoding="utf-8"))
        if table["asked"] == asked:
            return table
    sound = {scale.base for scale in outcome.scales if not scale.refused}
    cells = [cell for cell in given.cells if cell.base in sound]
    points, paths = _render_all(folder, outcome, cells)
    blocks = given.panel
    alone = {
        one.cell.base: _identities(index, [one.renders[b] for b in blocks])
        for one in outcome.cells
        if one.cell.strength == 0
    }
    # a base that draws no face at all shows nobody: identity 0
    zero = {b: float(np.nanmean(v)) if np.isfinite(v).any() else 0.0 for b, v in alone.items()}
    identity = np.array(
        [
            np.nan_to_num(_identities(index, row), nan=zero[cell.base])
            for cell, row in zip(cells, paths, strict=True)
        ]
    )
    table = {
        "asked": asked,
        "cells": [[c.base, c.checkpoint, c.strength] for c in cells],
        "blocks": [[b.template, b.seed] for b in blocks],
        "points": points.tolist(),
        "identity": identity.tolist(),
        "base_identity": zero,
        **_compared(cells, blocks, points, identity, outcome.choice.chosen, zero),
    }
    write_json(cache, table)
    return table


def _render_all(
    folder: Path, outcome: Outcome, cells: Sequence[Cell]
) -> tuple[Floats, list[list[Path]]]:
    """m10 and picture of every block of every cell."""
    workspace = Workspace(folder)
    given = gather(workspace)
    panel = given.panel
    lanes = count_lanes(given)
    shown = {one.cell: one for one in outcome.cells}
    points = np.full((len(cells), len(panel)), np.nan)
    paths: list[list[Path | None]] = [[None] * len(panel) for _ in cells]
    batches = []
    for row, cell in enumerate(cells):
        known = {} if cell not in shown else dict(shown[cell].renders)
        for render in shown[cell].score.renders if cell in shown else ():
            at = next(
                i
                for i, b in enumerate(panel)
                if (b.template, b.seed) == (render.prompt_id, render.seed)
            )
            points[row, at] = render.points
            paths[row][at] = known[panel[at]]
        lacking = tuple(i for i, path in enumerate(paths[row]) if path is None)
        if lacking:
            batches.append(Batch(cell, lacking))
    units = float(sum(len(batch.blocks) for batch in batches))
    sound: Any = {scale.base: (scale, None) for scale in outcome.scales if not scale.refused}
    with (
        workspace.at_work(),
        Progress(max(units, 1.0), "full grid") as progress,
        open_pool(given, lanes, progress) as pool,
    ):
        for part in make_parts(Run(given, pool, lanes), sound, outcome.checkpoints, batches):
            row = cells.index(part.cell)
            files = [part.renders.files[name] for name in sorted(part.renders.files)]
            for at, path in zip(part.blocks, files, strict=True):
                points[row, at], paths[row][at] = part.points[at], path
    return points, [[path for path in row if path is not None] for row in paths]


def _identities(index: int, paths: Sequence[Path]) -> Floats:
    """Cosine of the oracle's reading to the truth, per picture; nan where no face is found."""
    from bench.demo.measure import read_identities

    truth = persona(index).z[~COLOURED].astype(np.float64)
    found = np.full(len(paths), np.nan)
    for at, z in read_identities(list(paths)):
        own = z[~COLOURED].astype(np.float64)
        found[at] = float(own @ truth / (np.linalg.norm(own) * np.linalg.norm(truth)))
    return found


def _compared(
    cells: Sequence[Cell],
    blocks: Sequence[Block],
    points: Floats,
    identity: Floats,
    chosen: Cell,
    zero: dict[str, float],
) -> dict[str, Any]:
    mine = list(cells).index(chosen)
    m10, truth = points.mean(axis=1), identity.mean(axis=1)
    best = int(truth.argmax())
    prompts = [block.template for block in blocks]
    return {
        "chosen": chosen.words,
        "best_by_oracle": cells[best].words,
        "best_by_m10": cells[int(m10.argmax())].words,
        "identity_chosen": float(truth[mine]),
        "identity_best": float(truth[best]),
        "identity_base_alone": zero[chosen.base],
        "regret_same_blocks": float(truth[best] - truth[mine]),
        "regret_crossed": crossed_regret(identity, prompts, mine),
        "regret_of_the_grids_own_choice": float(truth[best] - truth[int(m10.argmax())]),
        "pearson": float(np.corrcoef(m10, truth)[0, 1]),
        "spearman": float(np.corrcoef(_ranks(m10), _ranks(truth))[0, 1]),
    }


def crossed_regret(identity: Floats, prompts: Sequence[str], mine: int) -> float:
    """Regret against a best cell that was picked on the other half of the prompts."""
    names = list(dict.fromkeys(prompts))
    first = np.array([names.index(prompt) % 2 == 0 for prompt in prompts])
    found = []
    for half in (first, ~first):
        best = int(identity[:, half].mean(axis=1).argmax())
        found.append(float(identity[best, ~half].mean() - identity[mine, ~half].mean()))
    return float(np.mean(found))


def _ranks(values: Floats) -> Floats:
    return np.argsort(np.argsort(values)).astype(np.float64)


def write_world(table: dict[str, Any], source: str, path: Path) -> Path:
    """Write a grid as a world that `bench.allocation.recorded` replays."""
    cells = [
        {
            "base": base,
            "checkpoint": checkpoint,
            "strength": strength,
            "points": [round(p, 3) for p in row],
        }
        for (base, checkpoint, strength), row in zip(table["cells"], table["points"], strict=True)
    ]
    what = "m10 of every render of a full grid in the stand-in world, a missing face as 0"
    write_json(path, {"what": what, "from": source, "blocks": table["blocks"], "cells": cells})
    return path
