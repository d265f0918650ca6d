"""Files kept by what is in them: the name of a file is the hash of its bytes.

Equal bytes are stored once, a file is never changed, and a torn one is recognised: its bytes no
longer hash to its name. A folder is kept as a manifest, the list of its files and their content
ids; "materialise" makes it a folder again, out of links.

**Notation**

    sha256:<64 hex>   the content id of a file
    tree:<64 hex>     the content id of a folder; the hex is that of its manifest's bytes
    blobs/ab/abcd…    where the bytes of sha256:abcd… lie, read-only
    blobs/incoming/   drafts of writers that live, or leftovers of killed ones (swept)
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

from vultus.core.errors import Fault, StoreError, TornBlobError
from vultus.core.files import (
    disk_errors,
    drafted,
    flush_all,
    staged,
    staged_folder,
    sweep_leftovers,
)
from vultus.core.keys import content_id, file_content_id

__all__ = ["Blobs", "is_stored_id"]

_PIECE_BYTES = 1 << 20
_BATCH_FILES = 256  # each draft holds a file handle, and 1024 is a usual limit
_TREE = "tree:"
_STORED_ID = re.compile(r"(?:sha256|tree):[0-9a-f]{64}")


def is_stored_id(text: str) -> bool:
    """Whether a string has the form of a file's or a folder's content id."""
    return _STORED_ID.fullmatch(text) is not None


class Blobs:
    """The content-addressed files under one folder. Any number of processes may put and read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"

    def put_bytes(self, data: bytes) -> str:
        """Keep these bytes; returns their content id."""
        name = content_id(data)
        if not self._place(name).exists():
            with disk_errors(self.root), ExitStack() as drafts:
                draft = self._draft(drafts)
                draft.write_bytes(data)
                self._land([(draft, name)])
        return name

    def put_file(self, path: Path) -> str:
        """Keep a copy of a file; returns its content id."""
        return self.put_files([path])[0]

    def put_files(self, paths: Sequence[Path]) -> list[str]:
        """Keep copies of many files, flushed to the disk together; returns their content ids."""
        names: list[str] = []
        for start in range(0, len(paths), _BATCH_FILES):
            names += self._put_batch(paths[start : start + _BATCH_FILES])
        return names

    def _put_batch(self, paths: Sequence[Path]) -> list[str]:
        names: list[str] = []
        drafts: list[tuple[Path, str]] = []
        with disk_errors(self.root), ExitStack() as open_drafts:
            for path in paths:
                name = file_content_id(path)
                if not self._place(name).exists():
                    draft = self._draft(open_drafts)
                    # Hashed again while it is copied: the file may be changing under our hands.
                    name = _copied(path, draft)
                    drafts.append((draft, name))
                names.append(name)
            self._land(drafts)
        return names

    def put_folder(self, folder: Path) -> str:
        """Keep a copy of a folder and all files below it; returns its "tree:" id.

        Empty folders are not kept. Links are refused with a StoreError: what they point to is not
        in the folder.
        """
        return self.put_outputs([folder])[0]

    def put_outputs(self, paths: Sequence[Path]) -> list[str]:
        """Keep files and folders, all flushed together; returns an id for each."""
        files_of = [_files_below(path) if path.is_dir() else [path] for path in paths]
        every = [file for files in files_of for file in files]
        names = iter(self.put_files(every))
        ids = []
        for path, files in zip(paths, files_of, strict=True):
            if path.is_dir():
                lines = [[f.relative_to(path).as_posix(), next(names)] for f in files]
                manifest = json.dumps({"files": lines}, separators=(",", ":"), sort_keys=True)
                ids.append(_TREE + self.put_bytes(manifest.encode()).removeprefix("sha256:"))
            else:
                ids.append(next(names))
        return ids

    def has(self, name: str) -> bool:
        """Whether a file or folder is kept in whole (its bytes are not hashed again)."""
        if not self._place(name).is_file():
            return False
        if not name.startswith(_TREE):
            return True
        return all(self._place(part).is_file() for _, part in self.manifest(name))

    def path(self, name: str) -> Path:
        """Where a file lies, to be read and never written. Raises TornBlobError if it is gone."""
        if name.startswith(_TREE):
            raise ValueError(f"{name} is a folder: use materialise")
        place = self._place(name)
        if not place.is_file():
            raise _torn(name, "is missing", place)
        return place

    def read(self, name: str) -> bytes:
        """A file's bytes, checked against its name. Raises TornBlobError."""
        data = self.path(name).read_bytes()
        if content_id(data) != name:
            raise _torn(name, "is not what was stored", self._place(name))
        return data

    def manifest(self, name: str) -> list[tuple[str, str]]:
        """The files of a folder: (path inside it, content id), sorted. Raises TornBlobError."""
        data = self.read("sha256:" + name.removeprefix(_TREE))
        return [(inside, part) for inside, part in json.loads(data)["files"]]

    def materialise(self, name: str, target: Path) -> Path:
        """Make `target` the file or folder that `name` stands for; what is there already stays.

        Made of hard links where the disk allows it, so it costs no room; treat it as read-only.
        """
        if target.exists():
            return target
        if not name.startswith(_TREE):
            with disk_errors(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(self.path(name), target)
            return target
        with staged_folder(target, flush=False) as draft:
            for inside, part in self.manifest(name):
                place = draft / _safe(inside)
                place.parent.mkdir(parents=True, exist_ok=True)
                _link(self.path(part), place)
        return target

    def names(self) -> list[str]:
        """The content ids of all files that are kept."""
        return sorted("sha256:" + p.name for p in self.root.glob("??/*") if len(p.name) == 64)

    def verify(self, told: Callable[[int, int], None] | None = None) -> list[Fault]:
        """Hash every file again; returns what is not as it was stored. `told(done, total)` listens."""
        faults = []
        names = self.names()
        for done, name in enumerate(names, start=1):
            if told is not None:
                told(done, len(names))
            place = self._place(name)
            if file_content_id(place) != name:
                faults.append(Fault(str(place), "its bytes are not the ones that were stored"))
        return faults

    def dead(self, needed: Iterable[str], mentioned: Iterable[str] = ()) -> list[tuple[str, int]]:
        """Files that nobody needs: (content id, bytes).

        `needed` must be here in whole, `mentioned` is kept if it is here. Raises TornBlobError if the
        manifest of a needed folder is gone: its parts cannot be told from what is dead.
        """
        kept: set[str] = set()
        for name in needed:
            kept.update(self._whole(name))
        for name in mentioned:
            if self._place(name).is_file():
                kept.update(self._whole(name))
        names = (name for name in self.names() if name not in kept)
        return [(name, self._place(name).stat().st_size) for name in names]

    def remove(self, names: Iterable[str]) -> int:
        """Remove files, and the leftovers of killed writers; returns how many.

        Call it through `Ledger.sweep`, which knows what is dead and that nobody is at work.
        """
        removed = sweep_leftovers(self._incoming)
        for name in names:
            self._place(name).unlink(missing_ok=True)
            removed += 1
        return removed

    def _whole(self, name: str) -> Iterator[str]:
        """A file, or a folder's manifest and everything in it."""
        if not name.startswith(_TREE):
            yield name
            return
        yield "sha256:" + name.removeprefix(_TREE)
        for _, part in self.manifest(name):
            yield part

    def sweep_leftovers(self) -> int:
        """Remove what killed writers left behind; returns how many files."""
        return sweep_leftovers(self._incoming)

    def _place(self, name: str) -> Path:
        if not is_stored_id(name):
            raise ValueError(f"{name!r} is not a content id")
        digest = name.partition(":")[2]
        return self.root / digest[:2] / digest

    def _draft(self, drafts: ExitStack) -> Path:
        self._incoming.mkdir(parents=True, exist_ok=True)
        return drafts.enter_context(drafted(self._incoming))

    def _land(self, drafts: Sequence[tuple[Path, str]]) -> None:
        """Flush the bytes, give them their names, flush the names: in this order."""
        flush_all(draft for draft, _ in drafts)
        folders = set()
        for draft, name in drafts:
            place = self._place(name)
            if not place.parent.is_dir():
                place.parent.mkdir(parents=True, exist_ok=True)
                folders.add(self.root)
            draft.chmod(0o444)
            draft.replace(place)
            folders.add(place.parent)
        flush_all(sorted(folders))


def _copied(path: Path, draft: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source, draft.open("wb") as target:
        while piece := source.read(_PIECE_BYTES):
            digest.update(piece)
            target.write(piece)
    return "sha256:" + digest.hexdigest()


def _files_below(folder: Path) -> list[Path]:
    files = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise StoreError("a folder that is stored cannot hold links", where=str(path))
        if path.is_file():
            files.append(path)
    return files


def _safe(inside: str) -> PurePosixPath:
    path = PurePosixPath(inside)
    if path.is_absolute() or ".." in path.parts:
        raise TornBlobError(f"a manifest points outside its folder: {inside!r}")
    return path


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        pass  # another process made the same one meanwhile
    except OSError:
        with staged(target) as draft:  # a disk without hard links
            shutil.copyfile(source, draft)


def _torn(name: str, what: str, place: Path) -> TornBlobError:
    return TornBlobError(
        f"the stored file {name[:19]}… {what}",
        where=str(place),
        expected="files that only vultus writes",
        next_command="restore the file from a backup, or move the workspace's .vultus folder away "
        "and run again; finished work is then redone",
    )
