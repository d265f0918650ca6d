"""Inputs as parcels: what a machine without the driver's disk must be sent, named by what is in it.

A parcel is one input of an order, a file or a folder. Its digest covers the paths inside it and the bytes; a machine
that has the same bytes under the same path, or was sent them before, is sent nothing. Bytes travel in pieces, so that
a weight file of gigabytes never lies in memory as a whole.

**Notation**

    digest   64 hex digits; sha256 of the canonical list of [path inside, content id]
    rows     [path inside, content id, bytes], sorted; the path inside of a single file is ""
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vultus.core.errors import StepError
from vultus.core.files import files_below
from vultus.core.keys import canonical, content_id, file_content_id

PIECE_BYTES = 16 * 2**20
SHIP_MAX_BYTES = 2**30
"""Larger inputs (a full-size base) are not sent: they belong on every machine, once."""

Row = tuple[str, str, int]


@dataclass(frozen=True)
class Parcel:
    """One input: its digest, where it lies at the driver's, and what is in it."""

    digest: str
    path: str
    rows: tuple[Row, ...]

    @property
    def size_bytes(self) -> int:
        """All bytes together."""
        return sum(size for _, _, size in self.rows)


class Packer:
    """Makes parcels; content ids are remembered by path, size and time of change."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], str] = {}

    def pack(self, path: Path) -> Parcel | None:
        """Describe a file or folder; None if there is nothing (the work will say what it misses)."""
        if path.is_dir():
            rows = [self._row(p.relative_to(path).as_posix(), p) for p in files_below(path)]
        elif path.is_file():
            rows = [self._row("", path)]
        else:
            return None
        digest = content_id(canonical([[name, found] for name, found, _ in rows]).encode())
        return Parcel(digest.removeprefix("sha256:"), str(path), tuple(rows))

    def _row(self, name: str, path: Path) -> Row:
        state = path.stat()
        seen = (str(path), state.st_size, state.st_mtime_ns)
        if seen not in self._known:
            self._known[seen] = file_content_id(path)
        return name, self._known[seen], state.st_size


def pieces(folder: Path) -> Iterator[tuple[str, bool, bytes]]:
    """The bytes of a file or folder: (path inside, whether it is the file's first piece, bytes)."""
    for path in files_below(folder):
        name = path.relative_to(folder).as_posix() if folder.is_dir() else ""
        first = True
        with path.open("rb") as file:
            while (data := file.read(PIECE_BYTES)) or first:
                yield name, first, data
                first = False


def place_piece(root: Path, name: str, first: bool, data: bytes) -> None:
    """Write one piece below `root` (`root` itself when the path inside is empty)."""
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts:
        raise StepError(f"a parcel points outside its folder: {name!r}")
    path = root / inside if name else root
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb" if first else "ab") as file:
        file.write(data)


def refuse_large(parcels: Sequence[Parcel]) -> None:
    """Raise StepError for inputs that are too large to be sent."""
    for parcel in parcels:
        if parcel.size_bytes > SHIP_MAX_BYTES:
            raise StepError(
                f"an input of {parcel.size_bytes / 2**30:.1f} GiB is not sent to other machines",
                where=parcel.path,
                expected="the same file under the same path on every machine, or a shared disk",
                next_command=f"copy {parcel.path} to the same path on every machine of the cluster",
            )


__all__ = [
    "PIECE_BYTES",
    "SHIP_MAX_BYTES",
    "Packer",
    "Parcel",
    "pieces",
    "place_piece",
    "refuse_large",
]
