"""Planted cards: a folder says which there are and which processes hold how much of them.

    $VULTUS_FAKE_CARDS/cards.json           [{uuid, name, total_bytes}]
    $VULTUS_FAKE_CARDS/<uuid>/<anything>    {"pid", "started", "boot", "bytes"}: held while it lives

So a drill with real processes has a truth that is known to the byte, and a holder that is killed
lets go of its memory as a real one does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from vultus.core.errors import JobError
from vultus.core.files import write_json
from vultus.jobs.cards import Card
from vultus.jobs.processes import Process, is_alive, this_process
from vultus.jobs.records import read_json

__all__ = ["FOLDER_VARIABLE", "FakeProbe", "hold", "open_probe", "plant_cards"]

FOLDER_VARIABLE = "VULTUS_FAKE_CARDS"


class FakeProbe:
    """Reads the planted folder anew at every question."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def cards(self) -> tuple[Card, ...]:
        """Return the planted cards."""
        rows = json.loads((self._folder / "cards.json").read_text(encoding="utf-8"))
        return tuple(
            Card(row["uuid"], index, row["name"], int(row["total_bytes"]), "")
            for index, row in enumerate(rows)
        )

    def free_bytes(self, uuid: str) -> int:
        """Return the card's size less what living processes hold of it."""
        for card in self.cards():
            if card.uuid == uuid:
                return max(card.total_bytes - self._held_bytes(uuid), 0)
        raise JobError(f"there is no planted card {uuid!r}", where=str(self._folder))

    def _held_bytes(self, uuid: str) -> int:
        held = 0
        for path in sorted((self._folder / uuid).glob("*.json")):
            row = read_json(path)
            if row is not None and is_alive(Process.from_json(row)):
                held += int(row["bytes"])
        return held


def plant_cards(folder: Path, sizes_bytes: Sequence[int]) -> list[str]:
    """Plant cards of these sizes and return their UUIDs."""
    rows = [
        {"uuid": f"GPU-fake-{i}", "name": f"planted card {i}", "total_bytes": size}
        for i, size in enumerate(sizes_bytes)
    ]
    write_json(folder / "cards.json", rows)
    for row in rows:
        (folder / str(row["uuid"])).mkdir(exist_ok=True)
    return [str(row["uuid"]) for row in rows]


def hold(folder: Path, uuid: str, held_bytes: int, process: Process | None = None) -> None:
    """Let a process (this one, unless told otherwise) hold so much of a card; 0 lets go of it."""
    holder = process or this_process()
    write_json(folder / uuid / f"{holder.pid}.json", {**holder.to_json(), "bytes": int(held_bytes)})


def open_probe() -> FakeProbe:
    """Return the probe of the folder that the environment names."""
    return FakeProbe(Path(os.environ[FOLDER_VARIABLE]))
