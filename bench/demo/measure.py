"""The demo's whole run on ten personas that no net has seen: does the chosen cell look like its persona?

    python -m bench.demo.measure [--personas N] [--full-grid N] [--record-grid PERSONA] [--folder DIR]

Notation
    m10        of the chosen cell on fresh close-ups, 0 = the base's stranger, 10 = the persona's own pictures
    oracle     mean over geometry parameters of (distance of the base alone - distance of the chosen cell) to the
               persona's true parameters, in z units: positive = the LoRA moved towards the truth
    full grid  for the first N personas every cell renders every block, on the LoRAs that halving had (bench.demo.grid)
The workspaces are kept in DIR: a second call looks finished personas up.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from bench.allocation.recorded import GRID
from bench.demo.grid import CACHE, full_grid, write_world
from bench.record import record, tree
from bench.standin.generated import WEIGHTS
from vultus.core.files import write_text
from vultus.faces.align import align
from vultus.faces.engines import open_engine
from vultus.faces.packs import find_pack
from vultus.faces.records import FaceEngine
from vultus.images.load import load_picture
from vultus.standin.build.demo import DISEASES, PERSONA_TOML, VULTUS_TOML
from vultus.standin.build.faces import FACE_PX, TEMPLATE_PX
from vultus.standin.identity import COLOURED
from vultus.standin.personas import persona, write_persona_folder
from vultus.stats.jackknife import student_quantile
from vultus.studies.drive import drive
from vultus.studies.outcome import CellOutcome, Outcome
from vultus.studies.workspace import Workspace

FIRST = 20
BULK = ("asked", "cells", "blocks", "points", "identity")
CLOSE_UPS = "close-up"


@cache
def _oracle() -> tuple[Any, FaceEngine]:
    session = onnxruntime.InferenceSession(
        WEIGHTS / "oracle" / "oracle.onnx", providers=["CPUExecutionProvider"]
    )
    return session, open_engine(find_pack("standin"))


def read_identities(paths: list[Path]) -> list[tuple[int, npt.NDArray[np.float32]]]:
    """What the oracle reads from the faces in these renders: (position, (N_IDENTITY,)) where there is a face."""
    session, engine = _oracle()
    pictures = [load_picture(p).rgb for p in paths]
    found = [
        (at, align(rgb, read.face.points_px, TEMPLATE_PX, FACE_PX, origin="corner", fill=128))
        for at, (rgb, read) in enumerate(zip(pictures, engine.read_many(pictures), strict=True))
        if read.face is not None
    ]
    if not found:
        return []
    faces = np.stack([face for _, face in found])
    (z,) = session.run(["z"], {"face": faces.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1})
    return [(at, np.asarray(row, np.float32)) for (at, _), row in zip(found, z, strict=True)]


def identities(paths: list[Path]) -> npt.NDArray[np.float32]:
    """What the oracle reads from these renders: (n, N_IDENTITY), renders without a face left out."""
    return np.stack([row for _, row in read_identities(paths)])


def towards_truth(index: int, alone: CellOutcome, chosen: CellOutcome) -> float:
    """How much nearer to the true geometry the chosen cell's faces are than the base's."""
    truth = persona(index).z[~COLOURED]

    def distance(cell: CellOutcome) -> float:
        paths = [path for block, path in cell.renders.items() if block.group == CLOSE_UPS]
        return float(np.abs(identities(paths)[:, ~COLOURED].mean(0) - truth).mean())

    return distance(alone) - distance(chosen)


def one(index: int, folder: Path, grid: bool = False) -> dict[str, Any]:
    """Run one persona and read its figures; with `grid`, every other cell too."""
    if not (folder / "vultus.toml").exists():
        write_persona_folder(folder / "pictures", index, good=36, sick=DISEASES)
        write_text(folder / "persona.toml", PERSONA_TOML.replace("Ada", f"Persona {index}"))
        write_text(folder / "vultus.toml", VULTUS_TOML)
    began = time.perf_counter()
    outcome: Outcome = drive(Workspace(folder), quiet=True)
    close = next(g for g in outcome.fresh.score.groups if g.name == CLOSE_UPS)
    cell = outcome.choice.chosen
    zero = [c.score.m10.value for c in outcome.cells if c.cell.strength == 0]
    ran = time.perf_counter() - began
    compared = (
        {k: v for k, v in full_grid(index, folder, outcome).items() if k not in BULK}
        if grid
        else {}
    )
    return {
        **compared,
        "grid_seconds": time.perf_counter() - began - ran,
        "persona": index,
        "chosen": f"{cell.base} step {cell.checkpoint} x {cell.strength}",
        "m10_close_up": close.m10.value,
        "m10_low": close.m10.low,
        "m10_high": close.m10.high,
        "m10_all": outcome.fresh.score.m10.value,
        "misses": outcome.fresh.score.misses,
        "strength_0": zero,
        "gate": outcome.gate.answer,
        "guards": {g.name: g.kept if g.measured else "not measured" for g in outcome.guards},
        "guard_words": [g.words for g in outcome.guards if g.kept is not True],
        "second_judge": outcome.second.to_json() if outcome.second else None,
        "oracle_towards_truth": towards_truth(index, outcome.fresh_alone, outcome.fresh),
        "seconds": ran,
    }


def grid_figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The full grids in one line each way: is the choice as good as the best cell, does m10 follow the oracle?"""
    told = [row for row in rows if "regret_crossed" in row]
    if not told:
        return {}
    crossed = np.array([row["regret_crossed"] for row in told])
    half = (
        float(
            student_quantile(0.975, max(1, len(told) - 1)) * crossed.std(ddof=1) / len(told) ** 0.5
        )
        if len(told) > 1
        else float("inf")
    )
    return {
        "personas": len(told),
        "regret_crossed_mean": float(crossed.mean()),
        "regret_crossed_half_width": half,
        "within_0.02_crossed": int((crossed <= 0.02).sum()),
        "regret_same_blocks_mean": float(np.mean([row["regret_same_blocks"] for row in told])),
        "within_0.02_same_blocks": sum(row["regret_same_blocks"] <= 0.02 for row in told),
        "regret_of_the_grids_own_choice_mean": float(
            np.mean([row["regret_of_the_grids_own_choice"] for row in told])
        ),
        "pearson_mean": float(np.mean([row["pearson"] for row in told])),
        "spearman_mean": float(np.mean([row["spearman"] for row in told])),
    }


