"""A recorded full grid of the stand-in world, replayed: real renders, no planted surface.

Notation
    table    m10 of every render                     float64 (12 blocks, 48 cells)
    truth    mean of a cell over all 12 blocks       the best that this grid can say
There is one seed for each prompt and nothing fresh, so only the screening is played, and the full grid has no regret by
definition. The order of the blocks is luck; it is drawn again for every game.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bench.allocation.methods import replay
from bench.allocation.worlds import World
from vultus.core.seeds import stream
from vultus.sweeps.allocate import Allocator, Budget, Rules
from vultus.sweeps.cells import Cell
from vultus.sweeps.halving import Halving
from vultus.sweeps.racing import Racing

__all__ = ["GRID", "play_recorded", "read_grid"]

GRID = Path(__file__).parent / "standin_grid.json"
GAMES = 100


def read_grid(path: Path = GRID) -> tuple[tuple[Cell, ...], np.ndarray]:
    """The cells and the table (blocks, cells) of a recorded grid."""
    whole = json.loads(path.read_text(encoding="utf-8"))
    cells = tuple(Cell(c["base"], c["checkpoint"], c["strength"]) for c in whole["cells"])
    return cells, np.array([c["points"] for c in whole["cells"]]).T


def play_recorded(games: int = GAMES) -> dict[str, dict[str, float]]:
    """Mean regret in m10 and renders of each way to screen, over orders of the blocks."""
    cells, table = read_grid()
    truth = table.mean(axis=0)
    makers: dict[str, Allocator] = {"halving": Halving(Rules()), "racing": Racing(Rules())}
    found: dict[str, list[tuple[float, float, float]]] = {}
    for number in range(games):
        order = stream("recorded", number).permutation(len(table))
        world = World(cells, truth, table[order] / 25.0, order, table[:0], order[:0])
        for name, allocator in makers.items():
            points, stop = replay(allocator, world, Budget(len(table)))
            spent = sum(len(known) for known in points.values())
            kept = [cells.index(cell) for cell in stop.finalists]
            row = (truth.max() - truth[kept[0]], truth.max() - truth[kept].max(), spent)
            found.setdefault(name, []).append(row)
        for blocks in (3, 6):
            best = int(table[order[:blocks]].mean(axis=0).argmax())
            row = (truth.max() - truth[best], truth.max() - truth[best], blocks * len(cells))
            found.setdefault(f"grid, n = {blocks}", []).append(row)
    return {name: _row(rows) for name, rows in found.items()}


def _row(rows: list[tuple[float, float, float]]) -> dict[str, Any]:
    first, best, spent = np.array(rows).T
    return {
        "games": len(rows),
        "renders": float(spent.mean()),
        "regret_m10_first": float(first.mean()),
        "regret_m10_best_finalist": float(best.mean()),
    }
