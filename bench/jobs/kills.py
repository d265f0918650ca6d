"""Random kill -9 in the middle of whole runs, several at once: nothing lost, nothing done twice.

Each run is a detached `vultus run` on a workspace of the planted world (the whole demo's way through
the house, with planted nets, so that a run costs some ten CPU seconds). A victim is drawn from all
its processes: the supervisor, the command, the worker process that renders and trains. What has no
supervisor any more and no worker either is set going by `vultus jobs resume --all`, as a boot hook
would. A workspace that is done is judged and replaced, until enough kills have landed.

    python -m bench.jobs.kills --kills 300 --at-once 2
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vultus.core.seeds import stream
from vultus.jobs.folder import JobFolder
from vultus.jobs.launch import resume_all
from vultus.jobs.processes import family, identify, send
from vultus.jobs.records import JobSpec
from vultus.store.ledger import Ledger
from vultus.testing.planted import make_workspace

__all__ = ["kill_many"]

PICTURES = 18
LEFT_OUT = ("seconds", "lora", "report")
SAME_BYTES = ("curate", "train", "render", "read", "yardstick", "score")


@dataclass
class Life:
    """One workspace and the job that runs it."""

    folder: Path
    job: JobFolder
    kills: int = 0


def kill_many(
    wanted: int, at_once: int = 2, *, seed: int = 1, tell: Callable[[str], None] = print
) -> dict[str, Any]:
    """Run workspaces under fire until `wanted` kills have landed; return what was found."""
    draw = stream("bench kills", seed)
    with tempfile.TemporaryDirectory(prefix="vultus-kills-") as place:
        root = Path(place)
        os.environ |= {"VULTUS_HOME": str(root / "home"), "VULTUS_PROBE": "none"}
        smooth = _begin(root, 0)
        _finish(smooth)
        expected = _told(smooth.folder), _outputs(smooth.folder)
        lives: list[Life] = []
        found: list[dict[str, Any]] = []
        hit: Counter[str] = Counter()
        number = 0
        while sum(hit.values()) < wanted or lives:
            while len(lives) < at_once and sum(hit.values()) < wanted:
                number += 1
                lives.append(_begin(root, number))
            time.sleep(float(draw.exponential(2.0)))
            for life in list(lives):
                if life.job.state.phase.is_finished and not life.job.has_supervisor:
                    lives.remove(life)
                    found.append(row := _judge(life, expected))
                    tell(f"run {len(found)}: {row}; {sum(hit.values())} kills so far")
            resume_all()
            if lives and sum(hit.values()) < wanted:
                life = lives[int(draw.integers(len(lives)))]
                victim = _victim(life, float(draw.uniform()))
                if victim:
                    hit[victim] += 1
                    life.kills += 1
        return {
            "kills": sum(hit.values()),
            "victims": dict(hit),
            "runs": len(found),
            "at_once": at_once,
            "equal_to_the_smooth_run": sum(row["equal"] for row in found),
            "steps_lost": sum(row["lost"] for row in found),
            "steps_done_twice": sum(row["twice"] for row in found),
            "ledger_faults": sum(row["ledger_faults"] for row in found),
            "torn_files": sum(row["torn"] for row in found),
            "rows": found,
        }


def _begin(root: Path, number: int) -> Life:
    folder = make_workspace(root / f"ada{number}", pictures=PICTURES)
    command = [sys.executable, "-m", "vultus", "run", str(folder), "--detach", "--json"]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    job = JobFolder(root / "home" / "jobs" / json.loads(told.stdout)["id"])
    # Under fire it is killed far oftener than it can get on; that is not what is asked here.
    table = json.loads((job.path / "spec.json").read_text())
    table["limits"]["restarts_max"] = 1000
    (job.path / "spec.json").write_text(json.dumps(JobSpec.from_json(table).to_json()))
    return Life(folder, job)


def _victim(life: Life, share: float) -> str:
    """Kill one process of a run, drawn by `share` in 0..1; return what it was, "" if it was gone."""
    candidates = []
    with suppress(OSError, ValueError):
        supervisor = identify(int(life.job.supervisor_lock.read_text()))
        if supervisor is not None and life.job.has_supervisor:
            candidates.append(("supervisor", supervisor))
    worker = life.job.state.worker
    if worker is not None:
        for process in family(worker, whole_session=True):
            name = "command" if process == worker else "worker process"
            candidates.append((name, process))
    if not candidates:
        return ""
    name, process = candidates[int(share * len(candidates)) % len(candidates)]
    return name if send(process, signal.SIGKILL) else ""


def _finish(life: Life) -> None:
    until_s = time.monotonic() + 3600
    while not life.job.state.phase.is_finished or life.job.has_supervisor:
        assert time.monotonic() < until_s, "the run does not end"
        time.sleep(0.2)
    assert life.job.state.phase.value == "done", life.job.state


def _told(folder: Path) -> dict[str, Any]:
    """What the run says when it is asked once more (all of it is looked up)."""
    command = [sys.executable, "-m", "vultus", "run", str(folder), "--json", "--quiet"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    said = json.loads(done.stdout)
    return {key: value for key, value in said.items() if key not in LEFT_OUT}


def _outputs(folder: Path) -> dict[str, Any]:
    """Content ids of everything that the steps gave, by key."""
    with Ledger.open(folder / ".vultus") as ledger:
        return {
            step.key: ledger.outputs(step.key) for step in ledger.steps() if step.kind in SAME_BYTES
        }


def _judge(life: Life, expected: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    said, outputs = _told(life.folder), _outputs(life.folder)
    with Ledger.open(life.folder / ".vultus") as ledger:
        attempts = ledger.attempts()
        done = Counter(a.step_key for a in attempts if a.state.value == "done")
        torn = len(ledger.blobs.verify())
    link = sqlite3.connect(life.folder / ".vultus" / "ledger.sqlite")
    with link:
        checks = [row[0] for row in link.execute("PRAGMA integrity_check")]
        checks += [str(row) for row in link.execute("PRAGMA foreign_key_check")]
    link.close()
    return {
        "kills": life.kills,
        "phase": life.job.state.phase.value,
        "attempts_of_the_job": life.job.state.attempt,
        "equal": said == expected[0] and outputs == expected[1],
        "lost": len(set(expected[1]) - set(done)),
        "twice": sum(count - 1 for count in done.values()),
        "torn": torn,
        "ledger_faults": len([line for line in checks if line != "ok"]),
    }


def main() -> None:
    """Kill, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=2)
    args = parser.parse_args()
    print(json.dumps(kill_many(args.kills, args.at_once), indent=1))


if __name__ == "__main__":
    main()
