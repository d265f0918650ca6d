"""A dataset folder: every picture that was ingested, what was measured, and what was decided.

    <dataset>/
      dataset.json         format number; a folder without it is no dataset
      blobs/ab/abcd…       the bytes of every picture, by content id: read-only copies, the user's files stay theirs
      entries.sqlite       one row per picture name (`records.Entry`), with its lineage
      measured.sqlite      what was computed per content id; may be deleted, is then computed again
      decisions.json       what was set aside and why, newest last; each can be undone (`records.Decision`)
      stages/<verb>.json   the outcome of each verb (dedupe, audit, captions, split, ...), equal input = equal bytes
      pages/<verb>.html    the contact sheet of each verb
      frozen/<digest>/     frozen manifests (`vultus dataset freeze`)

**Notation**
    name        the user's word for a picture: its path below the source it came from, unique in the dataset
    content id  "sha256:<hex>" of the file's bytes; two names may share one (identical files)
    kind        a measurement with its version and setting, e.g. "prints/1" or "face/<pack digest>/1"

Nothing here holds a time stamp or a place on a disk, so that the same pictures and decisions give the same
digest on every machine. Every write is whole or not there: killed at any line, the next command goes on.
Deciding and measuring are apart: measurements are facts of bytes and are remembered for ever; a decision is the
user's word and is only ever appended or undone. One process writes at a time (`Library.at_work`).
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from vultus.core.errors import DatasetError, TornBlobError
from vultus.core.files import disk_errors, sweep_leftovers, write_json
from vultus.core.keys import canonical, content_id
from vultus.core.locks import held
from vultus.datasets.records import Decision, Entry, Lineage, SetAside
from vultus.images.load import decode_picture
from vultus.images.records import Picture
from vultus.store.blobs import Blobs
from vultus.store.database import connect, store_errors, transaction

__all__ = ["DATASET_FILE", "FORMAT", "Library", "json_of"]

DATASET_FILE = "dataset.json"
FORMAT = 1
_STAGE = re.compile(r"[a-z][a-z0-9-]{0,40}")
_VERBS = {
    "ingest": "ingest ORIGINALS --into",
    "captions": "caption",
    "masks": "views --write",
}
"""What makes a stage, where it is called otherwise."""
T = TypeVar("T", dict[str, Any], list[Any])


class _Pictures(Blobs):
    """The bytes of a dataset; what is missing or damaged can be brought back from the user's originals."""

    def path(self, name: str) -> Path:
        with self._advised(name):
            return super().path(name)

    def read(self, name: str) -> bytes:
        with self._advised(name):
            return super().read(name)

    def heal(self, data: bytes) -> None:
        """Put bytes back that are known but whose file is missing or of another size."""
        place = self._place(content_id(data))
        if not place.is_file() or place.stat().st_size != len(data):
            place.unlink(missing_ok=True)
            self.put_bytes(data)

    @contextmanager
    def _advised(self, name: str) -> Iterator[None]:
        try:
            yield
        except TornBlobError as fault:
            place = self._place(name)
            remove = f"rm -f {shlex.quote(str(place))}, then " if place.is_file() else ""
            folder = shlex.quote(str(self.root.parent))
            raise TornBlobError(
                fault.what,
                where=str(place),
                expected="the bytes of a picture, as they were ingested",
                next_command=f"{remove}ingest the originals again: vultus dataset ingest ORIGINALS --into {folder}"
                f" (a view or a mask: vultus dataset views {folder} --write)",
            ) from fault


