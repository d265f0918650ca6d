"""How far a long piece of work is, and when it will be done.

On a terminal one line is redrawn; elsewhere (a log, a pipe) a line is printed about every ten
seconds. The time left comes from the speed of the last minutes, not from the whole past, and what
was remembered instead of worked for does not count as speed.

**Notation**: `total` and `done` are in the stage's own unit (steps, pictures) or, for a stage made
of stages, in weights that the caller chooses (expected seconds are best); times are in seconds of
the clock's `monotonic`.
"""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO

from vultus.core.clock import Clock, SystemClock

__all__ = ["Progress", "mirror_to", "seconds_text"]

WINDOW_S = 120.0  # long enough to cover several batches, short enough to follow a change of work
SETTLE_S = 15.0  # a new kind of work is timed for so long before its own speed is believed: it starts with loading
REDRAW_S = 0.1
LINE_EVERY_S = 10.0
MIRROR_EVERY_S = 1.0
_EPSILON = 1e-9
_mirror: Path | None = None


def mirror_to(path: Path | None) -> None:
    """From now on every outermost stage also writes its state to this file, as JSON, each second.

    Only a front command calls it, once: that is how a detached job is followed from elsewhere.
    """
    global _mirror
    _mirror = path


class Progress:
    """Progress of one stage; `stage()` opens a part of it with its own unit.

    `total` may be corrected while the work runs. Use it as a context manager, or call `finish`.
    """

    def __init__(
        self,
        total: float,
        label: str,
        unit: str = "",
        *,
        clock: Clock | None = None,
        out: TextIO | None = None,
        tty: bool | None = None,
        quiet: bool = False,
    ) -> None:
        self.label = label
        self.unit = unit
        self.note = ""
        self._total = max(float(total), 0.0)
        self._done = 0.0
        self._remembered = 0.0
        self._parent: Progress | None = None
        self._weight = 0.0
        self._child: Progress | None = None
        self._finished = False
        self._clock: Clock = clock or SystemClock()
        self._out = out if out is not None else sys.stderr
        self._tty = self._out.isatty() if tty is None else tty
        self._quiet = quiet
        self._started_s = self._clock.monotonic()
        self._drawn_s = -float("inf") if self._tty else self._started_s
        self._mirrored_s = -float("inf")
        self._width = 0
        self._pace = ""
        self._before: float | None = None
        self._seen: deque[tuple[float, float]] = deque([(self._started_s, 0.0)])

    @property
    def total(self) -> float:
        return self._total

    @property
    def done(self) -> float:
        """What is finished, open stages included in part."""
        child = self._child
        return self._done + (child._weight * child.fraction if child else 0.0)

    @property
    def fraction(self) -> float:
        return min(self.done / self._total, 1.0) if self._total > 0 else float(self._finished)

    def retotal(self, total: float) -> None:
        """Correct the total, e.g. when a budget or an allocator changed its mind."""
        self._total = max(float(total), 0.0)
        self._draw()

    def advance(
        self, n: float = 1.0, note: str = "", *, remembered: bool = False, pace: str = ""
    ) -> None:
        """`n` more are done. `remembered`: they were looked up, which says nothing about speed.

        `pace` names the kind of work: weights of two kinds are guesses beside one another (on a busy machine bad ones),
        so what is left is told from the speed of the present kind alone once that is known.
        """
        self._done += n
        if pace and pace != self._pace and not remembered:
            self._change_pace(pace)
        if remembered:
            self._remembered += n
        if note:
            self.note = note
        self._observe()
        self._draw()

    def stage(self, label: str, total: float, unit: str = "", *, weight: float = 1.0) -> Progress:
        """Open a part of this stage that is worth `weight` of its total; one at a time."""
        if self._child is not None:
            raise RuntimeError(f"the stage {self._child.label!r} is still open")
        child = Progress(total, label, unit, clock=self._clock, out=self._out, quiet=True)
        child._parent, child._weight = self, weight
        self._child = child
        self._draw()
        return child

    def finish(self, note: str = "", *, remembered: bool = False) -> None:
        """This stage is over, whatever its total said; its whole weight counts for its parent.

        `remembered`: nothing was done for it, so it says nothing about speed.
        """
        if self._finished:
            return
        if self._child is not None:
            self._child.finish()
        self._finished = True
        if note:
            self.note = note
        parent = self._parent
        if parent is not None:
            looked_up = self._remembered / self._done if self._done > 0 else 0.0
            parent._child = None
            parent._done += self._weight
            parent._remembered += self._weight * (1.0 if remembered else min(looked_up, 1.0))
            parent._observe()
            parent._draw()
        else:
            self._tell_mirror(last=True)
            if not self._quiet:
                self._print(last=True)

    def _change_pace(self, pace: str) -> None:
        """Forget the speed of another kind of work, but for the time until the new one has settled."""
        speed = self._speed()
        self._before = speed if speed is not None else self._before
        if self._pace:
            self._seen = deque([(self._clock.monotonic(), self._worked())])
        self._pace = pace

    def _speed(self) -> float | None:
        """Units per second over the window; None before any is known."""
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        if last - first <= _EPSILON or last_s <= first_s:
            return None
        return (last - first) / (last_s - first_s)

    def seconds_left(self) -> float | None:
        """Time left at the speed of the last minutes; None before any speed is known."""
        left = self._total - self.done
        if left <= 0 or self._finished:
            return 0.0
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        if self._before is not None and last_s - first_s < SETTLE_S:
            return left / self._before
        if last - first <= _EPSILON or last_s <= first_s:
            return None
        # Since the last advance the clock went on; but an overdue step is not a finished one, so
        # no more than one usual step is taken off.
        usual_s = (last_s - first_s) / (len(self._seen) - 1)
        idle_s = min(self._clock.monotonic() - last_s, usual_s)
        return max(left * (last_s - first_s) / (last - first) - idle_s, 0.0)

    def line(self) -> str:
        """The whole state as one line of text."""
        parts = [f"{self.label} {100 * self.fraction:.0f} %"]
        leaf: Progress = self
        while leaf._child is not None:
            leaf = leaf._child
        if leaf is not self:
            parts.append(f"{leaf.label} {leaf._count()}".rstrip())
        else:
            parts.append(self._count())
        if leaf.note or self.note:
            parts.append(leaf.note or self.note)
        left_s = self.seconds_left()
        spent_s = self._clock.monotonic() - self._started_s
        if self._finished:
            parts.append(f"took {seconds_text(spent_s)}")
        elif left_s is None:
            parts.append("estimating the time left")
        else:
            parts.append(f"{seconds_text(left_s)} left")
        return " · ".join(part for part in parts if part)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self._abandon()

    def _abandon(self) -> None:
        """The work broke off: end the line, claim nothing."""
        if self._parent is not None:
            self._parent._child = None
        elif self._tty and not self._quiet and self._width:
            self._write("\n")

    def _count(self) -> str:
        if self._total <= 0:
            return ""
        return f"{self.done:.0f}/{self._total:.0f} {self.unit}".rstrip() if self.unit else ""

    def _worked(self) -> float:
        child = self._child
        part = child._weight * child._worked_fraction() if child else 0.0
        return self._done - self._remembered + part

    def _worked_fraction(self) -> float:
        return min(self._worked() / self._total, 1.0) if self._total > 0 else 0.0

    def _observe(self) -> None:
        now_s = self._clock.monotonic()
        self._seen.append((now_s, self._worked()))
        while len(self._seen) > 2 and self._seen[1][0] <= now_s - WINDOW_S:
            self._seen.popleft()
        if self._parent is not None:
            self._parent._observe()

    def _draw(self) -> None:
        if self._parent is not None:
            self._parent._draw()
            return
        self._tell_mirror()
        now_s = self._clock.monotonic()
        every_s = REDRAW_S if self._tty else LINE_EVERY_S
        if not self._quiet and now_s - self._drawn_s >= every_s:
            self._drawn_s = now_s
            self._print()

    def record(self) -> dict[str, object]:
        """The whole state as plain data; `seconds_left` is null before any speed is known."""
        leaf: Progress = self
        while leaf._child is not None:
            leaf = leaf._child
        return {
            "label": self.label,
            "stage": leaf.label,
            "fraction": round(self.fraction, 6),
            "done": round(self.done, 3),
            "remembered": round(self._remembered, 3),
            "total": self._total,
            "unit": self.unit,
            "note": leaf.note or self.note,
            "seconds_left": self.seconds_left(),
            "line": self.line(),
            "at": self._clock.now(),
        }

    def _tell_mirror(self, *, last: bool = False) -> None:
        now_s = self._clock.monotonic()
        if _mirror is None or (now_s < self._mirrored_s + MIRROR_EVERY_S and not last):
            return
        self._mirrored_s = now_s
        # News, not a record: replaced in one step so that nobody reads half of it, and not flushed
        # to the disk, because after a power cut it is old anyway.
        draft = _mirror.with_name(f".{_mirror.name}.{os.getpid()}")
        with suppress(OSError):
            draft.write_text(json.dumps(self.record()), encoding="utf-8")
            draft.replace(_mirror)

    def _print(self, *, last: bool = False) -> None:
        text = self.line()
        if self._tty:
            padded = text.ljust(self._width)
            self._width = len(text)
            self._write(f"\r{padded}" + ("\n" if last else ""))
        else:
            self._write(text + "\n")

    def _write(self, text: str) -> None:
        """Show a line. Whoever read it may be gone (`| head`, a closed terminal): the work goes on, unseen."""
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            self._quiet = True


def seconds_text(seconds: float) -> str:
    """A duration for people: `40 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"
