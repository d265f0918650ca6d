"""Every ledger ever written still opens; a change to its tables is only ever appended."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from vultus.core.errors import StoreError
from vultus.store import migrations
from vultus.store.database import connect
from vultus.store.ledger import Ledger
from vultus.store.migrations import MIGRATIONS, migrate

OLD = sorted((Path(__file__).parent / "old").glob("ledger_*.sql"))


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    made = connect(tmp_path / "fresh.sqlite")
    migrate(made, tmp_path / "fresh.sqlite")
    yield made
    made.close()


def schema(database: sqlite3.Connection) -> dict[str, str]:
    rows = database.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {name: " ".join(sql.split()) for name, sql in rows}


def restored(old: Path, folder: Path) -> Path:
    """A ledger file as the given format wrote it."""
    path = folder / ".vultus" / "ledger.sqlite"
    path.parent.mkdir()
    database = sqlite3.connect(path)
    database.executescript(old.read_text(encoding="utf-8"))
    database.close()
    return path


def test_each_format_has_a_stored_old_file() -> None:
    assert len(OLD) == len(MIGRATIONS) >= 1
    for number, old in enumerate(OLD, start=1):
        text = old.read_text(encoding="utf-8")
        assert old.name == f"ledger_{number:03}.sql"
        assert re.match(r"-- Provenance: .{40,}", text), f"{old.name} does not say where it is from"
        assert f"PRAGMA user_version = {number};" in text


@pytest.mark.parametrize("old", OLD, ids=lambda p: p.stem)
def test_an_old_ledger_opens_with_all_it_knew(
    old: Path, tmp_path: Path, fresh: sqlite3.Connection
) -> None:
    path = restored(old, tmp_path)
    with Ledger.open(path.parent) as ledger:
        assert [s.kind for s in ledger.steps()] == ["train", "render"]
        train, render = ledger.steps()
        assert ledger.outputs(train.key) == {
            "lora.safetensors": "sha256:" + "1" * 64,
            "samples": "tree:" + "2" * 64,
        }
        assert ledger.outputs(render.key) is None
        states = [a.state.value for a in ledger.attempts()]
        assert states == ["failed", "done", "lost"]  # the last one was running: its lock is free
        assert ledger.attempts(train.key)[0].message == "ValueError: no"
        assert ledger.attempts(train.key)[1].environment == {"machine": "x86_64"}
        assert schema(ledger._database) == schema(fresh)


def test_the_first_format_is_not_edited_afterwards(tmp_path: Path) -> None:
    made = connect(tmp_path / "a.sqlite")
    migrations.m001_ledger(made)
    stored = connect(restored(OLD[0], tmp_path))
    assert schema(made) == schema(stored)
    assert len(schema(made)) >= 12


def test_migrating_twice_changes_nothing(fresh: sqlite3.Connection, tmp_path: Path) -> None:
    before = schema(fresh)
    migrate(fresh, tmp_path / "fresh.sqlite")
    assert schema(fresh) == before


def test_a_change_and_its_number_are_one_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(database: sqlite3.Connection) -> None:
        database.execute("CREATE TABLE half (n INTEGER)")
        raise RuntimeError("broke off")

    path = tmp_path / "a.sqlite"
    made = connect(path)
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, breaks))
    with pytest.raises(RuntimeError):
        migrate(made, path)
    assert "half" not in schema(made)
    assert made.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    monkeypatch.undo()
    migrate(made, path)


def test_a_newer_ledger_is_refused_in_words(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        ledger._database.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer vultus") as caught:
        Ledger.open(tmp_path)
    assert "make setup" in caught.value.next_command


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("DELETE FROM step", "forgets nothing"),
        ("UPDATE step SET kind = 'x'", "does not change"),
        ("DELETE FROM attempt", "forgets nothing"),
        ("UPDATE attempt SET message = '' WHERE state = 'done'", "does not change"),
        ("UPDATE attempt SET state = 'running' WHERE state = 'failed'", "does not change"),
        ("DELETE FROM output", "forgets nothing"),
        ("UPDATE output SET content_id = 'x'", "does not change"),
        ("INSERT INTO attempt SELECT 'new', step_key, 'done', '', 1, '', 0, 0, 0, ''"
         " FROM attempt WHERE state = 'done'", "UNIQUE"),
        ("UPDATE attempt SET state = 'odd' WHERE state = 'running'", "CHECK"),
    ],
)  # fmt: skip
def test_the_file_itself_keeps_the_past(tmp_path: Path, sql: str, says: str) -> None:
    stored = connect(restored(OLD[0], tmp_path))
    with pytest.raises(sqlite3.IntegrityError, match=says):
        stored.execute(sql)
