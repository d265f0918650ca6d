"""A hundred kills of a whole run at random points: the same report in the end, and nothing made twice.

    python -m bench.sweep.kills [--kills N] [--folder DIR]

A run over the planted world (real allocation, scoring, guard-rails, ledger and workers; the renderer and the trainer
plant their answers, so that a hundred restarts fit into minutes) is started and killed with -9 after a drawn time,
again and again, until it comes to its end; then the next one begins, until the kills are used up. Half of the kills
hit the whole process group, half the parent alone, whose worker then has to end by itself.

Notation
    digest      sha256 of the report's page without its date and its times
    twice       steps that have more than one finished attempt, over all runs
A second call goes on where the first was: what the kills did is written down after each of them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.record import record
from vultus.core.errors import BusyError
from vultus.core.files import write_json
from vultus.core.keys import content_id
from vultus.core.locks import Lock
from vultus.core.seeds import stream
from vultus.reports.build import page
from vultus.reports.run import run_report
from vultus.steps.worker_process import WORKERS_LOCK
from vultus.store.ledger import Ledger
from vultus.studies.drive import look_up
from vultus.studies.workspace import Workspace
from vultus.testing.planted import make_workspace

PATIENCE_S = 300.0
PICTURES = 20


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Begin, or go on with, a run."""
    return subprocess.Popen(
        [sys.executable, "-m", "vultus", "run", str(folder), "--json", "--quiet"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def planted(folder: Path) -> Path:
    """A small run with halving: 24 cells of two bases."""
    make_workspace(folder, pictures=PICTURES)
    plan = folder / "vultus.toml"
    text = plan.read_text("utf-8").replace('allocator = "grid"', 'allocator = "halving"')
    plan.write_text(text, "utf-8")
    return folder


def report_digest(folder: Path) -> str:
    """What a finished run says, without when and how fast."""
    report = run_report(look_up(Workspace(folder)))
    return content_id(page(replace(report, created="", timings=())).encode())


def finished(folder: Path) -> Counter[str]:
    """How often each step was finished, by key."""
    with Ledger.open(folder / ".vultus") as ledger:
        return Counter(a.step_key for a in ledger.attempts() if a.state.value == "done")


def workers_gone(folder: Path) -> None:
    """Wait until no worker of this workspace lives."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            Lock.take(folder / ".vultus" / WORKERS_LOCK).release()
        except BusyError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit("a worker outlived its run")


def smooth_run(folder: Path) -> tuple[str, float, int]:
    """The undisturbed run: digest, seconds, renders."""
    began = time.perf_counter()
    process = start(planted(folder))
    if process.wait(PATIENCE_S) not in (0, 1):
        raise SystemExit("the undisturbed run failed")
    with Ledger.open(folder / ".vultus") as ledger:
        renders = sum(a.kind == "render" for a in ledger.attempts())
    return report_digest(folder), time.perf_counter() - began, renders


def kill_once(folder: Path, number: int, longest_s: float) -> dict[str, Any] | None:
    """Start, wait a drawn time, kill -9; None when the run ended before."""
    draw = stream("bench kills", number)
    process = start(folder)
    try:
        process.wait(float(draw.uniform(0.0, longest_s)))
    except subprocess.TimeoutExpired:
        group = bool(draw.random() < 0.5)
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        workers_gone(folder)
        return {"number": number, "group": group}
    if process.returncode not in (0, 1):
        raise SystemExit(f"a resumed run failed with {process.returncode}")
    return None


def main() -> None:
    """Kill, resume, compare, and write bench/results/sweep_kills.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=Path("build/bench-sweep-kills"))
    args = parser.parse_args()
    began = time.perf_counter()
    state_file = args.folder / "state.json"
    if state_file.is_file():
        state = json.loads(state_file.read_text("utf-8"))
    else:
        shutil.rmtree(args.folder, ignore_errors=True)
        digest, seconds, renders = smooth_run(args.folder / "smooth")
        state = {"digest": digest, "smooth_s": seconds, "renders": renders, "kills": [], "runs": []}
        write_json(state_file, state)
    print(f"undisturbed: {state['smooth_s']:.1f} s, {state['renders']} render steps", flush=True)
    while len(state["kills"]) < args.kills:
        number = len(state["kills"])
        folder = args.folder / f"rough_{len(state['runs'])}"
        if not (folder / "vultus.toml").is_file():
            planted(folder)
        # start-up is a third of the undisturbed run: half of it hits every part of the work
        killed = kill_once(folder, number, max(1.5, 0.6 * state["smooth_s"]))
        if killed is not None:
            state["kills"].append(killed)
        else:
            state["runs"].append(_judged(folder, state["digest"]))
            print(f"{number} kills, {len(state['runs'])} runs ended", flush=True)
        write_json(state_file, state)
    folder = args.folder / f"rough_{len(state['runs'])}"
    if (folder / "vultus.toml").is_file() and start(folder).wait(PATIENCE_S) in (0, 1):
        state["runs"].append(_judged(folder, state["digest"]))
    figures = {
        "kills": len(state["kills"]),
        "of_the_whole_group": sum(kill["group"] for kill in state["kills"]),
        "runs_ended": len(state["runs"]),
        "same_report": sum(run["same"] for run in state["runs"]),
        "steps": sum(run["steps"] for run in state["runs"]),
        "twice": sum(run["twice"] for run in state["runs"]),
        "undisturbed_s": state["smooth_s"],
    }
    print(
        f"{figures['kills']} kills, {figures['runs_ended']} runs came to their end:"
        f" {figures['same_report']} with the same report; of {figures['steps']} steps"
        f" {figures['twice']} were made twice"
    )
    if figures["same_report"] != figures["runs_ended"] or figures["twice"]:
        raise SystemExit("the kills left a mark")
    if figures["kills"] >= 100:
        print(record("sweep_kills", figures, seconds=time.perf_counter() - began))


def _judged(folder: Path, digest: str) -> dict[str, Any]:
    done = finished(folder)
    return {
        "same": report_digest(folder) == digest,
        "steps": len(done),
        "twice": sum(count > 1 for count in done.values()),
    }


if __name__ == "__main__":
    main()
