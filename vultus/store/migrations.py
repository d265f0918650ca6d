"""The ledger's tables, as numbered changes that are only ever appended.

A change and the note that it was made are one transaction, so a kill leaves the change done or
not begun. Never edit a change that was released: a ledger in somebody's folder already has it.
Every change is tested from a stored file of the state before it (`tests/store/old/`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from vultus.core.errors import StoreError
from vultus.store.database import transaction

__all__ = ["MIGRATIONS", "migrate"]


def m001_ledger(database: sqlite3.Connection) -> None:
    """Requests, attempts, outputs; and triggers that keep the past as it was."""
    for statement in _M001:
        database.execute(statement)


_M001 = (
    """
    CREATE TABLE step (
        key       TEXT    PRIMARY KEY,
        kind      TEXT    NOT NULL,
        version   INTEGER NOT NULL,
        inputs    TEXT    NOT NULL,  -- canonical JSON
        replicate INTEGER NOT NULL,
        asked_at  REAL    NOT NULL   -- seconds since 1970-01-01 UTC
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE attempt (
        id          TEXT    PRIMARY KEY,
        step_key    TEXT    NOT NULL REFERENCES step (key),
        state       TEXT    NOT NULL CHECK (state IN (
            'planned', 'queued', 'running', 'done', 'failed', 'cancelled', 'lost')),
        environment TEXT    NOT NULL,  -- JSON
        process     INTEGER NOT NULL,
        host        TEXT    NOT NULL,
        started_at  REAL    NOT NULL,
        ended_at    REAL,
        seconds     REAL,
        message     TEXT    NOT NULL DEFAULT ''
    ) STRICT
    """,
    "CREATE INDEX attempt_of_step ON attempt (step_key)",
    "CREATE INDEX attempt_state ON attempt (state)",
    # First committed output wins: the file itself refuses a second winner.
    "CREATE UNIQUE INDEX one_winner ON attempt (step_key) WHERE state = 'done'",
    """
    CREATE TABLE output (
        step_key   TEXT NOT NULL REFERENCES step (key),
        name       TEXT NOT NULL,
        attempt_id TEXT NOT NULL REFERENCES attempt (id),
        content_id TEXT NOT NULL,
        PRIMARY KEY (step_key, name)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX output_content ON output (content_id)",
    """
    CREATE TRIGGER step_is_kept BEFORE DELETE ON step
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END
    """,
    """
    CREATE TRIGGER step_is_fixed BEFORE UPDATE ON step
    BEGIN SELECT RAISE(ABORT, 'a request does not change'); END
    """,
    """
    CREATE TRIGGER attempt_is_kept BEFORE DELETE ON attempt
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END
    """,
    """
    CREATE TRIGGER attempt_is_over BEFORE UPDATE ON attempt
    WHEN OLD.state IN ('done', 'failed', 'cancelled', 'lost')
    BEGIN SELECT RAISE(ABORT, 'a finished attempt does not change'); END
    """,
    """
    CREATE TRIGGER output_is_kept BEFORE DELETE ON output
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END
    """,
    """
    CREATE TRIGGER output_is_fixed BEFORE UPDATE ON output
    BEGIN SELECT RAISE(ABORT, 'a committed output does not change'); END
    """,
)


def m002_environments(database: sqlite3.Connection) -> None:
    """Environments once each instead of in every attempt, and indexes for the questions of reports.

    An attempt now says "@digest"; what format 1 wrote (the JSON itself) stays as it is. At a million
    renders an environment in every attempt would be most of the file.
    """
    for statement in _M002:
        database.execute(statement)


_M002 = (
    """
    CREATE TABLE environment (
        digest TEXT PRIMARY KEY,
        text   TEXT NOT NULL  -- JSON
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TRIGGER environment_is_kept BEFORE DELETE ON environment
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END
    """,
    """
    CREATE TRIGGER environment_is_fixed BEFORE UPDATE ON environment
    BEGIN SELECT RAISE(ABORT, 'an environment does not change'); END
    """,
    "CREATE INDEX step_kind ON step (kind, asked_at)",
)

MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (m001_ledger, m002_environments)
"""Position is number: the first one is 1. Append only."""


def migrate(database: sqlite3.Connection, path: Path) -> None:
    """Bring a ledger up to date. Raises StoreError if a newer vultus made it."""
    if _number(database) == len(MIGRATIONS):
        return
    for number, change in enumerate(MIGRATIONS, start=1):
        with transaction(database, path):
            # Asked inside the write lock: another process may have made the change meanwhile.
            if _number(database) < number:
                change(database)
                database.execute(f"PRAGMA user_version = {number}")
    found = _number(database)
    if found > len(MIGRATIONS):
        raise StoreError(
            f"this ledger was made by a newer vultus (ledger format {found})",
            where=str(path),
            expected=f"ledger format {len(MIGRATIONS)} or older",
            next_command="git pull, then make setup",
        )


def _number(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])
