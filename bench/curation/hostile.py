"""Archives and names that mean harm, each with the words its refusal must hold."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from vultus.core.seeds import stream

__all__ = ["HOSTILE", "NAMES", "picture_bytes", "write_zip"]


def picture_bytes(name: str, side_px: int = 48, kind: str = "PNG") -> bytes:
    """A small picture with structure, never twice the same."""
    rng = stream("bench", "hostile", name)
    rgb = np.kron(rng.integers(0, 256, (12, 12, 3)), np.ones((side_px // 12, side_px // 12, 1)))
    out = io.BytesIO()
    Image.fromarray(rgb.astype(np.uint8)).save(out, kind)
    return out.getvalue()


def write_zip(path: Path, files: dict[str, bytes], **options: int) -> Path:
    """Write a zip with these entries, whatever their names."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for key, value in options.items():
                setattr(info, key, value)
            archive.writestr(info, data)
    return path


def _named(name: str) -> Callable[[Path], Path]:
    return lambda path: write_zip(
        path, {"good.png": picture_bytes("good"), name: picture_bytes("bad")}
    )


def _bomb(path: Path) -> Path:
    return write_zip(path, {"bomb.png": bytes(64 * 2**20)})


def _liar(path: Path) -> Path:
    """The directory claims 100 bytes, the stream unpacks to 300 MiB."""
    write_zip(path, {"liar.png": bytes(300 * 2**20)})
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(mark)
        data[at + place : at + place + 4] = struct.pack("<I", 100)
    path.write_bytes(data)
    return path


def _overlapping(path: Path) -> Path:
    """Two directory entries that share the bytes of one."""
    write_zip(path, {"a.png": picture_bytes("a"), "b.png": picture_bytes("b")})
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    data[second + 42 : second + 46] = struct.pack("<I", 0)
    path.write_bytes(data)
    return path


def _link(path: Path) -> Path:
    return write_zip(path, {"link.png": b"/etc/passwd"}, external_attr=0o120777 << 16)


def _encrypted(path: Path) -> Path:
    write_zip(path, {"locked.png": picture_bytes("locked")})
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(mark)
        data[at + place] |= 1
    path.write_bytes(data)
    return path


def _twice(path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("same.png", picture_bytes("one"))
            archive.writestr("same.png", picture_bytes("two"))
    return path


def _torn(path: Path) -> Path:
    data = write_zip(path, {"a.png": picture_bytes("a")}).read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def _rotten(path: Path) -> Path:
    """The stream of an entry is damaged: its checksum does not fit."""
    data = bytearray(write_zip(path, {"a.png": picture_bytes("a")}).read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    return path


def _no_zip(path: Path) -> Path:
    path.write_bytes(b"MZ this is a program")
    return path


NAMES: Final = {
    "../../outside.png": "outside its folder",
    "a/../../outside.png": "outside its folder",
    "/etc/cron.d/job.png": "absolute",
    "C:\\windows\\job.png": "Windows path",
    "..\\..\\job.png": "Windows path",
    "evil\u202egnp.exe.png": "invisible",
    "bell\x07.png": "control",
    "con.png": "reserved",
    "dir./x.png": "reserved",
    "n" * 300 + ".png": "longer than",
}
"""A name: what its refusal says."""

HOSTILE: Final[dict[str, tuple[Callable[[Path], Path], str]]] = {
    **{ascii(name)[1:-1][:40]: (_named(name), words) for name, words in NAMES.items()},
    "a bomb": (_bomb, "times its size"),
    "a bomb that lies": (_liar, ""),
    "overlapping entries": (_overlapping, "overlaps"),
    "a symbolic link": (_link, "symbolic link"),
    "an encrypted entry": (_encrypted, "encrypted"),
    "one name twice": (_twice, "twice"),
    "a torn zip": (_torn, "not a readable zip"),
    "a rotten entry": (_rotten, ""),
    "a program named .zip": (_no_zip, "not a readable zip"),
}
"""What it is: how to make it, and a word of the line that refuses it ("" where only a refusal is asked for)."""
