"""The ledger's rows as records, and the one query that joins an attempt with what it names."""

from __future__ import annotations

import json
import sqlite3

from vultus.store.records import AttemptRecord, AttemptState, StepRecord

__all__ = ["ATTEMPTS", "attempt_of", "step_of"]

ATTEMPTS = (
    "SELECT attempt.*, step.kind, environment.text FROM attempt"
    " JOIN step ON step.key = attempt.step_key"
    " LEFT JOIN environment ON environment.digest = substr(attempt.environment, 2)"
)


def step_of(row: sqlite3.Row) -> StepRecord:
    """A row of table `step` as a record."""
    return StepRecord(
        row["key"], row["kind"], row["version"], row["inputs"], row["replicate"], row["asked_at"]
    )


def attempt_of(row: sqlite3.Row) -> AttemptRecord:
    """A row of the query ATTEMPTS as a record."""
    return AttemptRecord(
        id=row["id"],
        step_key=row["step_key"],
        kind=row["kind"],
        state=AttemptState(row["state"]),
        # Ledgers of format 1 wrote the environment out in every attempt.
        environment=json.loads(row["text"] or row["environment"]),
        process=row["process"],
        host=row["host"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        seconds=row["seconds"],
        message=row["message"],
    )
