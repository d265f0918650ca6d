"""What was asked, who tried, what came out: written once, never changed.

A step is done when one attempt committed its outputs in one transaction, and the first commit
wins. An attempt holds a kernel lock on its step while it lives, so two processes never do the same
work, and a killed one is known at once: its lock is free. Nothing is repeated and nothing is lost.

    .vultus/ledger.sqlite    steps, attempts, outputs
    .vultus/blobs/           the files, by content id
    .vultus/locks/<key>      held while an attempt at this step lives
    .vultus/scratch/<key>/   where an attempt works; the next attempt finds what the last one left
    .vultus/outputs/<key>/   outputs under their names, as links; may be removed at any time

One `Ledger` serves one thread; open another for another thread. A forked child may go on using
its copy: it gets its own connection.
"""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from vultus.core.clock import Clock, SystemClock
from vultus.core.errors import StoreError
from vultus.core.files import disk_errors, sweep_leftovers
from vultus.core.keys import canonical
from vultus.core.locks import Lock, held, is_held
from vultus.store.blobs import Blobs, is_stored_id
from vultus.store.database import connect, store_errors, transaction
from vultus.store.migrations import migrate
from vultus.store.records import AttemptRecord, AttemptState, Request, StepRecord
from vultus.store.records import environment_digest as digest_of
from vultus.store.rows import ATTEMPTS, attempt_of, step_of

__all__ = ["Ledger"]

