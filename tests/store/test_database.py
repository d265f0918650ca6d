"""One writer at a time, all or nothing, and SQLite's refusals as sentences."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from vultus.core.errors import BusyError, DiskError, StoreError
from vultus.store import database
from vultus.store.database import connect, store_errors, transaction


def table(path: Path) -> sqlite3.Connection:
    made = connect(path)
    made.execute("CREATE TABLE t (n INTEGER) STRICT")
    return made


def count(path: Path) -> int:
    return int(connect(path).execute("SELECT count(*) FROM t").fetchone()[0])


def test_the_file_is_opened_for_safety(tmp_path: Path) -> None:
    opened = connect(tmp_path / "deep" / "a.sqlite")
    said = {
        name: opened.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys")
    }
    assert said == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    made = table(path)
    with transaction(made, path):
        made.execute("INSERT INTO t VALUES (1)")
        assert count(path) == 0
    assert count(path) == 1
    with pytest.raises(RuntimeError), transaction(made, path):
        made.execute("INSERT INTO t VALUES (2)")
        raise RuntimeError("broke off")
    assert count(path) == 1
    assert not made.in_transaction


def test_two_writers_wait_for_each_other_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_S", 0.0)
    path = tmp_path / "a.sqlite"
    first, second = table(path), connect(path)
    with transaction(first, path):
        with pytest.raises(BusyError, match="another process"), transaction(second, path):
            raise AssertionError("two write at once")
        assert second.execute("SELECT count(*) FROM t").fetchone()[0] == 0  # readers go on
    with transaction(second, path):
        second.execute("INSERT INTO t VALUES (1)")


def test_a_file_that_is_no_ledger_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="damaged") as caught:
        connect(path)
    assert "move" in caught.value.next_command


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with pytest.raises(DiskError):
        connect(tmp_path / "a" / "ledger.sqlite")


def test_a_database_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").mkdir()
    with pytest.raises(DiskError, match="cannot be opened"):
        connect(tmp_path / "ledger.sqlite")


def test_a_full_disk_is_told_and_nothing_is_half_written(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    made = table(path)
    made.execute(f"PRAGMA max_page_count = {made.execute('PRAGMA page_count').fetchone()[0] + 2}")
    with pytest.raises(DiskError, match="full"), transaction(made, path):
        for n in range(100_000):
            made.execute("INSERT INTO t VALUES (?)", (n,))
    assert count(path) == 0


def test_other_faults_pass_as_they_are(tmp_path: Path) -> None:
    made = table(tmp_path / "a.sqlite")
    with pytest.raises(sqlite3.OperationalError, match="no such table"), store_errors(tmp_path):
        made.execute("SELECT * FROM absent")


class Contended(sqlite3.Connection):
    """A new file whose journal another process is just switching: refused twice, then free."""

    refusals = 2

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if "journal_mode = WAL" in sql and self.refusals:
            self.refusals -= 1
            fault = sqlite3.OperationalError("database is locked")
            fault.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise fault
        return super().execute(sql, *values)


def test_two_may_open_a_new_file_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kill suite met it: SQLite asks no busy handler while the journal's kind changes."""
    plain = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", partial(plain, factory=Contended))
    opened = connect(tmp_path / "a.sqlite")
    assert isinstance(opened, Contended) and opened.refusals == 0
    assert opened.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
