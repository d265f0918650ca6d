"""Random kill -9 in the middle of whole runs, several at once: nothing lost, nothing done twice.

Each run is a job, as `--detach` makes it: `vultus run` on a workspace of the planted world (the whole way through
the house with planted nets, some ten CPU seconds), or `vultus demo` (the real nets of the stand-in world, some
minutes). The wait to a run's next kill is drawn as a share of what one undisturbed run takes, so that kills land on
a fast machine as on a slow one. The victim is drawn from all its processes: the supervisor, the command, the
worker processes that render and train. What has no supervisor any more and no worker either is set going by
`vultus jobs resume --all`, as a boot hook would. A run that is done is judged and replaced, until enough kills
have landed.

    python -m bench.jobs.kills --kills 300 --at-once 2
    python -m bench.jobs.kills --kills 300 --at-once 3 --world demo

**Notation**
    WITHIN      the wait to a run's next kill is uniform between 0 and this share of the smooth run's seconds
    victim      the process that is sent SIGKILL
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vultus.core.seeds import stream
from vultus.jobs.control import detach, limits_of
from vultus.jobs.folder import JobFolder
from vultus.jobs.launch import resume_all
from vultus.jobs.processes import family, identify, send
from vultus.jobs.settings import load_settings
from vultus.store.ledger import Ledger
from vultus.testing.planted import make_workspace

__all__ = ["kill_many"]

PICTURES = 18
LEFT_OUT = ("seconds", "lora", "report")
DIARY = "losses.json"
"""What a training says of its seconds and of where it was resumed."""
SAME_BYTES = ("curate", "train", "render", "read", "inspect", "yardstick", "score")
WITHIN = {"planted": 0.5, "demo": 0.3}
LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Life:
    """One workspace and the job that runs it."""

    folder: Path
    job: JobFolder


@dataclass
class Fire:
    """The kills that are still to come, shared by all lanes."""

    wanted: int
    until_s: float
    hit: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def goes_on(self) -> bool:
        """False when enough kills have landed, or when the time is over."""
        return self.hit.total() < self.wanted and time.monotonic() < self.until_s

    def next_run(self) -> int:
        """Number the next run."""
        with self.lock:
            self.runs += 1
            return self.runs

    def kill(self, life: Life, share: float) -> bool:
        """Kill one of the run's processes, unless enough were killed meanwhile; true when one died."""
        with self.lock:
            victim = _victim(life, share) if self.goes_on() else ""
            self.hit.update([victim] if victim else [])
            return bool(victim)


def kill_many(
    wanted: int,
    at_once: int = 2,
    *,
    world: str = "planted",
    minutes: float = float("inf"),
    seed: int = 1,
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run workspaces under fire until `wanted` kills have landed, or for so many minutes; return what was found."""
    with tempfile.TemporaryDirectory(prefix="vultus-kills-") as place:
        root = Path(place)
        os.environ |= {"VULTUS_HOME": str(root / "home"), "VULTUS_PROBE": "none"}
        began_s = time.monotonic()
        smooth = _begin(root, 0, world)
        _finish(smooth)
        smooth_s = time.monotonic() - began_s
        tell(f"the smooth run took {smooth_s:.0f} s")
        expected = _told(smooth.folder), _outputs(smooth.folder)
        fire = Fire(wanted, began_s + 60 * minutes)

        def lane(_: int) -> list[dict[str, Any]]:
            rows = []
            while fire.goes_on():
                number = fire.next_run()
                draw = stream("bench kills", seed, number)
                life = _begin(root, number, world)
                kills = _live(life, fire, WITHIN[world] * smooth_s, draw)
                rows.append(row := {"kills": kills, **_judge(life, expected)})
                tell(f"run {number}: {row}; {fire.hit.total()} kills so far")
                shutil.rmtree(life.folder)
            return rows

        with ThreadPoolExecutor(at_once) as lanes:
            found = [row for rows in lanes.map(lane, range(at_once)) for row in rows]
        return {
            "world": world,
            "kills": fire.hit.total(),
            "victims": dict(fire.hit),
            "runs": len(found),
            "at_once": at_once,
            "smooth_run_s": round(smooth_s, 1),
            "equal_to_the_smooth_run": sum(row["equal"] for row in found),
            "steps_lost": sum(row["lost"] for row in found),
            "steps_done_twice": sum(row["twice"] for row in found),
            "ledger_faults": sum(row["ledger_faults"] for row in found),
            "torn_files": sum(row["torn"] for row in found),
            "rows": found,
        }


def _live(life: Life, fire: Fire, within_s: float, draw: np.random.Generator) -> int:
    """Shoot at a run until it is over; return how often it was hit."""
    kills = 0
    next_s = time.monotonic() + within_s * float(draw.uniform())
    while not life.job.state.phase.is_finished or life.job.has_supervisor:
        time.sleep(LOOK_EVERY_S)
        if not life.job.has_supervisor:
            resume_all()
        if time.monotonic() > next_s and fire.kill(life, float(draw.uniform())):
            kills += 1
            next_s = time.monotonic() + within_s * float(draw.uniform())
    return kills


def _begin(root: Path, number: int, world: str) -> Life:
    folder = root / f"ada{number}"
    if world == "planted":
        make_workspace(folder, pictures=PICTURES)
    # Under fire it is killed far oftener than it can get on; that is not what is asked here.
    limits = replace(limits_of(load_settings(), deadline_h=None, now=0.0), restarts_max=1000)
    words = ["run" if world == "planted" else "demo", str(folder)]
    job = detach(words, python=sys.executable, card="", comfyui="ignore", limits=limits)
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
        rows = [step.key for step in ledger.steps() if step.kind in SAME_BYTES]
        outputs = {key: ledger.outputs(key) or {} for key in rows}
        return {
            key: {name: made for name, made in files.items() if name != DIARY}
            for key, files in outputs.items()
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
    parser.add_argument("--world", choices=tuple(WITHIN), default="planted")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing later")
    args = parser.parse_args()
    told = kill_many(args.kills, args.at_once, world=args.world, minutes=args.minutes)
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
