"""Progress that is followed from elsewhere: the outermost stage mirrors its state into a file."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from vultus.core.clock import FakeClock
from vultus.core.progress import Progress, mirror_to


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    mirror_to(tmp_path / "progress.json")
    yield tmp_path / "progress.json"
    mirror_to(None)


def test_the_mirror_follows_each_second_and_at_the_end(file: Path) -> None:
    clock = FakeClock()
    progress = Progress(10, "run", clock=clock, out=io.StringIO(), tty=False, quiet=True)
    progress.advance(1, remembered=True)
    first = json.loads(file.read_text())
    assert first["done"] == 1 and first["remembered"] == 1 and first["seconds_left"] is None
    progress.advance(1)
    assert json.loads(file.read_text()) == first, "not more than once a second"
    clock.advance(2)
    with progress.stage("train", 4, "steps", weight=4) as stage:
        clock.advance(2)
        stage.advance(2, "loss 0.1")
        told = json.loads(file.read_text())
        assert told["stage"] == "train" and told["done"] == 4 and told["note"] == "loss 0.1"
        assert told["seconds_left"] > 0 and "train 2/4 steps" in told["line"]
    progress.finish()
    last = json.loads(file.read_text())
    assert last["fraction"] == 1.0 or last["done"] == 6
    assert list(file.parent.iterdir()) == [file], "no draft is left"


def test_a_mirror_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    mirror_to(tmp_path / "absent" / "progress.json")
    try:
        with Progress(2, "run", out=io.StringIO(), tty=False, quiet=True) as progress:
            progress.advance(2)
        assert progress.done == 2
    finally:
        mirror_to(None)
