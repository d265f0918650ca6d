"""Opening the ledger's SQLite file so that a kill, a full disk or a second process do no harm.

One writer at a time: every change runs in `transaction`, which takes the write lock at its start
(BEGIN IMMEDIATE), so no transaction fails half way because another one began to write. Readers
are never held up (write-ahead log). Each commit is flushed to the disk (synchronous = FULL).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vultus.core.errors import BusyError, DiskError, StoreError, VultusError
from vultus.core.files import disk_errors

__all__ = ["connect", "store_errors", "transaction"]

BUSY_S = 60.0
"""How long a writer waits for another one; a transaction of ours takes milliseconds."""

CACHE_KIB = 32_768
"""What a connection may keep of the file: a report on a run of 480 steps reads some 4,000 pages of 4 KiB."""


def connect(path: Path) -> sqlite3.Connection:
    """Open (or make) a database file. Raises StoreError or DiskError with what to do next."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with store_errors(path):
        database = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            database.row_factory = sqlite3.Row
            _write_ahead(database)
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA foreign_keys = ON")
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        except BaseException:
            database.close()
            raise
    return database


def _write_ahead(database: sqlite3.Connection) -> None:
    """Switch to the write-ahead log, which a new file needs once.

    SQLite does not wait here (its busy handler is not asked while the journal's kind changes): of
    two processes that open a new file at the same moment one would be refused at once.
    """
    deadline_s = time.monotonic() + BUSY_S
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as fault:
            if (
                fault.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY
                or time.monotonic() > deadline_s
            ):
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def transaction(database: sqlite3.Connection, path: Path) -> Iterator[None]:
    """All or nothing, and alone: the writes of the block are committed together at its end."""
    with store_errors(path):
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's refusals inside the block into errors that say what to do."""
    try:
        yield
    except sqlite3.Error as fault:
        shown = _shown(fault, path)
        if shown is None:
            raise
        raise shown from fault


def _shown(fault: sqlite3.Error, path: Path) -> VultusError | None:
    name = getattr(fault, "sqlite_errorname", "") or ""
    where = str(path)
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return DiskError(
            f"the disk is full or failing ({fault}); what was committed is safe",
            where=where,
            next_command="free some space, then run the same command again: it goes on from here",
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return DiskError(
            f"the ledger cannot be opened for writing ({fault})",
            where=where,
            expected="a folder and file that you may write to",
            next_command=f"ls -ld '{path.parent}' '{path}'",
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return BusyError(
            f"another process has been writing for more than {BUSY_S:.0f} s",
            where=where,
            next_command="wait for it to finish, then run the same command again",
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StoreError(
            f"the ledger is damaged ({fault})",
            where=where,
            expected="a file that only vultus writes",
            next_command=f"move '{path.parent}' away and run again; finished work is then redone",
        )
    return None
