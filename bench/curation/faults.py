"""Killed at fifty points and resumed: the same digest. Hostile archives and names: refused in one clear line.

A life is a forked child that ingests, dedupes (--apply) and freezes; it kills itself with SIGKILL at the n-th call of
a function of the rooms that write. The points are spread evenly over the whole life. A second child then gives the
same commands again and must end with the digests of a life that nobody disturbed.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from bench.curation.hostile import HOSTILE, picture_bytes, write_zip
from vultus.core.errors import VultusError
from vultus.datasets.dedupe import apply, dedupe
from vultus.datasets.freeze import freeze
from vultus.datasets.intake import ingest_sources
from vultus.datasets.library import Library
from vultus.datasets.records import CurateSpec

__all__ = ["POINTS", "measure_faults", "measure_kills", "refuse_hostile"]

POINTS = 50
ROOMS = ("vultus/datasets", "vultus/store", "vultus/core/files", "vultus/core/locks")


def measure_faults() -> dict[str, Any]:
    """Both tables."""
    with tempfile.TemporaryDirectory() as name:
        return {"kills": measure_kills(Path(name), POINTS), "hostile": refuse_hostile(Path(name))}


def measure_kills(root: Path, points: int) -> dict[str, Any]:
    """Kill at `points` places, resume, compare digests."""
    source = _pictures(root)
    expected, calls = _life(source, root / "undisturbed", None)
    same, killed, in_stage = 0, 0, {"ingest": 0, "dedupe": 0, "freeze": 0}
    for point in range(points):
        at = 1 + (calls - 1) * point // max(points - 1, 1)
        folder = root / f"life-{point}"
        before, _ = _life(source, folder, at)
        killed += before is None
        in_stage[_reached(folder)] += before is None
        after, _ = _life(source, folder, None)
        same += after == expected
    return {
        "points": points,
        "calls": calls,
        "killed": killed,
        "same_digest": same,
        "stage_of_kill": in_stage,
    }


def refuse_hostile(root: Path) -> dict[str, Any]:
    """Offer every hostile archive; each must end in a VultusError of which the first line says it all."""
    lines: dict[str, str] = {}
    wrong: list[str] = []
    for n, (what, (make, words)) in enumerate(HOSTILE.items()):
        path = make(root / f"hostile-{n}.zip")
        try:
            with Library.create(root / f"refused-{n}") as library:
                ingest_sources(library, [path])
            wrong.append(f"{what}: taken in")
        except VultusError as fault:
            first = fault.lines()[0].replace(str(root), "")
            lines[what] = first
            if words not in first or "\n" in first:
                wrong.append(f"{what}: {first!r}")
    outside = [p.name for p in root.parent.glob("outside.png")]
    return {
        "offered": len(HOSTILE),
        "refused": len(lines),
        "wrong": [*wrong, *outside],
        "lines": lines,
    }


def _pictures(root: Path) -> Path:
    """Five pictures, one of them twice, one of them recompressed; half in a folder, half in a zip."""
    folder = root / "pictures"
    folder.mkdir(parents=True)
    for n in range(3):
        (folder / f"{n}.png").write_bytes(picture_bytes(str(n), 96))
    (folder / "0-again.png").write_bytes(picture_bytes("0", 96))
    (folder / "0.txt").write_text("a caption", encoding="utf-8")
    write_zip(
        root / "pictures" / "more.zip",
        {"z.jpg": picture_bytes("1", 96, "JPEG"), "y.png": picture_bytes("y", 96)},
    )
    return folder


def _life(source: Path, folder: Path, kill_at: int | None) -> tuple[tuple[str, ...] | None, int]:
    """One forked life; returns its digests (None when it was killed) and the number of calls it made."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(read)
            count = _counted(kill_at)
            digests = _work(source, folder)
            sys.setprofile(None)
            os.write(write, "\n".join([str(count()), *digests]).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read().decode().split("\n")
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None, 0
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"a life in {folder} ended with {status}")
    return tuple(told[1:]), int(told[0])


def _counted(kill_at: int | None) -> Callable[[], int]:
    """Count calls of the writing rooms; at the `kill_at`-th, die."""
    calls = 0

    def watch(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        del arg
        if event == "call" and any(room in frame.f_code.co_filename for room in ROOMS):
            calls += 1
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)
    return lambda: calls


def _work(source: Path, folder: Path) -> tuple[str, ...]:
    with Library.create(folder) as library:
        ingest_sources(library, [source, source / "more.zip"])
        outcome = dedupe(library, CurateSpec())
        apply(library, outcome)
        frozen = freeze(library)
        return library.digest(), str(len(library.kept())), frozen.digest


def _reached(folder: Path) -> str:
    if (folder / "decisions.json").exists():
        return "freeze"
    return "dedupe" if (folder / "stages" / "ingest.json").exists() else "ingest"
