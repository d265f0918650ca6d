"""Reading the faces of picture files: a few pictures in memory at a time, bad files told apart.

**Notation**
    paths     pictures as files     folders are walked; order is kept, a folder's by name
    chunk     READ_AT_ONCE pictures in memory (12 MP pictures are 36 MB each)
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vultus.core.errors import PictureError
from vultus.faces.records import FaceEngine, FaceResult
from vultus.images.load import list_pictures, load_picture, printable
from vultus.images.records import Picture, PictureFault

__all__ = ["Reading", "pictures_of", "read_files"]

READ_AT_ONCE: Final = 8


@dataclass(frozen=True, eq=False)
class Reading:
    """One file after the face engine has looked at it."""

    picture: Picture
    result: FaceResult


def pictures_of(paths: Sequence[Path]) -> list[Path]:
    """Every picture file of files and folders, absent ones included: reading them tells the fault.

    Raises PictureError, for the first place, where there is no picture in any.
    """
    found: list[Path] = []
    for path in paths:
        found += list_pictures(path)[0] if path.is_dir() else [path]
    if any(one.exists() for one in found):
        return found
    first = paths[0]
    raise PictureError(
        "the folder holds no pictures" if first.is_dir() else "there is no such file",
        where=printable(str(first)),
        expected="a picture, or a folder of pictures (PNG, JPEG, WebP, ...)",
        next_command="name another folder, or put pictures there"
        if first.is_dir()
        else f"ls {shlex.quote(str(first.parent))}",
    )


def read_files(
    engine: FaceEngine, paths: Sequence[Path], tell: Callable[[int], None] | None = None
) -> Iterator[Reading | PictureFault]:
    """Readings in order; a file that cannot be opened is a fault in its place.

    `tell` is called with the number of files that were just dealt with.
    """
    for start in range(0, len(paths), READ_AT_ONCE):
        loaded = [_loaded(path) for path in paths[start : start + READ_AT_ONCE]]
        good = [one for one in loaded if isinstance(one, Picture)]
        results = iter(engine.read_many([one.rgb for one in good]))
        for one in loaded:
            yield Reading(one, next(results)) if isinstance(one, Picture) else one
        if tell is not None:
            tell(len(loaded))


def _loaded(path: Path) -> Picture | PictureFault:
    try:
        return load_picture(path)
    except PictureError as fault:
        return PictureFault(path, fault.what, fault.next_command)
