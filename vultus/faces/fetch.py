"""Getting a pack's files: from their official addresses, or from a folder that has them.

Every file is named with its sha256 in the catalogue; whatever arrives is compared before it takes
its place, so it does not matter who served it. A download that was cut goes on where it stopped
(`<file>.part`, HTTP Range). Nothing here runs unless a person types `vultus models fetch` or
`add`.

**Notation**
    part      bytes that have arrived     file beside the target, named `<file>.part`
    sum       sha256 of a file            64 hex digits
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from vultus.core.errors import PackError
from vultus.core.files import staged
from vultus.core.keys import file_content_id
from vultus.faces.pack_spec import PackSpec
from vultus.faces.packs import catalogue, load_pack, read_spec
from vultus.faces.shelf import accept, place

__all__ = ["FileState", "add_pack", "check_files", "download", "fetch_pack", "require_fetchable"]

BLOCK: Final = 1 << 16
MOST_BYTES: Final = 2 << 30
TIMEOUT_S: Final = 60.0
Tell = Callable[[str], None]


@dataclass(frozen=True)
class FileState:
    """One file of a pack: `state` is "whole", "missing", "altered", or "unnamed" (there, but no sum
    is known for it)."""

    name: str
    state: str
    sum: str
    wanted: str


def check_files(spec: PackSpec, folder: Path) -> list[FileState]:
    """The state of every file of a pack in a folder."""
    found = []
    for name, wanted in spec.files().items():
        path = folder / name
        actual = sum_of(path) if path.is_file() else ""
        state = "whole" if actual == wanted else "altered"
        if not actual:
            state = "missing"
        elif not wanted:
            state = "unnamed"
        found.append(FileState(name, state, actual, wanted))
    return found


def fetch_pack(
    name: str, target: Path, *, source: Path | None = None, tell: Tell | None = None
) -> Path:
    """Brings every file of a catalogue pack to `target` and returns it; whole files are left alone.

    `source` is a folder on this machine that is searched (by content, names do not matter) instead
    of the network. Raises PackError when the pack may not be fetched or a file is not what it
    should be.
    """
    spec = require_fetchable(name, source)
    shelved = dict(_sums_below(source)) if source is not None else {}
    for state in check_files(spec, target):
        path = target / state.name
        if state.state == "whole":
            _tell(tell, f"{state.name}: here")
        elif source is not None:
            if state.wanted not in shelved:
                raise PackError(
                    f"{state.name} (sha256 {state.wanted[:12]}…) is not among its files",
                    where=str(source),
                    expected="a folder that holds it under any name",
                    next_command=f"vultus models fetch {name}",
                )
            with staged(path) as draft:
                shutil.copyfile(shelved[state.wanted], draft)
            _tell(tell, f"{state.name}: copied from {shelved[state.wanted]}")
        else:
            download(spec.sources[state.name], path, state.wanted, tell=tell)
    load_pack(target, description=catalogue()[name])
    return target


def add_pack(name: str, folder: Path) -> Path:
    """Remembers the user's folder as the place of a catalogue pack, and its terms as agreed to.

    Call it only after the terms were shown and agreed to. Returns the folder that has the files.
    """
    spec = _known(name)
    below = sorted(entry for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
    for candidate in (folder, *below):  # archives that unpack into themselves
        if all((candidate / file).is_file() for file in spec.files()):
            pack = load_pack(candidate, description=catalogue()[name])
            sums = {file: sum_of(candidate / file) for file in spec.files()}
            accept(pack.spec)
            place(name, candidate, sums)
            return candidate
    raise PackError(
        f"the files of pack {name} are not in it",
        where=str(folder),
        expected=", ".join(spec.files()),
        next_command=f"ls -R {folder}",
    )


def download(
    address: str, path: Path, wanted: str, *, tell: Tell | None = None, most: int = MOST_BYTES
) -> None:
    """One file from one address to one path, compared with its sum before it takes its place."""
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    have = part.stat().st_size if part.is_file() else 0
    if have:
        _tell(tell, f"{path.name}: going on after {have} bytes")
    with _opened(address, have) as answer:
        resumed = have > 0 and answer.status == 206
        with part.open("ab" if resumed else "wb") as out:
            _copy(answer, out, most - (have if resumed else 0), address)
    found = sum_of(part)
    if wanted and found != wanted:
        part.unlink()
        raise PackError(
            f"what {address} sent is not the file that was asked for (sha256 {found[:12]}…)",
            where=str(path),
            expected=f"sha256 {wanted[:12]}…",
            next_command="try again; if it stays so, the address no longer serves this file",
        )
    with staged(path) as draft:
        part.replace(draft)
    _tell(tell, f"{path.name}: fetched, {path.stat().st_size} bytes")


def sum_of(path: Path) -> str:
    """sha256 of a file, hex."""
    return file_content_id(path).removeprefix("sha256:")


def _opened(address: str, have: int) -> Any:
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    headers = {"User-Agent": "vultus"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        return urlopen(Request(address, headers=headers), timeout=TIMEOUT_S)
    except HTTPError as fault:
        if fault.code == 416 and have:  # nothing is left to send: the part is all there is
            return urlopen(Request(address, headers={"User-Agent": "vultus"}), timeout=TIMEOUT_S)
        raise _unreachable(address, f"the server said {fault.code} {fault.reason}") from fault
    except (URLError, OSError) as fault:
        raise _unreachable(address, str(getattr(fault, "reason", fault))) from fault


def _copy(answer: Any, out: IO[bytes], room: int, address: str) -> None:
    from http.client import HTTPException

    promised = int(answer.headers.get("Content-Length") or -1)
    arrived = 0
    try:
        while block := answer.read(BLOCK):
            arrived += len(block)
            if arrived > room:
                raise PackError(
                    f"{address} sends more than {MOST_BYTES >> 20} MiB", expected="a weight file"
                )
            out.write(block)
    except (OSError, HTTPException) as fault:
        raise _unreachable(address, f"the connection broke ({fault})") from fault
    if arrived < promised:
        raise _unreachable(address, f"the connection broke after {arrived} of {promised} bytes")


def _unreachable(address: str, why: str) -> PackError:
    return PackError(
        f"cannot be fetched: {why}",
        where=address,
        expected="a connection to this address, or a folder that has the files",
        next_command="vultus models fetch NAME --from FOLDER (what has arrived is kept)",
    )


def require_fetchable(name: str, source: Path | None = None) -> PackSpec:
    """The pack, or a PackError that says why it cannot be fetched from there."""
    spec = _known(name)
    lacking = [file for file in spec.files() if file not in spec.sources]
    if source is None and lacking:
        raise PackError(
            f"pack {name} is not fetched: its licence leaves that to you ({spec.licence})",
            expected="a folder of yours that holds its files",
            next_command=f"vultus models add {name} FOLDER",
        )
    if source is not None and not source.is_dir():
        raise PackError("there is no such folder", where=str(source), expected="a folder")
    return spec


def _known(name: str) -> PackSpec:
    if name not in catalogue():
        raise PackError(
            f"there is no face pack {name!r} in the catalogue",
            expected=f"one of {', '.join(catalogue())}",
            next_command="vultus models list",
        )
    return read_spec(catalogue()[name])


def _sums_below(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= MOST_BYTES:
            yield sum_of(path), path


def _tell(tell: Tell | None, words: str) -> None:
    if tell is not None:
        tell(words)
