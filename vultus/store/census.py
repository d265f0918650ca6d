"""Questions about a whole ledger: what is in it, where it was made, and whether all of it is still there.

They only read, and they are fast enough for a ledger of a million renders because each is one query over an index
(figures: `make bench-jobs`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vultus.core.errors import Fault, TornBlobError
from vultus.store.ledger import Ledger
from vultus.store.records import environment_digest

__all__ = ["Census", "Place", "Spent", "count", "places_of", "spent_on", "verify"]

_CHUNK = 500  # SQLite takes at least 999 values in one statement


@dataclass(frozen=True)
class Census:
    """What a ledger holds."""

    steps: Mapping[str, int]
    """requests by kind"""
    attempts: Mapping[str, int]
    """attempts by state"""
    outputs: int
    environments: int
    ledger_bytes: int


@dataclass(frozen=True)
class Spent:
    """Seconds that the finished attempts of one kind took, however long ago."""

    kind: str
    seconds: float
    steps: int


@dataclass(frozen=True)
class Place:
    """One environment, and which finished steps were done in it."""

    digest: str
    environment: Mapping[str, Any]
    steps: Mapping[str, int] = field(default_factory=dict)
    """steps by kind"""


def count(ledger: Ledger) -> Census:
    """Count what a ledger holds."""
    steps = ledger.rows("SELECT kind, count(*) AS n FROM step GROUP BY kind")
    attempts = ledger.rows("SELECT state, count(*) AS n FROM attempt GROUP BY state")
    outputs = ledger.rows("SELECT count(*) AS n FROM output")[0]["n"]
    environments = ledger.rows("SELECT count(*) AS n FROM environment")[0]["n"]
    files = ledger.folder.glob("ledger.sqlite*")
    return Census(
        steps={row["kind"]: row["n"] for row in steps},
        attempts={row["state"]: row["n"] for row in attempts},
        outputs=outputs,
        environments=environments,
        ledger_bytes=sum(path.stat().st_size for path in files),
    )


def spent_on(ledger: Ledger, keys: Iterable[str]) -> list[Spent]:
    """Seconds by kind of work, in the order in which the keys name the kinds first."""
    found: dict[str, tuple[float, int]] = {}
    for row in _of_keys(ledger, "attempt.seconds", keys):
        if row["seconds"] is not None:
            seconds, steps = found.get(row["kind"], (0.0, 0))
            found[row["kind"]] = (seconds + row["seconds"], steps + 1)
    return [Spent(kind, seconds, steps) for kind, (seconds, steps) in found.items()]


def places_of(ledger: Ledger, keys: Iterable[str]) -> list[Place]:
    """The environments in which these steps were done, the one with most steps first."""
    counts: dict[str, dict[str, int]] = {}
    texts: dict[str, str] = {}
    for row in _of_keys(ledger, "attempt.environment", keys):
        named = row["environment"]
        if named.startswith("@"):
            digest = named[1:]
        else:  # format 1 wrote the environment out
            digest = environment_digest(json.loads(named))
            texts[digest] = named
        kinds = counts.setdefault(digest, {})
        kinds[row["kind"]] = kinds.get(row["kind"], 0) + 1
    for digest in counts:
        rows = ledger.rows("SELECT text FROM environment WHERE digest = ?", digest)
        texts.setdefault(digest, rows[0]["text"] if rows else "{}")
    places = [Place(digest, json.loads(texts[digest]), kinds) for digest, kinds in counts.items()]
    return sorted(places, key=lambda place: (-sum(place.steps.values()), place.digest))


def verify(ledger: Ledger, told: Callable[[int, int], None] | None = None) -> list[Fault]:
    """Look at everything again: the database's own check, every output, the bytes of every file.

    `told(done, total)` hears of every file. Returns what is not as it was written.
    """
    faults = [
        Fault("ledger.sqlite", str(row[0]), "a sound database")
        for row in ledger.rows("PRAGMA integrity_check")
        if row[0] != "ok"
    ]
    faults += [
        Fault("ledger.sqlite", f"a row of {row['table']} names a {row['parent']} that is not there")
        for row in ledger.rows("PRAGMA foreign_key_check")
    ]
    faults += _missing(ledger)
    return faults + ledger.blobs.verify(told)


def _missing(ledger: Ledger) -> Iterator[Fault]:
    """Outputs whose files, or whose folders' parts, are gone."""
    for row in ledger.rows("SELECT step_key, name, content_id FROM output ORDER BY step_key, name"):
        where = f"{row['name']} of step {row['step_key'][:12]}"
        try:
            whole = ledger.blobs.has(row["content_id"])
        except TornBlobError as torn:
            yield Fault(where, torn.what)
            continue
        if not whole:
            yield Fault(where, f"{row['content_id'][:19]}… is not stored in whole")


def _of_keys(ledger: Ledger, column: str, keys: Iterable[str]) -> Iterator[Any]:
    """One row (kind, column) per finished step of these keys, in their order."""
    wanted: Sequence[str] = list(dict.fromkeys(keys))
    for start in range(0, len(wanted), _CHUNK):
        part = wanted[start : start + _CHUNK]
        marks = ",".join("?" * len(part))
        rows = ledger.rows(
            f"SELECT attempt.step_key AS step_key, step.kind AS kind, {column} FROM attempt"
            " JOIN step ON step.key = attempt.step_key"
            f" WHERE attempt.state = 'done' AND attempt.step_key IN ({marks})",
            *part,
        )
        by_key = {row["step_key"]: row for row in rows}
        yield from (by_key[key] for key in part if key in by_key)
