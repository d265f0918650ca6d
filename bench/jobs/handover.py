"""The hand-over drill: a ComfyUI on the card, a job, and whatever can go wrong, again and again.

Judged in every trial: the job's own measurement when it began to work (at least 90 % of the card
free), or a refusal in words with nothing started; afterwards a ComfyUI that answers, whose command
line is the same byte for byte.

With `real` the ComfyUI is the real one, started by the command line that is given; its memory is
planted: a card of 24 GiB of which the living process holds 8.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vultus.core.errors import VultusError
from vultus.core.seeds import stream
from vultus.jobs import fake_cards
from vultus.jobs.comfyui_process import find
from vultus.jobs.comfyui_server import ComfyServer
from vultus.jobs.folder import JobFolder
from vultus.jobs.holders import port_owner
from vultus.jobs.launch import resume_all
from vultus.jobs.processes import end_family, identify
from vultus.testing import jobs
from vultus.testing.jobs import make_job, plant_python, supervisor_pid, wait_finished, wait_until
from vultus.testing.neighbour import GIB, HELD, TOTAL, Neighbour, neighbour

__all__ = ["WAYS", "drill"]

NEED = int(0.9 * TOTAL)
REAL_WAYS = ("worker killed", "failed", "both killed", "done", "refused")
WAYS = ("done", "said no", "failed", "worker killed", "supervisor killed", "both killed", "refused")


@dataclass(frozen=True)
class Trial:
    """What was seen in one trial."""

    way: str
    verified: bool
    identical: bool
    phase: str
    seconds: float
    note: str = ""


def drill(
    trials: int,
    *,
    first: int = 0,
    real: str = "",
    url: str = "",
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run the trials from number `first` on and return their figures."""
    with tempfile.TemporaryDirectory(prefix="vultus-drill-") as place:
        folder = Path(place)
        os.environ |= {
            "VULTUS_HOME": str(folder / "home"),
            "VULTUS_LOCKS": str(folder / "locks"),
            "VULTUS_PROBE": "fake",
            "VULTUS_FAKE_CARDS": str(folder / "cards"),
        }
        jobs.PATIENCE_S = 1500.0 if real else 240.0
        python = plant_python(folder / "bin")
        source = _real(folder, real, url) if real else neighbour(folder, "--start-s", "0.2")
        seen: list[Trial] = []
        with source as one:
            (folder / "home").mkdir(exist_ok=True)
            (folder / "home" / "jobs.toml").write_text(
                f'[comfyui]\nurl = "{one.server.url}"\nhealthy_within_s = 1500.0\n'
                "[card]\nwait_min = 0.0\n"
            )
            before = (one.command_line(), one.server.argv())
            for number in range(first, first + trials):
                draw = stream("handover drill", "real" if real else "fake", number)
                ways = REAL_WAYS if real else WAYS
                way = ways[number % len(ways)]
                pause_s = float(draw.uniform(0.0, 0.4))
                try:
                    trial = _trial(one, folder / f"trial-{number}", python, way, pause_s, before)
                except (AssertionError, VultusError) as fault:
                    trial = Trial(way, False, False, "broken", 0.0, str(fault)[:300])
                seen.append(trial)
                tell(f"{number + 1:>3} {trial}")
                if real:
                    fake_cards.hold(one.cards, one.uuid, HELD, identify(one.pid()))
        return _figures(seen)


def _trial(
    one: Neighbour,
    folder: Path,
    python: str,
    way: str,
    pause_s: float,
    before: tuple[bytes, list[str]],
) -> Trial:
    began = time.monotonic()
    notebook = identify(os.getpid())
    assert notebook is not None
    fake_cards.hold(one.cards, one.uuid, 6 * GIB if way == "refused" else 0, notebook)
    code = {"said no": "1", "failed": "2"}.get(way)
    words = ["work", str(folder / "work"), "3", "0.2", *([code] if code else [])]
    comfyui = "ignore" if way == "refused" else "wait"
    job = make_job(python, words, folder, card="any", comfyui=comfyui)
    if "killed" in way:
        wait_until(lambda: (folder / "work" / "diary").exists() or job.state.phase.is_finished)
        time.sleep(pause_s)
        _kill(job, way)
    phase = wait_finished(job)
    fake_cards.hold(one.cards, one.uuid, 0, notebook)
    free_file = folder / "work" / "free"
    measured = [int(line) for line in free_file.read_text().split()] if free_file.exists() else []
    if way == "refused":
        verified = not measured and "MiB measured free" in job.state.reason
    else:
        verified = bool(measured) and min(measured) >= NEED
    identical = one.server.is_healthy() and (one.command_line(), one.server.argv()) == before
    wanted = "failed" if way in ("failed", "refused") else "done"
    note = "" if phase == wanted else f"ended {phase}: {job.state.reason}"
    return Trial(way, verified, identical, phase, round(time.monotonic() - began, 2), note)


def _kill(job: JobFolder, way: str) -> None:
    worker = job.state.worker
    if way in ("supervisor killed", "both killed") and job.has_supervisor:
        os.kill(supervisor_pid(job), signal.SIGKILL)
    if way != "supervisor killed" and worker is not None and identify(worker.pid) == worker:
        os.kill(worker.pid, signal.SIGKILL)
    if way == "both killed":
        # as a boot hook does, once both are really gone
        wait_until(lambda: job.standing() == "lost" or job.state.phase.is_finished)
        resume_all()


@contextmanager
def _real(folder: Path, command: str, url: str) -> Iterator[Neighbour]:
    """Start the real ComfyUI by its own command line and plant what it holds."""
    (uuid,) = fake_cards.plant_cards(folder / "cards", [TOTAL])
    assert not find(url), f"something answers at {url} already"
    with (folder / "comfyui.log").open("ab") as log:
        child = subprocess.Popen(
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = ComfyServer(url)
    try:
        until_s = time.monotonic() + 1500
        while not server.is_healthy():
            assert child.poll() is None and time.monotonic() < until_s, "ComfyUI did not start"
            time.sleep(0.5)
        one = Neighbour(server, folder / "cards", uuid, folder, shlex.split(command))
        fake_cards.hold(one.cards, uuid, HELD, identify(one.pid()))
        yield one
    finally:
        pid = port_owner(server.port)
        last = identify(pid) if pid else None
        if last is not None:
            end_family(last)
        child.poll()


def _figures(seen: list[Trial]) -> dict[str, Any]:
    return {
        "trials": len(seen),
        "verified_free_or_refused": sum(t.verified for t in seen),
        "identical_argv": sum(t.identical for t in seen),
        "ended_as_expected": sum(not t.note for t in seen),
        "by_way": dict(Counter(t.way for t in seen)),
        "seconds_each": round(sum(t.seconds for t in seen) / max(len(seen), 1), 2),
        "faults": [str(t) for t in seen if not (t.verified and t.identical) or t.note],
    }
