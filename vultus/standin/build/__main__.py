"""Build the stand-in's models: `python -m vultus.standin.build --cache DIR` (about four hours on two idle cores).

Every stage resumes where it was stopped; starting the command again after a finished build only exports.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported: stack.md, section 8
os.environ.setdefault("OMP_NUM_THREADS", "1")

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"


def _command(stage: str, cache: Path, weights: Path, rank: int = 0, ranks: int = 1) -> list[str]:
    here = [
        sys.executable,
        "-m",
        "vultus.standin.build",
        "--cache",
        str(cache),
        "--weights",
        str(weights),
    ]
    return [*here, "--stage", stage, "--rank", str(rank), "--ranks", str(ranks)]


def _run_row(row: tuple[str, ...], cache: Path, weights: Path) -> None:
    """Run the lanes of one row side by side; stages joined by + run one after another in their lane."""
    lanes: list[list[list[str]]] = []
    for entry in row:
        name, _, ranks = entry.partition("*")
        if ranks:
            (cache / f"rendezvous_{ranks}").unlink(missing_ok=True)
            lanes += [[_command(name, cache, weights, r, int(ranks))] for r in range(int(ranks))]
        else:
            lanes.append([_command(stage, cache, weights) for stage in name.split("+")])
    running = [(lane, subprocess.Popen(lane[0])) for lane in lanes]
    while running:
        time.sleep(0.5)
        for lane, process in list(running):
            if process.poll() is None:
                continue
            running.remove((lane, process))
            if process.returncode != 0:
                for _, other in running:
                    other.terminate()
                raise SystemExit(
                    f"vultus: stage failed: {' '.join(lane[0][-6:])}; start the same command to go on"
                )
            if lane[1:]:
                running.append((lane[1:], subprocess.Popen(lane[1])))


def main() -> None:
    """Parse the command line and run one stage, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m vultus.standin.build", description=__doc__)
    parser.add_argument(
        "--cache", type=Path, required=True, help="folder for shards and checkpoints, about 3 GB"
    )
    parser.add_argument(
        "--weights", type=Path, default=WEIGHTS, help="folder the shipped files go to"
    )
    parser.add_argument("--stage", default="", help="run this stage only")
    parser.add_argument(
        "--rank", type=int, default=0, help="number of this process among cooperating ones"
    )
    parser.add_argument("--ranks", type=int, default=1, help="how many processes cooperate")
    args = parser.parse_args()
    from vultus.core.log import set_up
    from vultus.standin.build.stages import PLAN, run_stage

    args.cache.mkdir(parents=True, exist_ok=True)
    set_up(args.cache / f"{args.stage or 'build'}.{args.rank}.log", verbose=True)
    if args.stage:
        run_stage(args.stage, args.cache, args.weights, rank=args.rank, ranks=args.ranks)
        return
    for row in PLAN:
        _run_row(row, args.cache, args.weights)


if __name__ == "__main__":
    main()
