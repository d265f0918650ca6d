"""Short lines on the screen, full ones in the file, never twice."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from vultus.core.errors import DiskError
from vultus.core.log import logger, set_up


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger("vultus")
    handlers, level, propagate = list(root.handlers), root.level, root.propagate
    yield
    for handler in list(root.handlers):
        root.removeHandler(handler)
        if handler not in handlers:
            handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
    root.propagate = propagate


def test_screen_and_file_get_what_is_theirs(tmp_path: Path) -> None:
    screen = io.StringIO()
    file = tmp_path / "logs" / "run.log"
    set_up(file, stream=screen)
    set_up(file, stream=screen)  # a second command in one process
    logger("vultus.steps.run").info("began %s", "é")
    logger("tool").warning("odd")
    assert screen.getvalue() == "vultus: odd\n"
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(stamp + r" INFO vultus\.steps\.run began é", lines[0])
    assert re.fullmatch(stamp + r" WARNING vultus\.tool odd", lines[1])


def test_verbose_shows_more() -> None:
    screen = io.StringIO()
    set_up(verbose=True, stream=screen)
    logger("vultus.a").info("seen")
    logger("vultus.a").debug("not seen")
    assert screen.getvalue() == "vultus: seen\n"


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(DiskError):
        set_up(tmp_path / "logs" / "run.log")