_ID_INSIDE = re.compile(r"(?:sha256|tree):[0-9a-f]{64}")
_SILENT = "its process ended without a word"
_OUTPUT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class Ledger:
    """The memory of one workspace. Open it with `Ledger.open(folder)`."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self.blobs = Blobs(folder / "blobs")
        self.clock = clock
        self._path = folder / "ledger.sqlite"
        self._owner = os.getpid()
        self._database = connect(self._path)
        self._held: dict[str, tuple[Lock, Lock]] = {}

    @classmethod
    def open(cls, folder: Path, *, clock: Clock | None = None) -> Ledger:
        """Open the ledger in a workspace's `.vultus` folder; make it if there is none.

        Raises StoreError or DiskError with what to do next.
        """
        ledger = cls(folder, clock or SystemClock())
        try:
            with store_errors(ledger._path):
                migrate(ledger._database, ledger._path)
            ledger.blobs.sweep_leftovers()
            ledger._tidy()
        except BaseException:
            ledger.close()
            raise
        return ledger

    def close(self) -> None:
        """Let go of the file. Attempts that are still running here become lost."""
        if self._owner != os.getpid():
            return  # a forked child never used it: everything here is still the parent's
        for attempt_id in list(self._held):
            self._let_go(attempt_id, over=False)
        self._database.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- looking up ---------------------------------------------------------------------------

    def outputs(self, key: str) -> dict[str, str] | None:
        """What a step gave, name to content id; None if no attempt at it was finished."""
        # one statement, one snapshot: with two, a commit between them was a step that gave nothing
        rows = self.rows(
            "SELECT output.name, content_id FROM attempt LEFT JOIN output USING (step_key)"
            " WHERE step_key = ? AND state = 'done'",
            key,
        )
        if not rows:
            return None
        return {row["name"]: row["content_id"] for row in rows if row["name"] is not None}

    def step(self, key: str) -> StepRecord | None:
        """The request behind a key, if it was ever begun."""
        rows = self.rows("SELECT * FROM step WHERE key = ?", key)
        if not rows:
            return None
        return step_of(rows[0])

    def steps(self, kind: str = "") -> list[StepRecord]:
        """All requests (of one kind), in the order in which they were first asked."""
        where, values = ("WHERE kind = ?", (kind,)) if kind else ("", ())
        rows = self.rows(f"SELECT * FROM step {where} ORDER BY asked_at, key", *values)
        return [step_of(row) for row in rows]

    def keys(self, digits: str) -> list[str]:
        """The keys that begin with these hex digits."""
        rows = self.rows(
            "SELECT key FROM step WHERE key >= ? AND key < ? ORDER BY key", digits, digits + "g"
        )
        return [row["key"] for row in rows]

    def attempts(self, key: str = "") -> list[AttemptRecord]:
        """All attempts (at one step), oldest first."""
        where, values = ("WHERE step_key = ?", (key,)) if key else ("", ())
        rows = self.rows(f"{ATTEMPTS} {where} ORDER BY attempt.rowid", *values)
        return [attempt_of(row) for row in rows]

    def lost(self) -> list[AttemptRecord]:
        """The attempts whose process ended without a word: running, and their lock is free.

        They are marked as lost; asking for their step again repeats them.
        """
        rows = self.rows("SELECT id, step_key FROM attempt WHERE state = 'running'")
        gone = [row["id"] for row in rows if not is_held(self._lock_path(row["step_key"]))]
        for attempt_id in gone:
            with self._writing():
                # Only if it still runs: it may have ended properly since it was read.
                self._end(attempt_id, AttemptState.LOST, None, _SILENT)
        found = [self.rows(f"{ATTEMPTS} WHERE id = ?", attempt_id)[0] for attempt_id in gone]
        return [a for a in map(attempt_of, found) if a.state is AttemptState.LOST]

    # -- an attempt, from its begin to its end ------------------------------------------------

    def begin(
        self, step: Request, environment: Mapping[str, Any], *, blocking: bool = False
    ) -> str:
        """Start an attempt at a step and hold its lock; returns the attempt's id.

        Raises BusyError if a living process is at the same step and `blocking` is off. After a
        wait look at `outputs` again: the other one may have done it.
        """
        if any(locks[0].path == self._lock_path(step.key) for locks in self._held.values()):
            raise RuntimeError(f"the step {step.kind!r} asks for itself while it is at work")
        guard = Lock.take(self._writers_path(), blocking=True, shared=True)
        try:
            lock = Lock.take(self._lock_path(step.key), blocking=blocking)
        except BaseException:
            guard.release()
            raise
        attempt_id = secrets.token_hex(8)
        try:
            with self._writing():
                self._ask(step)
                self._bury(step.key)
                self._do(
                    "INSERT INTO attempt (id, step_key, state, environment, process, host,"
                    " started_at) VALUES (?, ?, 'running', ?, ?, ?, ?)",
                    attempt_id,
                    step.key,
                    self._environment(environment),
                    os.getpid(),
                    platform.node(),
                    self.clock.now(),
                )
        except BaseException:
            lock.release()
            guard.release()
            raise
        self._held[attempt_id] = (lock, guard)
        return attempt_id

    def commit(
        self,
        attempt_id: str,
        outputs: Mapping[str, str],
        seconds: float,
        *,
        environment: Mapping[str, Any] | None = None,
    ) -> dict[str, str]:
        """End an attempt as done, its outputs in one transaction; returns the step's outputs.

        `environment` is where the work was done, if that was not where the attempt began (another
        machine did it). If another attempt committed first, its outputs stay and are returned, and
        this attempt ends as cancelled.
        """
        for name, content in outputs.items():
            if not _OUTPUT_NAME.fullmatch(name):
                raise ValueError(f"an output cannot be named {name!r}")
            if not is_stored_id(content) or not self.blobs.has(content):
                raise StoreError(f"the output {name!r} was not stored before its commit: {content}")
        with self._writing():
            row = self._running(attempt_id)
            key = row["step_key"]
            first = self.outputs(key)
            if environment is not None:
                there = self._environment(environment)
                self._do("UPDATE attempt SET environment = ? WHERE id = ?", there, attempt_id)
            if first is not None:
                self._end(attempt_id, AttemptState.CANCELLED, seconds, "another attempt was first")
            else:
                self._end(attempt_id, AttemptState.DONE, seconds, "")
                for name, content in sorted(outputs.items()):
                    values = (key, name, attempt_id, content)
                    self._do("INSERT INTO output VALUES (?, ?, ?, ?)", *values)
        self._let_go(attempt_id)
        return dict(outputs) if first is None else first

    def fail(self, attempt_id: str, message: str, seconds: float | None = None) -> None:
        """End an attempt as failed: the work said no. `message` is its log for people."""
        self._finish(attempt_id, AttemptState.FAILED, message, seconds)

    def cancel(self, attempt_id: str, message: str, seconds: float | None = None) -> None:
        """End an attempt as cancelled: it was stopped from outside and may be made again."""
        self._finish(attempt_id, AttemptState.CANCELLED, message, seconds)

    def lose(self, attempt_id: str, message: str, seconds: float | None = None) -> None:
        """End an attempt as lost: the process that did its work ended without a word."""
        self._finish(attempt_id, AttemptState.LOST, message, seconds)

    # -- places -------------------------------------------------------------------------------

    def scratch(self, key: str) -> Path:
        """The folder in which a step works: the same for every attempt at it."""
        place = self.folder / "scratch" / key
        with disk_errors(place):
            place.mkdir(parents=True, exist_ok=True)
        return place

    def drop_scratch(self, key: str) -> None:
        """Remove a step's working folder, once its outputs are committed."""
        shutil.rmtree(self.folder / "scratch" / key, ignore_errors=True)

    def paths(self, key: str) -> dict[str, Path] | None:
        """A finished step's outputs as files and folders on the disk, to be read only."""
        outputs = self.outputs(key)
        if outputs is None:
            return None
        home = self.folder / "outputs" / key
        if not all((home / name).exists() for name in outputs):
            sweep_leftovers(home)
        return {name: self.blobs.materialise(c, home / name) for name, c in outputs.items()}

    def live(self) -> tuple[set[str], set[str]]:
        """Every content id that a step gave, and every one that a step was asked with.

        The first must be here in whole; of the second some never were (a base is only named).
        """
        gave = {row["content_id"] for row in self.rows("SELECT content_id FROM output")}
        inputs = (row["inputs"] for row in self.rows("SELECT inputs FROM step"))
        return gave, {name for text in inputs for name in _ID_INSIDE.findall(text)}

    def dead(self) -> list[tuple[str, int]]:
        """Stored files that nothing refers to: (content id, bytes). Nothing is removed.

        Raises TornBlobError if a folder's manifest is missing or altered: then nobody can say
        which files are its parts.
        """
        return self.blobs.dead(*self.live())

    def sweep(self) -> int:
        """Remove files that nothing refers to, and scratch folders of finished steps; says how many.

        Raises BusyError during a run (which is no writer between orders) or a write; TornBlobError as `dead` does.
        """
        with held(self.folder / "locks" / "run"), held(self._writers_path()):
            dead = self.dead()
            self._tidy()
            shutil.rmtree(self.folder / "outputs", ignore_errors=True)
            return self.blobs.remove(name for name, _ in dead)

    # -- inside -------------------------------------------------------------------------------

    def _tidy(self) -> None:
        """Note who was lost, and remove what a kill between commit and clean-up left."""
        self.lost()
        for place in (self.folder / "scratch").glob("*"):
            if self.outputs(place.name) is not None:
                self.drop_scratch(place.name)

    def _writers_path(self) -> Path:
        return self.folder / "locks" / "writers"

    def _lock_path(self, key: str) -> Path:
        return self.folder / "locks" / key

    def _connection(self) -> sqlite3.Connection:
        if self._owner != os.getpid():
            # SQLite forbids carrying a connection across a fork; the parent's one and its locks
            # are left untouched, and never closed here.
            _INHERITED.append(self._database)
            for locks in self._held.values():
                for lock in locks:
                    lock.abandon()
            self._held = {}
            self._owner = os.getpid()
            self._database = connect(self._path)
        return self._database

    def rows(self, sql: str, *values: Any) -> Sequence[sqlite3.Row]:
        """The rows that a SELECT gives; for the questions in `store.census`, which only read."""
        with store_errors(self._path):
            return self._connection().execute(sql, values).fetchall()

    def _do(self, sql: str, *values: Any) -> None:
        self._connection().execute(sql, values)

    def _writing(self) -> AbstractContextManager[None]:
        return transaction(self._connection(), self._path)

    def _environment(self, environment: Mapping[str, Any]) -> str:
        """Keep an environment once, and return what stands for it in an attempt."""
        digest = digest_of(environment)
        text = json.dumps(dict(environment), sort_keys=True)
        self._do("INSERT INTO environment VALUES (?, ?) ON CONFLICT DO NOTHING", digest, text)
        return f"@{digest}"

    def _ask(self, step: Request) -> None:
        self._do(
            "INSERT INTO step VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
            step.key,
            step.kind,
            step.version,
            canonical(step.inputs),
            step.replicate,
            self.clock.now(),
        )

    def _running(self, attempt_id: str) -> sqlite3.Row:
        rows = self.rows("SELECT * FROM attempt WHERE id = ?", attempt_id)
        if not rows:
            raise StoreError(f"there is no attempt {attempt_id}")
        row: sqlite3.Row = rows[0]
        state = AttemptState(row["state"])
        if not state.may_become(AttemptState.DONE):
            raise StoreError(
                f"the attempt {attempt_id} is {state.value}; only a running one can end"
            )
        return row

    def _end(
        self, attempt_id: str, state: AttemptState, seconds: float | None, message: str
    ) -> None:
        self._do(
            "UPDATE attempt SET state = ?, ended_at = ?, seconds = ?, message = ?"
            " WHERE id = ? AND state = 'running'",
            state.value,
            self.clock.now(),
            seconds,
            message,
            attempt_id,
        )

    def _finish(
        self, attempt_id: str, state: AttemptState, message: str, seconds: float | None
    ) -> None:
        try:
            with self._writing():
                self._running(attempt_id)
                self._end(attempt_id, state, seconds, message)
        finally:
            # Even if it could not be written down (a full disk): then it counts as lost.
            self._let_go(attempt_id)

    def _bury(self, key: str) -> None:
        """Whoever is still written down as running this step is not: we hold its lock."""
        for row in self.rows(
            "SELECT id FROM attempt WHERE step_key = ? AND state = 'running'", key
        ):
            self._end(row["id"], AttemptState.LOST, None, _SILENT)

    def _let_go(self, attempt_id: str, *, over: bool = True) -> None:
        if attempt_id in self._held:
            lock, guard = self._held.pop(attempt_id)
            lock.release(remove=over)
            guard.release()


_INHERITED: list[sqlite3.Connection] = []
"""Connections of a parent process, kept so that this child never closes them."""
