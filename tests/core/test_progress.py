"""Progress that tells the truth about the time left."""

from __future__ import annotations

import io
import os

import pytest

from vultus.core.clock import FakeClock
from vultus.core.progress import LINE_EVERY_S, Progress, seconds_text


def make(total: float, *, tty: bool = False) -> tuple[Progress, FakeClock, io.StringIO]:
    clock, out = FakeClock(), io.StringIO()
    return Progress(total, "run", "step", clock=clock, out=out, tty=tty), clock, out


def test_the_time_left_follows_the_speed() -> None:
    progress, clock, _ = make(100)
    assert progress.seconds_left() is None
    for _ in range(10):
        clock.advance(2)
        progress.advance()
    assert progress.seconds_left() == pytest.approx(180)
    assert progress.fraction == pytest.approx(0.1)


def test_a_change_of_speed_is_followed_within_the_window() -> None:
    progress, clock, _ = make(1000)
    for _ in range(100):
        clock.advance(1)
        progress.advance()
    for _ in range(40):
        clock.advance(10)
        progress.advance()
    assert progress.seconds_left() == pytest.approx(860 * 10, rel=0.1)


def test_while_a_step_takes_its_time_the_clock_goes_on_but_not_below_the_steps_left() -> None:
    progress, clock, _ = make(4)
    for _ in range(2):
        clock.advance(10)
        progress.advance()
    clock.advance(4)
    assert progress.seconds_left() == pytest.approx(16)
    clock.advance(1000)
    assert progress.seconds_left() == pytest.approx(10)


def test_what_was_remembered_is_no_speed() -> None:
    progress, clock, _ = make(100)
    progress.advance(50, remembered=True)
    assert progress.seconds_left() is None
    for _ in range(5):
        clock.advance(3)
        progress.advance()
    assert progress.seconds_left() == pytest.approx(45 * 3)
    progress.advance(20, remembered=True)
    assert progress.seconds_left() == pytest.approx(25 * 3)


def test_stages_count_by_their_weights() -> None:
    progress, clock, _ = make(100)
    with progress.stage("train", 500, "step", weight=60) as stage:
        for _ in range(250):
            clock.advance(0.12)
            stage.advance()
        assert progress.fraction == pytest.approx(0.3)
        assert progress.seconds_left() == pytest.approx(70, rel=0.02)
    assert progress.done == pytest.approx(60)
    with progress.stage("score", 0, weight=40):
        pass
    progress.finish()
    assert progress.fraction == 1.0
    assert progress.seconds_left() == 0.0


def test_another_kind_of_work_is_told_from_its_own_speed() -> None:
    progress, clock, _ = make(300)
    for _ in range(100):
        clock.advance(1)
        progress.advance(1, pace="train")
    assert progress.seconds_left() == pytest.approx(200)
    clock.advance(4)
    progress.advance(1, pace="render")
    assert progress.seconds_left() == pytest.approx(199), "one unit says nothing yet"
    for _ in range(5):
        clock.advance(4)
        progress.advance(1, pace="render")
    assert progress.seconds_left() == pytest.approx(194 * 4), "weights of two kinds are guesses"
    progress.advance(94, remembered=True, pace="train")
    assert progress.seconds_left() == pytest.approx(100 * 4), "looking up changes no speed"


def test_a_remembered_stage_does_not_make_the_rest_look_fast() -> None:
    progress, clock, _ = make(100)
    with progress.stage("train", 500, weight=60) as stage:
        stage.finish(remembered=True)
    with progress.stage("look", 10, weight=10) as stage:
        stage.advance(10, remembered=True)
    with progress.stage("render", 10, weight=10) as stage:
        for _ in range(10):
            clock.advance(1)
            stage.advance()
    assert progress.seconds_left() == pytest.approx(20, rel=0.01)


def test_stages_nest() -> None:
    progress, clock, _ = make(1)
    outer = progress.stage("outer", 2, weight=1)
    inner = outer.stage("inner", 4, "cell", weight=1)
    clock.advance(1)
    inner.advance(2)
    assert progress.fraction == pytest.approx(0.25)
    assert "inner 2/4 cell" in progress.line()
    with pytest.raises(RuntimeError, match="'inner' is still open"):
        outer.stage("second", 1)
    outer.finish()
    assert progress.fraction == 1.0


def test_a_total_may_be_corrected() -> None:
    progress, _, _ = make(10)
    progress.advance(5)
    progress.retotal(50)
    assert progress.fraction == pytest.approx(0.1)
    progress.retotal(0)
    assert progress.fraction == 0.0


def test_in_a_log_a_line_comes_about_every_ten_seconds() -> None:
    progress, clock, out = make(100)
    for _ in range(60):
        clock.advance(1)
        progress.advance(note="busy")
    lines = out.getvalue().splitlines()
    assert len(lines) == 60 / LINE_EVERY_S
    assert lines[0] == "run 10 % · 10/100 step · busy · 1 min 30 s left"
    assert "\r" not in out.getvalue()
    progress.finish("all well")
    assert out.getvalue().splitlines()[-1] == "run 60 % · 60/100 step · all well · took 1 min 00 s"


def test_on_a_terminal_one_line_is_redrawn_and_ended() -> None:
    progress, clock, out = make(10, tty=True)
    with progress:
        for _ in range(10):
            clock.advance(1)
            progress.advance(note="x" * 10)
        progress.note = ""
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().count("\r") == 11
    last, before = out.getvalue().rstrip("\n").split("\r")[-1], out.getvalue().split("\r")[-2]
    assert len(last) >= len(before.rstrip())


def test_broken_off_work_claims_nothing() -> None:
    progress, clock, out = make(10, tty=True)
    with pytest.raises(KeyboardInterrupt), progress:
        clock.advance(1)
        progress.advance()
        with progress.stage("part", 3) as part:
            part.advance()
            raise KeyboardInterrupt
    assert progress.fraction == pytest.approx(0.1)
    assert out.getvalue().endswith("\n")
    assert "took" not in out.getvalue()


@pytest.mark.parametrize("tty", [True, False])
def test_a_reader_who_went_away_ends_the_line_and_not_the_work(tty: bool) -> None:
    """`vultus run ada 2>&1 | head`: the pipe is closed, and the run must not hang or fail by it."""
    reader, writer = os.pipe()
    os.close(reader)
    clock = FakeClock()
    out = os.fdopen(writer, "w")
    progress = Progress(3, "run", "steps", out=out, tty=tty, clock=clock)
    for _ in range(3):
        clock.advance(2 * LINE_EVERY_S)
        progress.advance(1)
    assert progress.done == 3
    progress.finish()
    with pytest.raises(BrokenPipeError):
        out.close()  # what was written is still in its buffer
    closed = io.StringIO()
    closed.close()
    Progress(1, "run", out=closed, tty=tty).advance(1)


def test_quiet_writes_nothing() -> None:
    out = io.StringIO()
    with Progress(3, "run", clock=FakeClock(), out=out, quiet=True) as progress:
        progress.advance(3)
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text
