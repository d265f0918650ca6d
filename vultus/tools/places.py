"""Where tools are installed, and finding the one in use.

    $VULTUS_HOME (default ~/.local/share/vultus)
      tools/<name>/<key>/venv/              its Python
      tools/<name>/<key>/source/            its source at the pinned commit
      tools/<name>/<key>/environment.json   what it was made from, and the digest of everything in it
      tools/<name>/current                  a link to the one in use, replaced in one step

An environment is never changed: another lock, commit or Python has another key and lies beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vultus.core.errors import ToolError
from vultus.core.home import home
from vultus.tools.installed import check_files, packages_digest
from vultus.tools.source import tree_digest

__all__ = ["RECORD", "ToolPlace", "current", "installed", "tool_folder", "use"]

RECORD = "environment.json"


@dataclass(frozen=True)
class ToolPlace:
    """One installed environment of one tool."""

    folder: Path
    record: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the tool."""
        return str(self.record["tool"])

    @property
    def digest(self) -> str:
        """What stands for this environment in records and verdicts: its source and every installed file."""
        return str(self.record["digest"])

    @property
    def python(self) -> Path:
        """The interpreter."""
        return self.folder / "venv" / "bin" / "python"

    @property
    def source(self) -> Path:
        """The checkout."""
        return self.folder / "source"

    @property
    def entry(self) -> Path:
        """The program that is started."""
        return self.source / str(self.record["entry"])

    @property
    def sites(self) -> list[Path]:
        """The folders of installed packages."""
        return sorted((self.folder / "venv").glob("lib/python*/site-packages"))

    def faults(self, memory: Path | None = None, *, deep: bool = False) -> list[str]:
        """What is not as it was installed: files of packages, packages, source."""
        _, altered = check_files(self.sites, memory, deep=deep)
        told = [f"{one.path} of {one.package} {one.what}" for one in altered]
        if packages_digest(self.sites) != self.record["packages"]:
            told.append("packages were added, removed or exchanged after the install")
        if tree_digest(self.source) != self.record["tree"]:
            told.append(f"{self.source} is not the commit that was installed")
        return told


def tool_folder(name: str) -> Path:
    """Where the environments of a tool lie."""
    return home() / "tools" / name


def installed(name: str) -> list[ToolPlace]:
    """Every whole environment of a tool, the newest last."""
    records = [
        path
        for path in tool_folder(name).glob(f"*/{RECORD}")
        if not path.parent.is_symlink() and not path.parent.name.startswith(".")
    ]
    places = [ToolPlace(p.parent, json.loads(p.read_text(encoding="utf-8"))) for p in records]
    return sorted(places, key=lambda place: float(place.record["built_at"]))


def current(name: str) -> ToolPlace:
    """The environment in use. Raises ToolError if there is none."""
    link = tool_folder(name) / "current"
    record = link / RECORD
    if not record.is_file():
        raise ToolError(
            f"the tool {name!r} is not installed",
            where=str(tool_folder(name)),
            expected="an environment that vultus built",
            next_command=f"vultus tools install {name}",
        )
    return ToolPlace(link.resolve(), json.loads(record.read_text(encoding="utf-8")))


def use(place: ToolPlace) -> None:
    """Make an environment the one in use, in one step: whoever looks sees the old one or the new one."""
    folder = place.folder.parent
    draft = folder / f".current.{os.getpid()}"
    draft.unlink(missing_ok=True)
    draft.symlink_to(place.folder.name)
    draft.replace(folder / "current")
