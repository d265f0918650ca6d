"""The demo's whole run on ten personas that no net has seen: does the chosen cell look like its persona?

    python -m bench.demo.measure [--personas N] [--folder DIR]

Notation
    m10        of the chosen cell on fresh close-ups, 0 = the base's stranger, 10 = the persona's own pictures
    oracle     mean over geometry parameters of (distance of the base alone - distance of the chosen cell) to the
               persona's true parameters, in z units: positive = the LoRA moved towards the truth
The workspaces are kept in DIR: a second call looks finished personas up.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from bench.record import record
from bench.standin.generated import WEIGHTS
from vultus.core.files import write_text
from vultus.faces.align import align
from vultus.faces.engines import open_engine
from vultus.faces.packs import find_pack
from vultus.images.load import load_picture
from vultus.standin.build.demo import DISEASES, PERSONA_TOML, VULTUS_TOML
from vultus.standin.build.faces import FACE_PX, TEMPLATE_PX
from vultus.standin.identity import COLOURED
from vultus.standin.personas import persona, write_persona_folder
from vultus.studies.drive import drive
from vultus.studies.outcome import CellOutcome, Outcome
from vultus.studies.workspace import Workspace

FIRST = 20
CLOSE_UPS = "close_up"


def identities(paths: list[Path]) -> npt.NDArray[np.float32]:
    """What the oracle reads from the faces in these renders: (n, N_IDENTITY), renders without a face left out."""
    session = onnxruntime.InferenceSession(
        WEIGHTS / "oracle" / "oracle.onnx", providers=["CPUExecutionProvider"]
    )
    pictures = [load_picture(p).rgb for p in paths]
    faces = [
        align(rgb, read.face.points_px, TEMPLATE_PX, FACE_PX, origin="corner", fill=128)
        for rgb, read in zip(
            pictures, open_engine(find_pack("standin")).read_many(pictures), strict=True
        )
        if read.face is not None
    ]
    x = np.stack(faces).transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
    (z,) = session.run(["z"], {"face": x})
    return np.asarray(z, np.float32)


def towards_truth(index: int, alone: CellOutcome, chosen: CellOutcome) -> float:
    """How much nearer to the true geometry the chosen cell's faces are than the base's."""
    truth = persona(index).z[~COLOURED]

    def distance(cell: CellOutcome) -> float:
        paths = [path for block, path in cell.renders.items() if block.group == CLOSE_UPS]
        return float(np.abs(identities(paths)[:, ~COLOURED].mean(0) - truth).mean())

    return distance(alone) - distance(chosen)


def one(index: int, folder: Path) -> dict[str, Any]:
    """Run one persona and read its figures."""
    if not (folder / "vultus.toml").exists():
        write_persona_folder(folder / "pictures", index, good=36, sick=DISEASES)
        write_text(folder / "persona.toml", PERSONA_TOML.replace("Ada", f"Persona {index}"))
        write_text(folder / "vultus.toml", VULTUS_TOML)
    began = time.perf_counter()
    outcome: Outcome = drive(Workspace(folder), quiet=True)
    close = next(g for g in outcome.fresh.score.groups if g.name == CLOSE_UPS)
    cell = outcome.choice.chosen
    zero = [c.score.m10.value for c in outcome.cells if c.cell.strength == 0]
    return {
        "persona": index,
        "chosen": f"{cell.base} step {cell.checkpoint} x {cell.strength}",
        "m10_close_up": close.m10.value,
        "m10_low": close.m10.low,
        "m10_high": close.m10.high,
        "m10_all": outcome.fresh.score.m10.value,
        "misses": outcome.fresh.score.misses,
        "strength_0": zero,
        "oracle_towards_truth": towards_truth(index, outcome.fresh_alone, outcome.fresh),
        "seconds": time.perf_counter() - began,
    }


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
    args = parser.parse_args()
    began = time.perf_counter()
    rows = []
    for index in range(FIRST, FIRST + args.personas):
        row = one(index, args.folder / f"persona_{index}")
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
        "rows": rows,
    }
    if args.personas >= 10:
        print(record("demo", figures, seconds=time.perf_counter() - began))


if __name__ == "__main__":
    main()
