"""Reading kohya's output: how far it is, its loss, and the lines that mean trouble.

Its progress bar (tqdm) writes to stderr and redraws one line with carriage returns. A step is drawn twice: when it is
counted, with the loss of the step before, and again with its own.

    steps:  12%|█▏        | 6/50 [00:12<01:31,  2.08s/it, avr_loss=0.141]
    steps:  12%|█▏        | 6/50 [00:12<01:31,  2.08s/it, avr_loss=0.132]
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

__all__ = ["Heard", "lines_of"]

_STEP = re.compile(r"^steps:.*?\|\s*(\d+)/(\d+)\s*\[[^\]]*?(?:avr_loss=([0-9.eE+-]+|nan|inf))?\]")
_MEMORY = (
    "CUDA out of memory",
    "OutOfMemoryError",
    "not enough memory",
    "can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
_LOST = ("Could not load random states", "could not load")
_KEPT = 40


@dataclass
class Heard:
    """What the lines so far have told."""

    step: int = 0
    losses: list[tuple[int, float]] = field(default_factory=list)
    out_of_memory: bool = False
    notes: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)

    def hear(self, line: str) -> int:
        """Take in one line; returns how many steps it reports as new."""
        found = _STEP.match(line.strip())
        if found:
            new = max(0, int(found[1]) - self.step)
            self.step += new
            if found[3] and self.step:
                self._hold(float(found[3]))
            return new
        words = line.strip()
        if not words:
            return 0
        self.tail = [*self.tail, words][-_KEPT:]
        self.out_of_memory = self.out_of_memory or any(sign in words for sign in _MEMORY)
        if any(sign in words for sign in _LOST) and words not in self.notes:
            self.notes.append(f"kohya: {words}")
        return 0

    def _hold(self, loss: float) -> None:
        """The loss of this step; what is drawn later of the same step is the truth."""
        if self.losses and self.losses[-1][0] == self.step:
            self.losses.pop()
        self.losses.append((self.step, loss))

    @property
    def diverged(self) -> bool:
        """Whether the last loss is no number."""
        last = self.losses[-1][1] if self.losses else 0.0
        return last != last or last == float("inf")


def lines_of(chunks: Iterable[bytes]) -> Iterator[str]:
    """Lines of a stream, ended by newlines or by carriage returns; bytes that are no UTF-8 are replaced."""
    rest = b""
    for chunk in chunks:
        *whole, rest = re.split(rb"[\r\n]", rest + chunk)
        yield from (line.decode("utf-8", "replace") for line in whole)
    if rest:
        yield rest.decode("utf-8", "replace")
