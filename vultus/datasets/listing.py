"""Which files a folder of pictures holds, named by content: what identifies the question "curate this folder".

A row is (name, content id of the picture, content id of its caption or ""). Nothing is decoded.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from vultus.core.errors import DatasetError, DiskError
from vultus.core.keys import file_content_id
from vultus.images.load import list_pictures

Row = tuple[str, str, str]


def list_inputs(folder: Path) -> list[Row]:
    """List pictures and captions below a folder in name order."""
    refuse_missing(folder)
    rows: list[Row] = []
    for path in list_pictures(folder)[0]:
        caption = path.with_suffix(".txt")
        caption_id = file_content_id(caption) if caption.is_file() else ""
        rows.append((path.relative_to(folder).as_posix(), file_content_id(path), caption_id))
    return rows


def refuse_missing(folder: Path) -> None:
    """Raise DatasetError when the pictures folder is not there, DiskError when it cannot be listed."""
    if not folder.is_dir():
        raise DatasetError(
            "there is no folder of pictures",
            where=str(folder),
            expected="a folder with the pictures of one persona (PNG, JPEG, WebP, ...)",
            next_command=f"mkdir -p {shlex.quote(str(folder))} and put the pictures there",
        )
    try:
        next(folder.iterdir(), None)
    except OSError as error:
        raise DiskError(
            f"the folder of pictures cannot be listed ({error.strerror})",
            where=str(folder),
            expected="read and search permission",
            next_command=f"chmod u+rx {shlex.quote(str(folder))}",
        ) from error


__all__ = ["Row", "list_inputs", "refuse_missing"]
