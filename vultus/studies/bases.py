"""Which weights a base's name stands for, and the digest that stands for them in keys.

A name is `standin/<name>` (package data), a path relative to the workspace, or an absolute path; it must be a
diffusers folder or one .safetensors file. The digest covers every file of a folder but its documentation. Hashing a
7 GB file costs 20 seconds, so digests are remembered by path, size and time of change; the memory is a convenience
and may be deleted.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vultus.core.errors import WeightsError
from vultus.core.files import files_below, write_json
from vultus.core.keys import canonical, content_id, file_content_id
from vultus.core.registry import hint
from vultus.core.weights import require_base

PACKAGED = "standin/"
PLANTED = "fake.json"
LARGE_BYTES = 1_000_000_000
_SILENT = {".md", ".txt", ".png", ".jpg"}


@dataclass(frozen=True)
class Base:
    """One base model: the user's name for it, where it lies, and the digest of its weights."""

    name: str
    path: Path
    digest: str

    @property
    def is_large(self) -> bool:
        """True for a base of full size: one per machine's memory, and worth all cores."""
        return sum(file.stat().st_size for file in files_below(self.path)) > LARGE_BYTES


def threads_for(bases: Iterable[Base]) -> int:
    """Threads of a worker with these bases: 0 (its share of the cores) where one is large, else 1.

    The stand-in nets are too small to share: two threads take twice as long for a training step as one (docs/log.md,
    "Two threads for one training step"), and five times on a machine with other work. One thread also makes a result
    the same however many workers there are.
    """
    return 0 if any(base.is_large for base in bases) else 1


def find_base(name: str, folder: Path, memory: Path, option: str = "") -> Base:
    """Resolve a base's name. Raises WeightsError when it is not a base this program can load."""
    path = locate_base(name, folder, option)
    return Base(name, path, base_digest(path, memory))


def locate_base(name: str, folder: Path, option: str = "") -> Path:
    """Where a base lies, its headers looked at and nothing hashed. Raises WeightsError.

    `option` is where the name was given, where that was not vultus.toml.
    """
    try:
        return _located(name, folder)
    except WeightsError as fault:
        if option and "vultus.toml" in fault.next_command:
            fault.next_command = (
                f"give {option} standin/<name>, a diffusers folder or a .safetensors file"
            )
        raise


def _located(name: str, folder: Path) -> Path:
    path = packaged_base(name) if name.startswith(PACKAGED) else folder / Path(name).expanduser()
    if not path.exists():
        raise WeightsError(
            f"there is no base {name!r}",
            where=str(path),
            expected="a diffusers folder or a .safetensors file",
            next_command="check `bases` in vultus.toml (paths are relative to that file)",
        )
    if not (path / PLANTED).is_file():  # a base of the fake renderer holds nothing but its truth
        try:
            require_base(path)
        except WeightsError as fault:
            fault.next_command = (
                fault.next_command or f"put another base for {name!r} into vultus.toml"
            )
            raise
    return path.resolve()


def packaged_base(name: str) -> Path:
    """Return the folder of a base that ships with the package, without importing it."""
    spec = importlib.util.find_spec("vultus")
    assert spec is not None and spec.submodule_search_locations
    root = Path(next(iter(spec.submodule_search_locations))) / "standin" / "weights" / "bases"
    wanted = name.removeprefix(PACKAGED)
    known = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    if wanted not in known:
        raise WeightsError(
            f"there is no stand-in base {wanted!r}{hint(wanted, known)}",
            where=str(root),
            expected=f"one of {', '.join(PACKAGED + n for n in known)}"
            if known
            else "an installation with the stand-in weights",
            next_command="vultus models list",
        )
    return root / wanted


def packaged_oracle() -> Path:
    """Where the stand-in world's scene oracle lies, without importing that world."""
    spec = importlib.util.find_spec("vultus")
    assert spec is not None and spec.submodule_search_locations
    root = Path(next(iter(spec.submodule_search_locations)))
    return root / "standin" / "weights" / "oracle" / "scene.onnx"


def base_digest(path: Path, memory: Path) -> str:
    """Digest of a base's weights and configuration, remembered while the files do not change."""
    files = _files(path)
    cache = memory / "digests.json"
    known = _remembered(cache)
    key = _state(files)
    if key in known:
        return known[key]
    if path.is_file():
        digest = file_content_id(path)
    else:
        rows = [[f.relative_to(path).as_posix(), file_content_id(f)] for f in files]
        digest = content_id(canonical(rows).encode())
    write_json(cache, {**known, key: digest})
    return digest


def known_digest(path: Path, memory: Path) -> str:
    """The digest, if it was found out before and the files have not changed since; else empty."""
    return _remembered(memory / "digests.json").get(_state(_files(path)), "")


def _state(files: list[Path]) -> str:
    """What the files look like from outside."""
    seen = [[str(f), f.stat().st_size, f.stat().st_mtime_ns] for f in files]
    return content_id(canonical(seen).encode())


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [file for file in files_below(path) if not _is_words(file)]


def _is_words(path: Path) -> bool:
    """True for documentation; merges.txt is part of a tokenizer."""
    return path.suffix.lower() in _SILENT and path.name != "merges.txt"


def _remembered(cache: Path) -> dict[str, str]:
    try:
        table = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in table.items()} if isinstance(table, dict) else {}


__all__ = [
    "PACKAGED",
    "Base",
    "base_digest",
    "find_base",
    "known_digest",
    "locate_base",
    "packaged_base",
    "packaged_oracle",
]
