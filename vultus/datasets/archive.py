"""Zip files opened without trust: what an archive may not do, and one clear line when it tries.

Nothing is ever unpacked to a path: entries are read into memory under a cap and kept by content id, so no name in
an archive can choose a place on the disk. Names are checked all the same, because they become the user's words for
the pictures, and because an archive with a hostile name is not an archive to take pictures from: it is refused whole.

Caps, against bombs: MAX_ENTRIES entries; each at most `Caps.max_bytes` unpacked; together MAX_TOTAL_BYTES; an entry of
more than SMALL_BYTES that unpacks to over MAX_RATIO times its packed size. Sizes in the directory of a zip are claims:
reading stops at the cap whatever they say. Archives inside archives are not opened. Source of the classes of attack:
CWE-22 (traversal), CWE-409 (bombs), Fifield 2019 (overlapping entries).
"""

from __future__ import annotations

import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from vultus.core.errors import DatasetError
from vultus.images.records import Caps

__all__ = ["Archive", "fault_of_name", "open_archive"]

MAX_ENTRIES: Final = 100_000
MAX_TOTAL_BYTES: Final = 64 * 2**30
MAX_RATIO: Final = 200
SMALL_BYTES: Final = 16 * 2**20
MAX_NAME: Final = 240
_RESERVED: Final = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{p}{i}" for p in ("com", "lpt") for i in range(1, 10)),
}


class Archive:
    """The files of one zip by name, each read under the caps."""

    def __init__(
        self, path: Path, opened: zipfile.ZipFile, infos: dict[str, zipfile.ZipInfo]
    ) -> None:
        self.path = path
        self._opened = opened
        self._infos = infos

    def names(self) -> list[str]:
        """Return the names of all files, in name order."""
        return sorted(self._infos)

    def read(self, name: str) -> bytes:
        """Return the bytes of one file. Raises DatasetError when it is damaged or larger than it claims."""
        cap = Caps().max_bytes
        try:
            with self._opened.open(self._infos[name]) as stream:
                data = stream.read(cap + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            NotImplementedError,
            RuntimeError,
        ) as fault:
            raise _refused(self.path, f"the entry {_shown(name)} is damaged ({fault})") from fault
        if len(data) > cap:
            raise _refused(self.path, f"the entry {_shown(name)} unpacks to more than it claims")
        return data


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a zip file after looking at every entry. Raises DatasetError at the first thing that is not right."""
    try:
        opened = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as fault:
        raise _refused(path, f"this is not a readable zip file ({fault})") from fault
    with opened:
        yield Archive(path, opened, _checked(path, opened.infolist()))


def fault_of_name(name: str) -> str:
    """Say what is wrong with a picture's name, or "" when nothing is.

    Names come from archives and folders of other people and end in pages, manifests and exports.
    """
    path = PurePosixPath(name)
    if not name or len(name) > MAX_NAME:
        return f"the name is longer than {MAX_NAME} characters" if name else "the name is empty"
    if "\\" in name or name.startswith("/") or (len(name) > 1 and name[1] == ":"):
        return "the name is an absolute or a Windows path"
    if ".." in path.parts:
        return "the name points outside its folder"
    # Cc: control, Cf: invisible marks such as right-to-left overrides, Cs: broken UTF-8.
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in name):
        return "the name holds invisible or control characters"
    if any(
        part.split(".")[0].lower() in _RESERVED or part != part.rstrip(" .") for part in path.parts
    ):
        return "the name is reserved on Windows"
    return ""


def _checked(path: Path, infos: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    if len(infos) > MAX_ENTRIES:
        raise _refused(path, f"{len(infos)} entries are more than {MAX_ENTRIES}")
    total = 0
    files: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        if info.is_dir():
            continue
        # `filename` is already cut at a NUL and has its slashes turned; the raw name is what was written.
        name = info.orig_filename
        fault = fault_of_name(name)
        if stat.S_ISLNK(info.external_attr >> 16):
            fault = "it is a symbolic link"
        if info.flag_bits & 0x1:
            fault = "it is encrypted"
        if info.file_size > Caps().max_bytes:
            fault = f"it unpacks to {info.file_size / 2**20:.0f} MiB"
        if info.file_size > SMALL_BYTES and info.file_size > MAX_RATIO * max(1, info.compress_size):
            fault = f"it unpacks to {info.file_size // max(1, info.compress_size)} times its size"
        if name in files:
            fault = "it is there twice"
        total += info.file_size
        if total > MAX_TOTAL_BYTES:
            fault = f"with it the archive unpacks to more than {MAX_TOTAL_BYTES // 2**30} GiB"
        if fault:
            raise _refused(path, f"the entry {_shown(name)} is refused: {fault}")
        files[name] = info
    _refuse_overlaps(path, files)
    return files


def _refuse_overlaps(path: Path, files: dict[str, zipfile.ZipInfo]) -> None:
    """Entries that share bytes are how ten megabytes unpack to a petabyte."""
    end, last = 0, ""
    for name, info in sorted(files.items(), key=lambda item: item[1].header_offset):
        if info.header_offset < end:
            raise _refused(path, f"the entry {_shown(name)} overlaps {_shown(last)}")
        end, last = info.header_offset + info.compress_size, name


def _shown(name: str) -> str:
    """A name as it may be printed: escaped, cut."""
    text = repr(name.encode("utf-8", "backslashreplace").decode("utf-8"))
    return text if len(text) <= 80 else f"{text[:76]}...'"


def _refused(path: Path, what: str) -> DatasetError:
    return DatasetError(
        what,
        where=str(path),
        expected="a plain zip of pictures (and captions), made by somebody you trust",
        next_command="unpack it yourself, look at it, and ingest the folder",
    )
