"""What a job is: a command line, what it may use, how far it is. Plain JSON in the job's folder.

    spec.json       what was asked; written once, and again where a person moves the deadline
    state.json      what became of it; written by its supervisor alone
    exit.json       the worker's own last word: it outlives a supervisor that could have asked

Times are seconds since 1970-01-01 UTC.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

from vultus.jobs.processes import Process

__all__ = ["Exit", "JobSpec", "JobState", "Limits", "Phase", "read_json"]

FORM = 1


class Phase(Enum):
    """Where a job stands.

    queued -> running -> done | failed | stopped, with `pausing` between two attempts.
    """

    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_finished(self) -> bool:
        """True when only a person can set it going again."""
        return self in (Phase.DONE, Phase.FAILED, Phase.STOPPED)


@dataclass(frozen=True)
class Limits:
    """When a job is stopped although nothing is wrong with it."""

    deadline_at: float | None = None
    disk_free_min_gib: float = 2.0
    balance_min: float | None = None
    balance_command: str = ""
    restarts_max: int = 5


@dataclass(frozen=True)
class JobSpec:
    """What was asked: one vultus command, where, with which environment and resources."""

    id: str
    words: tuple[str, ...]
    folder: str
    python: str
    environment: Mapping[str, str]
    created_at: float
    card: str = ""
    """"" = needs none; else what `jobs.cards.choose_cards` reads"""
    comfyui: str = "wait"
    """what to do with a ComfyUI on the card: wait, interrupt, refuse or ignore"""
    limits: Limits = field(default_factory=Limits)
    machine: Mapping[str, Any] = field(default_factory=dict)
    form: int = FORM

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "words": list(self.words)}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> JobSpec:
        """Read what `to_json` wrote; keys of a later version are left aside."""
        known = {f.name for f in fields(cls)}
        row = {key: value for key, value in table.items() if key in known}
        limits = {f.name for f in fields(Limits)}
        row["words"] = tuple(row["words"])
        row["limits"] = Limits(**{k: v for k, v in row["limits"].items() if k in limits})
        return cls(**row)


@dataclass(frozen=True)
class Exit:
    """How one attempt ended, in the worker's own words."""

    attempt: int
    code: int
    crash: str = ""
    """last line of a traceback: a mistake of ours"""
    lines: tuple[str, ...] = ()
    """the fault as it was told"""


@dataclass(frozen=True)
class JobState:
    """What became of a job so far."""

    phase: Phase = Phase.QUEUED
    attempt: int = 0
    restarts: int = 0
    """restarts in a row without progress"""
    worker: Process | None = None
    reason: str = ""
    exit_code: int | None = None
    queued_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    card: str = ""
    """UUIDs of the cards it was given, with commas"""
    has_card: bool = False
    """while it is queued: its leases are taken, only their memory is waited for"""
    fraction: float = 0.0
    """progress at the last restart"""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        table = {f.name: getattr(self, f.name) for f in fields(self)}
        table["phase"] = self.phase.value
        table["worker"] = None if self.worker is None else self.worker.to_json()
        return table

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> JobState:
        """Read what `to_json` wrote."""
        row = {f.name: table[f.name] for f in fields(cls) if f.name in table}
        row["phase"] = Phase(row["phase"])
        row["worker"] = Process.from_json(row["worker"]) if row.get("worker") else None
        return cls(**row)

    def changed(self, **changes: Any) -> JobState:
        """Return a copy with some fields changed."""
        return replace(self, **changes)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a file, or None when there is none to read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
