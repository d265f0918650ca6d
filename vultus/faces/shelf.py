"""Where face packs lie on this machine, and which terms their user has agreed to.

Two things are remembered in `shelf.json` in the user's model folder: the folder of a pack that was
added (with the sha256 of each file as it was then, so that an exchanged file is noticed), and the
day on which the terms of a pack were accepted. It is the user's file; nothing is sent anywhere.

**Notation**
    terms_id    "sha256:<hex>" of licence and terms as they were shown: other words, other question
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vultus.core.clock import Clock, SystemClock
from vultus.core.errors import PackError
from vultus.core.files import write_json
from vultus.core.home import home
from vultus.core.keys import content_id
from vultus.faces.pack_spec import PackSpec

__all__ = [
    "Placed",
    "Shelf",
    "accept",
    "data_folder",
    "has_accepted",
    "model_folders",
    "place",
    "read_shelf",
    "terms_id",
]

SHELF_FILE = "shelf.json"


@dataclass(frozen=True)
class Placed:
    """A pack that the user added: its folder, and the sha256 of its files on that day."""

    folder: Path
    sums: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shelf:
    """What `shelf.json` remembers."""

    placed: Mapping[str, Placed] = field(default_factory=dict)
    accepted: Mapping[str, str] = field(default_factory=dict)
    """terms_id -> day on which it was accepted"""


def data_folder() -> Path:
    """The user's own model folder: where fetched files go and `shelf.json` lies."""
    return home() / "models"


def model_folders() -> tuple[Path, ...]:
    """Where model files are looked for: $VULTUS_MODELS, the user's data folder, `../shared/models`
    of a checkout."""
    named = [Path(p) for p in os.environ.get("VULTUS_MODELS", "").split(os.pathsep) if p]
    shared = os.environ.get("VULTUS_SHARED")
    beside = Path(shared) if shared else Path(__file__).resolve().parents[3] / "shared"
    return (*named, data_folder(), beside / "models")


def read_shelf() -> Shelf:
    """The shelf of this user; empty where nothing was added yet."""
    path = data_folder() / SHELF_FILE
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        placed = {
            str(name): Placed(Path(row["folder"]), dict(row["sha256"]))
            for name, row in table["placed"].items()
        }
        return Shelf(placed, dict(table["accepted"]))
    except FileNotFoundError:
        return Shelf()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise PackError(
            "the record of added packs cannot be read",
            where=str(path),
            expected="the file as `vultus models add` wrote it",
            next_command=f"rm {path}, then add the packs again",
        ) from fault


def terms_id(spec: PackSpec) -> str:
    """The id of a pack's licence and terms."""
    return content_id(f"{spec.name}\n{spec.licence}\n{spec.terms}".encode())


def has_accepted(spec: PackSpec) -> bool:
    """Whether the terms need no question: none is asked for, or it was answered before."""
    return not spec.consent or terms_id(spec) in read_shelf().accepted


def accept(spec: PackSpec, clock: Clock | None = None) -> None:
    """Remembers that the user agreed to the terms of this pack today."""
    shelf = read_shelf()
    day = datetime.fromtimestamp((clock or SystemClock()).now(), UTC).strftime("%Y-%m-%d")
    if terms_id(spec) not in shelf.accepted:
        _write(Shelf(shelf.placed, {**shelf.accepted, terms_id(spec): day}))


def place(name: str, folder: Path, sums: Mapping[str, str]) -> None:
    """Remembers where the files of a pack lie and what they were."""
    shelf = read_shelf()
    _write(Shelf({**shelf.placed, name: Placed(folder.resolve(), sums)}, shelf.accepted))


def _write(shelf: Shelf) -> None:
    table: dict[str, Any] = {
        "placed": {
            name: {"folder": str(one.folder), "sha256": dict(one.sums)}
            for name, one in shelf.placed.items()
        },
        "accepted": dict(shelf.accepted),
    }
    write_json(data_folder() / SHELF_FILE, table)
