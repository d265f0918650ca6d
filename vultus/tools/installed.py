"""What is installed in an environment, told from the packages' own records, and whether it still is as installed.

Every wheel leaves a RECORD: one line per file with its sha256 and size. Two environments with equal records hold equal
files, whoever installed them and wherever; a file that no longer hashes to its line was changed after the install.

**Notation**

    site      a folder `site-packages`
    digest    64 hex digits; sha256 over names, versions and hashed lines of all packages, without what tells only
              of the place and the moment of installing (scripts with the interpreter's path, INSTALLER, .pyc files)

Hashing 1.3 GB takes ten seconds, so that a package that was found sound is remembered by the size, time of change
and inode of all its files: a second look costs one `stat` per file. `deep` looks at the bytes in any case.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vultus.core.files import write_json

__all__ = ["Altered", "Package", "check_files", "packages_digest", "packages_in", "sites"]

_OF_THE_PLACE = ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "RECORD")
_SKIPPED = frozenset({"vultus"})  # installed from a working tree: its state is git's to tell


@dataclass(frozen=True)
class Package:
    """One installed package."""

    name: str
    version: str
    site: Path
    record: Path


@dataclass(frozen=True)
class Altered:
    """A file that is not as its package's RECORD says."""

    package: str
    path: Path
    what: str


def sites(python_path: Sequence[str] = ()) -> list[Path]:
    """The folders of this process (or of a given path) that hold installed packages."""
    folders = [Path(p) for p in dict.fromkeys(python_path or sys.path) if p]
    return [f for f in folders if f.name in ("site-packages", "dist-packages") and f.is_dir()]


def packages_in(site: Path) -> list[Package]:
    """Every package with a RECORD, by name."""
    found = []
    for record in site.glob("*.dist-info/RECORD"):
        stem = record.parent.name.removesuffix(".dist-info")
        name, _, version = stem.rpartition("-")
        found.append(Package(name.lower().replace("_", "-"), version, site, record))
    return sorted(found, key=lambda p: (p.name, p.version))


def packages_digest(where: Sequence[Path]) -> str:
    """One name for everything that is installed in these folders: equal files, equal name."""
    whole = hashlib.sha256()
    for package in (p for site in where for p in packages_in(site)):
        if package.name in _SKIPPED:
            continue
        lines = sorted(f"{path},{sha}" for path, sha, _ in _rows(package) if _is_of_package(path))
        whole.update(f"{package.name}=={package.version}\n".encode())
        whole.update("\n".join(lines).encode())
    return whole.hexdigest()


def check_files(
    where: Sequence[Path], memory: Path | None = None, *, deep: bool = False
) -> tuple[int, list[Altered]]:
    """Compare every installed file with its RECORD; returns how many were looked at, and what differs.

    `memory` is a file that remembers the packages that were sound, and the state of their files then.
    """
    known = {} if deep or memory is None else _remembered(memory)
    sound: dict[str, str] = {}
    altered: list[Altered] = []
    looked = 0
    for package in (p for site in where for p in packages_in(site)):
        if package.name in _SKIPPED:
            continue
        rows = [(path, sha) for path, sha, _ in _rows(package) if "__pycache__" not in path]
        looked += len(rows)
        state = _state(package, [path for path, _ in rows])
        if state is None or known.get(str(package.record)) != state:
            found = _differing(package, rows)
            altered += found
            if found:
                continue
        sound[str(package.record)] = state or ""
    if memory is not None and {**known, **sound} != known:
        write_json(memory, {**known, **sound})
    return looked, altered


def _state(package: Package, paths: Sequence[str]) -> str | None:
    """What every file of a package looks like from outside; None if one is missing."""
    whole = hashlib.sha256()
    site = str(package.site)
    try:
        for path in (*paths, str(package.record)):
            # os, not pathlib: 30,000 files, and Path costs three times as much
            state = os.stat(os.path.join(site, path))  # noqa: PTH116, PTH118
            whole.update(f"{path}|{state.st_size}|{state.st_mtime_ns}|{state.st_ino}\n".encode())
    except OSError:
        return None
    return whole.hexdigest()


def _differing(package: Package, rows: Sequence[tuple[str, str]]) -> list[Altered]:
    """Hash every file of a package."""

    def look(row: tuple[str, str]) -> Altered | None:
        path, sha = row
        place = package.site / path
        try:
            found = _sha256(place)
        except OSError:
            return Altered(package.name, place, "is missing")
        return None if found == sha else Altered(package.name, place, "was changed")

    with ThreadPoolExecutor(4) as pool:  # hashing lets go of the interpreter's lock
        return [one for one in pool.map(look, rows, chunksize=64) if one is not None]


def _sha256(place: Path) -> str:
    """The hash as RECORD writes it: urlsafe base64 without padding."""
    with place.open("rb") as file:
        raw = hashlib.file_digest(file, "sha256").digest()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _rows(package: Package) -> Iterator[tuple[str, str, str]]:
    """(path below the site, sha256, size) of every hashed file; other hashes than sha256 are left out."""
    with package.record.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            if len(row) >= 2 and row[1].startswith("sha256="):
                yield row[0], row[1].removeprefix("sha256="), row[2] if len(row) > 2 else ""


def _is_of_package(path: str) -> bool:
    if path.startswith("../") or "__pycache__" in path:
        return False
    return not (".dist-info/" in path and path.rsplit("/", 1)[-1] in _OF_THE_PLACE)


def _remembered(memory: Path) -> dict[str, str]:
    try:
        table = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}