def json_of(path: Path, kind: type[T], next_command: str) -> T:
    """Read a file of this program. Raises DatasetError when it was cut short or changed into something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise _damaged(path, next_command) from fault
    if not isinstance(found, kind):
        raise _damaged(path, next_command)
    return found


def _damaged(path: Path, next_command: str) -> DatasetError:
    return DatasetError(
        "the file is damaged: it is not what was written",
        where=str(path),
        expected="a file that only vultus writes",
        next_command=next_command,
    )


class Library:
    """One dataset folder. Make it with `create` or `open`; use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = _Pictures(folder / "blobs")
        self._entries_path = folder / "entries.sqlite"
        self._measured_path = folder / "measured.sqlite"
        self._entries_db = connect(self._entries_path)
        self._measured_db = connect(self._measured_path)
        # What can be computed again need not survive a power cut, only a kill.
        self._measured_db.execute("PRAGMA synchronous = NORMAL")
        with store_errors(self._entries_path):
            self._entries_db.execute(
                "CREATE TABLE IF NOT EXISTS entry (name TEXT PRIMARY KEY, content_id TEXT NOT NULL,"
                " record TEXT NOT NULL) STRICT, WITHOUT ROWID"
            )
        with store_errors(self._measured_path):
            self._measured_db.execute(
                "CREATE TABLE IF NOT EXISTS measured (content_id TEXT NOT NULL, kind TEXT NOT NULL,"
                " data BLOB NOT NULL, PRIMARY KEY (content_id, kind)) STRICT"
            )

    @classmethod
    def open(cls, folder: Path) -> Library:
        """Open a dataset folder. Raises DatasetError when it is none, or of a newer format."""
        path = folder / DATASET_FILE
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["format"]
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise DatasetError(
                "this is not a dataset folder",
                where=str(folder),
                expected=f"a folder made by `vultus dataset ingest` (it holds {DATASET_FILE})",
                next_command=f"vultus dataset ingest PICTURES --into {shlex.quote(str(folder))}",
            ) from fault
        if found != FORMAT:
            raise DatasetError(
                f"this dataset has format {found}",
                where=str(path),
                expected=f"format {FORMAT}",
                next_command="use the vultus that made it, or ingest the pictures again",
            )
        return cls(folder)

    @classmethod
    def create(cls, folder: Path) -> Library:
        """Open a dataset folder, made if need be. A folder with other files in it is refused."""
        if (folder / DATASET_FILE).exists():
            return cls.open(folder)
        with disk_errors(folder):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, FileNotFoundError, NotADirectoryError) as fault:
                raise DatasetError(
                    f"no folder can be made here ({fault.strerror})",
                    where=str(folder),
                    expected="a new or empty folder, or a dataset",
                    next_command="choose another folder with --into",
                ) from fault
            # A killed writer leaves hidden drafts; they are no other files.
            strangers = [
                p for p in folder.iterdir() if not p.name.startswith(".") and p.name != "lock"
            ]
        if strangers:
            raise DatasetError(
                f"the folder is not empty and not a dataset (it holds {strangers[0].name!r})",
                where=str(folder),
                expected="a new or empty folder, or a dataset",
                next_command="choose another folder with --into",
            )
        write_json(folder / DATASET_FILE, {"format": FORMAT})
        return cls(folder)

    def close(self) -> None:
        """Close the databases; everything that was added is kept."""
        self._entries_db.close()
        self._measured_db.close()

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Hold the dataset for one writer. Raises BusyError when another command is at work here."""
        with held(self.folder / "lock"):
            for place in (self.folder, self.folder / "stages", self.folder / "pages"):
                sweep_leftovers(place)
            self.blobs.sweep_leftovers()
            yield

    # ---- pictures ------------------------------------------------------------------------------

    def entries(self) -> tuple[Entry, ...]:
        """Return every picture, in name order, whatever was decided about it."""
        with store_errors(self._entries_path):
            rows = self._entries_db.execute("SELECT record FROM entry ORDER BY name").fetchall()
        return tuple(_entry(json.loads(row["record"])) for row in rows)

    def kept(self) -> tuple[Entry, ...]:
        """Return the pictures that are not set aside, in name order.

        A derived view follows its parent: where the parent is set aside, so is the view.
        """
        gone = self.set_aside()
        every = self.entries()
        parent = {e.name: e.lineage.parent for e in every if e.lineage and e.derived}
        return tuple(entry for entry in every if not _is_gone(entry.name, gone, parent))

    def add(self, entries: Sequence[Entry]) -> None:
        """Add (or replace) rows in one transaction; their bytes must be in `blobs` already."""
        with transaction(self._entries_db, self._entries_path):
            for entry in entries:
                self._entries_db.execute(
                    "INSERT OR REPLACE INTO entry VALUES (?, ?, ?)",
                    (entry.name, entry.content_id, json.dumps(dataclasses.asdict(entry))),
                )

    def derive(self, entry: Entry, data: bytes) -> Entry:
        """Keep a picture that the project made of another one (`entry.lineage` says of which)."""
        if entry.lineage is None or not entry.derived:
            raise ValueError("a derived picture names its parent and how it was made")
        stored = dataclasses.replace(entry, content_id=self.blobs.put_bytes(data))
        self.add([stored])
        return stored

    def path(self, entry: Entry) -> Path:
        """Return where a picture's bytes lie; read them, never write there."""
        return self.blobs.path(entry.content_id)

    def picture(self, content_id: str) -> Picture:
        """Return a picture's pixels after checking its bytes. Raises TornBlobError when they are damaged."""
        return decode_picture(self.blobs.read(content_id), self.blobs.path(content_id))

    # ---- measurements --------------------------------------------------------------------------

    def recall(self, kind: str, content_ids: Iterable[str]) -> dict[str, bytes]:
        """Return what was measured of these pictures; what was not is left out."""
        found: dict[str, bytes] = {}
        with store_errors(self._measured_path):
            for one in content_ids:
                row = self._measured_db.execute(
                    "SELECT data FROM measured WHERE content_id = ? AND kind = ?", (one, kind)
                ).fetchone()
                if row is not None:
                    found[one] = bytes(row["data"])
        return found

    def measured(self, kind: str) -> set[str]:
        """Return the content ids that have this measurement."""
        with store_errors(self._measured_path):
            rows = self._measured_db.execute(
                "SELECT content_id FROM measured WHERE kind = ?", (kind,)
            ).fetchall()
        return {str(row["content_id"]) for row in rows}

    def remember(self, kind: str, rows: Mapping[str, bytes]) -> None:
        """Keep measurements by content id, in one transaction; call it every few seconds of work."""
        with transaction(self._measured_db, self._measured_path):
            self._measured_db.executemany(
                "INSERT OR REPLACE INTO measured VALUES (?, ?, ?)",
                [(one, kind, sqlite3.Binary(data)) for one, data in rows.items()],
            )

    # ---- decisions -----------------------------------------------------------------------------

    def decisions(self) -> tuple[Decision, ...]:
        """Return every decision, oldest first, undone ones included."""
        path = self.folder / "decisions.json"
        if not path.is_file():
            return ()
        again = f"mv {shlex.quote(str(path))} {shlex.quote(f'{path}.broken')}, then set pictures aside again"
        rows = json_of(path, list, f"{again} (dedupe --apply, audit --apply)")
        try:
            return tuple(
                Decision(
                    row["verb"], tuple(SetAside(**one) for one in row["set_aside"]), row["undone"]
                )
                for row in rows
            )
        except (KeyError, TypeError) as fault:
            raise _damaged(path, again) from fault

    def set_aside(self) -> dict[str, SetAside]:
        """Return what stands set aside now, by name."""
        return {
            one.name: one
            for decision in self.decisions()
            if not decision.undone
            for one in decision.set_aside
        }

    def decide(self, verb: str, rows: Sequence[SetAside]) -> None:
        """Set pictures aside by the user's word. They stay in the dataset and can come back."""
        gone = self.set_aside()
        fresh = tuple(row for row in rows if row.name not in gone)
        if fresh:
            self._write_decisions((*self.decisions(), Decision(verb, fresh, False)))

    def undo(self, verb: str, names: Collection[str] | None = None) -> Decision | None:
        """Take back the newest standing decision of a verb (that names any of these); None when there is none."""
        every = list(self.decisions())
        for i in range(len(every) - 1, -1, -1):
            named = names is None or any(one.name in names for one in every[i].set_aside)
            if every[i].verb == verb and not every[i].undone and named:
                taken = every[i]
                every[i] = dataclasses.replace(taken, undone=True)
                self._write_decisions(every)
                return taken
        return None

    def release(self, verb: str, names: Collection[str]) -> None:
        """Take single names out of what a verb set aside; the rest of its decisions stands."""
        every = []
        for decision in self.decisions():
            rows = decision.set_aside
            if decision.verb == verb and not decision.undone:
                rows = tuple(row for row in rows if row.name not in names)
            if rows:
                every.append(dataclasses.replace(decision, set_aside=rows))
        self._write_decisions(every)

    def _write_decisions(self, every: Sequence[Decision]) -> None:
        write_json(self.folder / "decisions.json", [dataclasses.asdict(one) for one in every])

    # ---- outcomes of the verbs -----------------------------------------------------------------

    def write_stage(self, verb: str, outcome: Mapping[str, Any]) -> str:
        """Keep the outcome of a verb; returns the digest of what it says."""
        write_json(self._stage(verb), dict(outcome))
        return content_id(canonical(dict(outcome)).encode())

    def read_stage(self, verb: str) -> dict[str, Any] | None:
        """Return the outcome of a verb, or None when it has not been run."""
        path = self._stage(verb)
        if not path.is_file():
            return None
        folder = shlex.quote(str(self.folder))
        return json_of(
            path, dict, f"vultus dataset {_VERBS.get(verb, verb)} {folder}, which writes it anew"
        )

    def page(self, verb: str) -> Path:
        """Return where the contact sheet of a verb belongs."""
        return self.folder / "pages" / f"{verb}.html"

    def digest(self) -> str:
        """Identify what was ingested: names, bytes, captions and lineage, in name order."""
        rows = [dataclasses.asdict(entry) for entry in self.entries()]
        return content_id(canonical(rows).encode())

    def _stage(self, verb: str) -> Path:
        if not _STAGE.fullmatch(verb):
            raise ValueError(f"{verb!r} cannot name a stage")
        return self.folder / "stages" / f"{verb}.json"


def _entry(table: Mapping[str, Any]) -> Entry:
    lineage = table["lineage"]
    return Entry(
        **{
            **table,
            "lineage": None if lineage is None else Lineage(**lineage),
            "notes": tuple(table["notes"]),
            "origin": tuple((str(k), str(v)) for k, v in table["origin"]),
        }
    )


def _is_gone(name: str, gone: Mapping[str, SetAside], parent: Mapping[str, str]) -> bool:
    seen: set[str] = set()
    while name not in gone:
        seen.add(name)
        name = parent.get(name, name)
        if name in seen:
            return False
    return True
