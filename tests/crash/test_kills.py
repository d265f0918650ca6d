"""Anything may be killed at any line: nothing is lost, nothing is made twice, no file is torn.

The study and what must hold for it are in `world.py`, which runs as its own small process: it
forks a life in a millisecond. Files go to memory (/dev/shm) where there is one, since SIGKILL, not
a power cut, is what is tried here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import vultus

WORLD = Path(__file__).with_name("world.py")
SOURCE = Path(next(iter(vultus.__path__))).parent


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="vultus-crash-") as place:
        yield Path(place)


def seen(mode: str, folder: Path, *numbers: int) -> dict[str, int]:
    """What the world saw; its own assertions fail the test with their text."""
    words = [sys.executable, str(WORLD), mode, str(folder), *map(str, numbers)]
    told = subprocess.run(
        words,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    found: dict[str, int] = json.loads(told.stdout)
    return found


@pytest.mark.slow
def test_killed_before_every_call_that_changes_something(folder: Path) -> None:
    found = seen("points", folder)
    assert found["points"] > 250, "the study makes far fewer calls than it should"
    assert found["landed"] == found["points"]
    assert found["resumed"] == found["points"]


@pytest.mark.slow
def test_killed_at_two_hundred_random_moments(folder: Path) -> None:
    found = seen("moments", folder, 200, 1)
    assert found["landed"] >= 200
    assert found["finished"] >= 20, "each workspace was finished in the end, after several kills"


@pytest.mark.slow
def test_one_of_two_at_the_same_work_is_killed(folder: Path) -> None:
    found = seen("pairs", folder, 30, 2)
    assert found["landed"] >= 30


def test_a_few_random_kills(folder: Path) -> None:
    """The quick one, for every commit."""
    assert seen("moments", folder, 12, 3)["landed"] >= 12


def test_the_world_notices_a_torn_file(folder: Path) -> None:
    """The judge is awake: with files written in place, it must protest."""
    words = [sys.executable, "-c", _SABOTAGE, str(WORLD), str(folder)]
    told = subprocess.run(
        words,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode != 0
    assert "AssertionError" in told.stderr, told.stderr


_SABOTAGE = """
import runpy, sys
from contextlib import contextmanager
from pathlib import Path
import vultus.store.blobs as blobs

def put_outputs(self, paths):
    ids = []
    for path in paths:
        if path.is_dir():
            ids.append(whole(self, [path])[0])
            continue
        data = path.read_bytes()
        name = blobs.content_id(data)
        place = self._place(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb") as stream:  # in place: a kill between the writes leaves half
            stream.write(data[:100])
            stream.flush()
            stream.write(data[100:])
        ids.append(name)
    return ids

whole = blobs.Blobs.put_outputs
blobs.Blobs.put_outputs = put_outputs
sys.argv = [sys.argv[1], "points", sys.argv[2]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
