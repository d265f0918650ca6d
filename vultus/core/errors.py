"""Everything that can go wrong for a user, as one tree.

Each error says what happened, where, what was expected, and the command or line to change. The
command line prints `lines()` after "vultus: " and exits with status 2; a traceback therefore
always means a mistake of ours.

    VultusError
     ├─ SpecError            a settings file: all its faults at once
     ├─ UnknownNameError     a name that no registry knows
     ├─ MissingExtraError    an optional package that is not installed
     ├─ PictureError         a picture that cannot or must not be read
     ├─ FaceError            a face that cannot be measured
     ├─ PackError            a face pack that is incomplete or altered
     ├─ DatasetError         too few, unusable or inconsistent pictures
     ├─ WeightsError         a weight file of the wrong kind, shape or origin
     ├─ TrainingError        a training that cannot start or go on
     ├─ RenderError          a picture that cannot be generated
     ├─ ScoreError           a score that would not be honest
     ├─ ReportError          a report that cannot be written
     ├─ DiskError            a full, read-only or failing disk
     ├─ StoreError           the workspace's memory
     │   ├─ TornBlobError    a stored file is missing or altered
     │   └─ BusyError        another process holds the lock
     ├─ JobError             a detached command that cannot be started, found or stopped
     │   ├─ CardBusyError    a graphics card that is not free
     │   └─ NeighbourError   a ComfyUI that does not answer or does not come back
     ├─ StepError            a unit of work that said no
     │   └─ WorkerLostError  the process that did the work ended without a word
     │       └─ NoPlaceError no machine has room for a worker
     ├─ ToolError            a foreign tool (kohya, ComfyUI) that is not installed or not as it was
     └─ CancelledError       the user, or a budget, stopped the work
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "BusyError",
    "CancelledError",
    "CardBusyError",
    "DatasetError",
    "DiskError",
    "FaceError",
    "Fault",
    "JobError",
    "MissingExtraError",
    "NeighbourError",
    "NoPlaceError",
    "PackError",
    "PictureError",
    "RenderError",
    "ReportError",
    "ScoreError",
    "SpecError",
    "StepError",
    "StoreError",
    "ToolError",
    "TornBlobError",
    "TrainingError",
    "UnknownNameError",
    "VultusError",
    "WeightsError",
    "WorkerLostError",
]


class VultusError(Exception):
    """A mistake that the user can see and mend.

    `what` happened, `where` (a file and key, a picture, a step), what was `expected`, and the
    `next_command` to type or line to change.
    """

    def __init__(
        self, what: str, *, where: str = "", expected: str = "", next_command: str = ""
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.expected = expected
        self.next_command = next_command

    def lines(self) -> tuple[str, ...]:
        """The message for people, one line per thought, the first one complete in itself."""
        first = f"{self.where}: {self.what}" if self.where else self.what
        rest = []
        if self.expected:
            rest.append(f"  expected: {self.expected}")
        if self.next_command:
            rest.append(f"  next: {self.next_command}")
        return (first, *rest)

    def __str__(self) -> str:
        return "\n".join(self.lines())


@dataclass(frozen=True)
class Fault:
    """One thing wrong in a file: where (file, table, key), what, and what was expected."""

    where: str
    what: str
    expected: str = ""

    def line(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} (expected {self.expected})" if self.expected else text


class SpecError(VultusError):
    """A settings file with one or more faults; it always carries all of them."""

    def __init__(self, faults: Sequence[Fault | str], *, next_command: str = "") -> None:
        if not faults:
            raise ValueError("a SpecError without a fault says nothing")
        whole = tuple(f if isinstance(f, Fault) else Fault("", f) for f in faults)
        super().__init__("; ".join(f.line() for f in whole), next_command=next_command)
        self.args = (whole,)  # what pickle hands back to __init__
        self.faults = whole

    def lines(self) -> tuple[str, ...]:
        count = len(self.faults)
        tail = f"  {count} fault{'s' if count > 1 else ''}. Nothing was started."
        if self.next_command:
            tail += f" {self.next_command}"
        return (*(f.line() for f in self.faults), tail)


class UnknownNameError(VultusError):
    """A name that its registry does not know; the message lists the known ones."""


class MissingExtraError(VultusError):
    """An optional package is not installed; the message names the extra to install."""


class PictureError(VultusError):
    """A picture that cannot be read, or that must not be read for safety."""


class FaceError(VultusError):
    """A face that cannot be measured."""


class PackError(VultusError):
    """A face pack that is incomplete, altered, or does not fit the other side."""


class DatasetError(VultusError):
    """Pictures that cannot become a dataset."""


class WeightsError(VultusError):
    """A weight file of the wrong kind, shape or origin."""


class TrainingError(VultusError):
    """A training that cannot start or go on."""


class RenderError(VultusError):
    """A picture that cannot be generated."""


class ScoreError(VultusError):
    """A score that would not be honest, and is therefore refused."""


class ReportError(VultusError):
    """A report that cannot be written."""


class DiskError(VultusError):
    """A disk that is full, read-only or failing. Nothing half-written was left in place."""


class StoreError(VultusError):
    """The workspace's memory cannot be opened or trusted."""


class TornBlobError(StoreError):
    """A stored file is missing, or its bytes are not the ones that were stored."""


class BusyError(StoreError):
    """Another living process holds the lock."""


class JobError(VultusError):
    """A detached command that cannot be started, found, stopped or resumed."""


class CardBusyError(JobError):
    """A graphics card whose lock or memory others hold; the message says who."""


class NeighbourError(JobError):
    """A ComfyUI that does not answer, cannot be stopped, or does not come back as it was."""


class StepError(VultusError):
    """A unit of work said no. Its log is in the ledger."""


class WorkerLostError(StepError):
    """The process that did the work was killed or died; the work may simply be done again."""


class NoPlaceError(WorkerLostError):
    """No machine has room for a worker: none is there, or all are taken."""


class ToolError(VultusError):
    """A foreign tool that is not installed, cannot be, or is not as it was installed."""


class CancelledError(VultusError):
    """The user, or a budget, stopped the work. Everything finished is kept."""
