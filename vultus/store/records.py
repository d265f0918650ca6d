"""What the ledger writes down: requests, attempts at them, and how each attempt ended.

    planned ──► queued ──► running ──► done | failed | cancelled | lost

`lost` is not `failed`: the process ended without a word (its lock is free and no outcome was
written), so the attempt is simply made again. `failed` means that the work said no; it is shown,
with its log, and not repeated blindly. `planned` and `queued` are for queues in front of a worker;
a step that is run at once starts as `running`.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from vultus.core.keys import canonical

__all__ = ["AttemptRecord", "AttemptState", "Request", "StepRecord", "environment_digest"]


class AttemptState(enum.Enum):
    """Where an attempt stands."""

    PLANNED = "planned"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    def is_finished(self) -> bool:
        return self in _FINISHED

    def may_become(self, other: AttemptState) -> bool:
        """Whether the step from this state to the other is a legal one."""
        return other in _NEXT[self]


_FINISHED = {
    AttemptState.DONE,
    AttemptState.FAILED,
    AttemptState.CANCELLED,
    AttemptState.LOST,
}
_NEXT: dict[AttemptState, set[AttemptState]] = {
    AttemptState.PLANNED: {AttemptState.QUEUED, AttemptState.RUNNING, AttemptState.CANCELLED},
    AttemptState.QUEUED: {AttemptState.RUNNING, AttemptState.CANCELLED},
    AttemptState.RUNNING: _FINISHED,
    AttemptState.DONE: set(),
    AttemptState.FAILED: set(),
    AttemptState.CANCELLED: set(),
    AttemptState.LOST: set(),
}


class Request(Protocol):
    """What the ledger needs to know of a step (`vultus.steps.step.Step` is one)."""

    @property
    def kind(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def inputs(self) -> Mapping[str, Any]: ...

    @property
    def replicate(self) -> int: ...

    @property
    def key(self) -> str: ...


@dataclass(frozen=True)
class StepRecord:
    """One request as it was first asked."""

    key: str
    kind: str
    version: int
    inputs_json: str
    """canonical text of the inputs"""
    replicate: int
    asked_at: float
    """seconds since 1970-01-01 UTC"""


@dataclass(frozen=True)
class AttemptRecord:
    """One try at a request."""

    id: str
    step_key: str
    kind: str
    state: AttemptState
    environment: Mapping[str, Any]
    """where it ran: recorded, but no part of the key"""
    process: int
    host: str
    started_at: float
    """seconds since 1970-01-01 UTC"""
    ended_at: float | None
    seconds: float | None
    """time of the work itself"""
    message: str
    """why it failed or was cancelled, with its traceback"""


def environment_digest(environment: Mapping[str, Any]) -> str:
    """A short name of a place where work was done: equal places have equal names (16 hex digits)."""
    return hashlib.sha256(canonical(dict(environment)).encode("ascii")).hexdigest()[:16]