def tell(figures: dict[str, Any]) -> None:
    """Print the figures of the issue."""
    zero = np.abs([value for row in figures["rows"] for value in row["strength_0"]])
    mean = np.mean([value for row in figures["rows"] for value in row["strength_0"]])
    inside = int((zero <= 0.5).sum())
    print(f"m10 at strength 0: mean {mean:+.2f}, largest {zero.max():.2f}")
    print(f"  within 0.5: {inside} of {len(zero)} scales (one per base and persona)")
    for name in figures["rows"][0]["guards"]:
        told = [row["guards"][name] for row in figures["rows"]]
        broken, still_open = (sum(one is mark for one in told) for mark in (False, None))
        print(f"guard-rail {name}: {broken} broken, {still_open} open of {len(told)}")
    g = figures["grid"]
    if not g:
        return
    crossed = f"{g['regret_crossed_mean']:+.3f} +- {g['regret_crossed_half_width']:.3f}"
    print(
        f"full grid of {g['personas']} personas, oracle identity of the best cell minus the chosen:"
    )
    print(
        f"  crossed {crossed}, on the same blocks {g['regret_same_blocks_mean']:+.3f} (biased up)"
    )
    near = f"{g['within_0.02_crossed']} crossed, {g['within_0.02_same_blocks']} on the same blocks"
    print(f"  within 0.02: {near}")
    both = f"Pearson {g['pearson_mean']:.2f}, Spearman {g['spearman_mean']:.2f}"
    print(f"  m10 and oracle over the cells: {both}")


def main() -> None:
    """Run the personas and write bench/results/demo.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--personas", type=int, default=10, help="how many personas")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("build/bench-demo"),
        help="where the workspaces are kept",
    )
    parser.add_argument(
        "--full-grid",
        type=int,
        default=0,
        metavar="N",
        help="of the first N personas render every cell",
    )
    parser.add_argument(
        "--record-grid",
        type=int,
        metavar="PERSONA",
        help="write this persona's full grid as a world for bench-allocation",
    )
    args = parser.parse_args()
    began = time.perf_counter()
    rows = []
    for index in range(FIRST, FIRST + args.personas):
        grid = index < FIRST + args.full_grid or index == args.record_grid
        row = one(index, args.folder / f"persona_{index}", grid)
        rows.append(row)
        close = f"{row['m10_close_up']:.1f} ({row['m10_low']:.1f} .. {row['m10_high']:.1f})"
        oracle = f"{row['oracle_towards_truth']:+.3f}"
        print(f"{index}: {row['chosen']}, close-ups m10 {close}, oracle {oracle}", flush=True)
    passed = sum(r["m10_close_up"] >= 7 for r in rows)
    agreed = sum(r["oracle_towards_truth"] > 0 for r in rows)
    print(
        f"m10 >= 7 on close-ups: {passed} of {len(rows)}; oracle agrees in sign: {agreed} of {len(rows)}"
    )
    figures = {
        "personas": len(rows),
        "close_ups_at_least_7": passed,
        "oracle_agrees": agreed,
        "grid": grid_figures(rows),
        "rows": rows,
    }
    tell(figures)
    if args.personas >= 10:
        print(record("demo", figures, seconds=time.perf_counter() - began))
    if args.record_grid is not None:  # after the record: this file is part of the tree
        table = json.loads((args.folder / f"persona_{args.record_grid}" / CACHE).read_text())
        source = f"make bench-demo ARGS='--record-grid {args.record_grid}' at commit {str(tree()['commit'])[:7]}"
        print(write_world(table, source, GRID))


if __name__ == "__main__":
    main()
