"""Drills of unattended work: survival, hand-over of a card, random kills, executors, ledger, help. `make bench-jobs`.

    python -m bench.jobs.measure                                        all of them, 50 and 300
    python -m bench.jobs.measure --parts handover --trials 10           one of them, shorter
    python -m bench.jobs.measure --parts demo_kills --at-once 3         kills in whole demos, about an hour
    python -m bench.jobs.measure --parts real --comfyui "python main.py --cpu --port 8288" \\
                                 --url http://127.0.0.1:8288 --trials 5  with a real ComfyUI

Each part prints its table and writes bench/results/jobs_<part>.json. In the drills times are no figures:
what counts is what is left, and on a busy machine everything but that takes longer.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from bench.jobs.handover import drill
from bench.jobs.kills import kill_many
from bench.jobs.survival import EVENTS, matrix
from bench.record import record

PARTS = ("survival", "handover", "kills", "executors", "ledger", "help")


def survival(args: argparse.Namespace) -> dict[str, Any]:
    """The survival matrix."""
    del args
    figures = matrix()
    print(table(figures))
    return figures


def table(figures: dict[str, Any]) -> str:
    """Return the matrix as text: one line per event, one column per launcher and kind of work."""
    columns = [
        (launcher, kind)
        for launcher, rows in figures["table"].items()
        for kind in ("training", "sweep")
        if f"{kind} / {EVENTS[0]}" in rows
    ]
    lines = [" " * 20 + "".join(f"{f'{name} {kind}':>18}" for name, kind in columns)]
    for event in EVENTS:
        cells = [_cell(figures["table"][name][f"{kind} / {event}"]) for name, kind in columns]
        lines.append(f"{event:<20}" + "".join(f"{cell:>18}" for cell in cells))
    sums = [figures["survived"][name][kind] for name, kind in columns]
    lines.append(f"{'survived':<20}" + "".join(f"{one:>18}" for one in sums))
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    if row["survived"] is None:
        return "-"
    if row["redone"] is None:
        return "alive" if row["survived"] else "dead"
    return f"{'done' if row['finished'] else 'DEAD'}, {row['redone']} redone"


def handover(args: argparse.Namespace) -> dict[str, Any]:
    """The hand-over drill with the fake ComfyUI."""
    return _told(drill(args.trials))


def real(args: argparse.Namespace) -> dict[str, Any]:
    """The hand-over drill with a real ComfyUI."""
    return _told(drill(args.trials, real=args.comfyui, url=args.url))


def _told(figures: dict[str, Any]) -> dict[str, Any]:
    n = figures["trials"]
    print(f"verified free, or refused   {figures['verified_free_or_refused']}/{n}")
    print(f"came back, identical argv   {figures['identical_argv']}/{n}")
    print(f"job ended as it should      {figures['ended_as_expected']}/{n}")
    for fault in figures["faults"]:
        print(f"  {fault}")
    return figures


def kills(args: argparse.Namespace) -> dict[str, Any]:
    """Random kills in the middle of whole runs of the planted world."""
    return _counted(kill_many(args.kills, args.at_once))


def demo_kills(args: argparse.Namespace) -> dict[str, Any]:
    """Random kills in the middle of whole demos: the stand-in world's nets."""
    at_once, minutes = args.at_once, args.minutes
    return _counted(kill_many(args.kills, at_once, world="demo", minutes=minutes))


def _counted(figures: dict[str, Any]) -> dict[str, Any]:
    for name in (
        *("kills", "victims", "runs", "equal_to_the_smooth_run", "steps_lost"),
        *("steps_done_twice", "ledger_faults", "torn_files"),
    ):
        print(f"{name.replace('_', ' '):<26}{figures[name]}")
    return figures


def executors(args: argparse.Namespace) -> dict[str, Any]:
    """Scheduling, and a Ray cluster that loses workers; skipped loudly where Ray is absent."""
    from bench.jobs.executors import measure

    return measure(args.folder, args.steps)


def ledger(args: argparse.Namespace) -> dict[str, Any]:
    """A ledger of a million renders."""
    from bench.jobs.ledger import measure

    return measure(args.folder / "ledger", args.renders)


def help_(args: argparse.Namespace) -> dict[str, Any]:
    """What --help costs."""
    from bench.jobs.help import measure

    del args
    return measure()


def main() -> None:
    """Run the parts that are asked for and write their records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--trials", type=int, default=50, help="of the hand-over drill")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=2, help="runs under fire at once")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="of the demo_kills: no kill later"
    )
    parser.add_argument("--comfyui", default="", help="command line of a real ComfyUI")
    parser.add_argument("--steps", type=int, default=10_000, help="no-op steps per executor")
    parser.add_argument("--renders", type=int, default=1_000_000, help="renders in the ledger")
    parser.add_argument("--folder", type=Path, default=Path("build/bench-jobs"), help="work here")
    parser.add_argument("--url", default="http://127.0.0.1:8188", help="where that one listens")
    args = parser.parse_args()
    parts = {"survival": survival, "handover": handover, "real": real, "kills": kills}
    parts |= {"demo_kills": demo_kills, "executors": executors, "ledger": ledger, "help": help_}
    for name in args.parts.split(","):
        began = time.perf_counter()
        figures = parts[name](args)
        print(record(f"jobs_{name}", figures, seconds=time.perf_counter() - began))


if __name__ == "__main__":
    main()
