"""Hundreds of files that mean harm, loaded in a process whose memory is watched.

    python -m tests.images.ordeal       runs them here and prints one JSON object

**Notation**
    case       (name, bytes)                       what lies in the folder
    outcome    "picture", "fault" or a crash       a fault must be one line that names the file
    peak       growth of the process's resident memory over what it was before the first file, MiB
CAPS are lower than a user's, so that a bomb of 100 MB already counts. The cap of the address space is
a net below the test: it would turn a bomb that went off into a MemoryError, not into a dead machine.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from tests.images.hostile import encoded, mutated, png_claiming
from tests.images.scenes import scene

__all__ = ["CAP_MIB", "cases", "run_ordeal"]

ROOT: Final = Path(__file__).resolve().parents[2]
CAP_MIB: Final = 192
ADDRESS_SPACE_MIB: Final = 3072
_ENDING: Final = {"JPEG": "jpg", "TIFF": "tif", "PPM": "ppm"}
Case = tuple[str, bytes]


def run_ordeal() -> dict[str, Any]:
    """Load every case in a process of its own and return what came out."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.images.ordeal"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return {"crashed": done.returncode, "said": done.stderr[-2000:]}
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def cases() -> Iterator[Case]:
    """Every hostile file: name and bytes."""
    whole = _whole_files()
    for kind, data in whole.items():
        ending = _ENDING.get(kind, kind.lower())
        for i in range(12):
            yield f"torn_{kind}_{i}.{ending}", data[: len(data) * (i + 1) // 13]
            yield f"wounded_{kind}_{i}.{ending}", mutated(data, f"ordeal {kind} {i}")
        wrong = "jpg" if kind != "JPEG" else "png"
        yield f"wrong_{kind}.{wrong}", data
        yield f"bare_{kind}", data
        yield f"behind_{kind}.{ending}", b"\0" * 16 + data
    yield from _sizes()
    yield from _bombs()
    yield from _polyglots(whole)
    yield from _exif(whole)


def _whole_files() -> dict[str, bytes]:
    rgb = scene("ordeal", 60, 40)
    kinds = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM")
    files = {kind: encoded(rgb, kind) for kind in kinds}
    folder = Path(__file__).parent / "golden"
    files["HEIC"] = (folder / "plain.heic").read_bytes()
    return files


def _sizes() -> Iterator[Case]:
    """One pixel, and 30,000 in a row: whole files of odd shapes."""
    dot = np.zeros((1, 1, 3), np.uint8)
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF"):
        yield f"dot_{kind}.{_ENDING.get(kind, kind.lower())}", encoded(dot, kind)
    for high in (1, 3, 16, 40):
        row = np.full((high, 30_000, 3), 90, np.uint8)
        for kind in ("PNG", "JPEG", "BMP", "PPM", "TIFF"):
            yield f"wide_{high}_{kind}.{_ENDING.get(kind, kind.lower())}", encoded(row, kind)
    yield "tall.png", encoded(np.full((30_000, 3, 3), 90, np.uint8), "PNG")


def _bombs() -> Iterator[Case]:
    """Small files that promise or unpack to a great deal."""
    for width, height in ((60_000, 60_000), (2**31 - 1, 1), (1, 2**31 - 1), (0, 5), (9_000, 7_000)):
        yield f"claims_{width}_{height}.png", png_claiming(width, height)
    zeros = zlib.compress(bytes(120 * 2**20), 9)
    for chunk in (b"zTXt", b"iCCP", b"iTXt"):
        text = b"Comment\0\0" + zeros if chunk != b"iTXt" else b"Comment\0\1\0\0\0" + zeros
        yield f"text_{chunk.decode()}.png", _png_with(chunk, text)
    yield "pixels.png", png_claiming(64, 64, bytes(80 * 2**20))
    yield "flat_25mp.png", encoded(np.zeros((5000, 5000), np.uint8), "PNG")
    yield "flat_25mp.jpg", encoded(np.zeros((5000, 5000, 3), np.uint8), "JPEG")
    yield (
        "flat_40mp.webp",
        encoded(np.zeros((5000, 8000, 3), np.uint8), "WEBP", quality=1, method=0),
    )
    yield "wide_grey.png", encoded(np.zeros((3500, 3500), np.uint16), "PNG")
    jpeg = bytearray(encoded(np.zeros((16, 16, 3), np.uint8), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65_500, 65_500)
    yield "claims.jpg", bytes(jpeg)
    gif = bytearray(encoded(np.zeros((16, 16, 3), np.uint8), "GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    yield "claims.gif", bytes(gif)
    bmp = bytearray(encoded(np.zeros((16, 16, 3), np.uint8), "BMP"))
    for name, size in (
        ("claims", (2**31 - 1, 2**31 - 1)),
        ("negative", (-5, -7)),
        ("zero", (0, 0)),
    ):
        bmp[18:26] = struct.pack("<ii", *size)
        yield f"{name}.bmp", bytes(bmp)
    yield "claims.ppm", b"P6 60000 60000 255\n" + bytes(100)
    yield "claims_digits.ppm", b"P6 " + b"9" * 400 + b" 9 255\n"
    yield "claims_wide.pgm", b"P5 99999999 16 65535\n" + bytes(100)
    yield "claims.webp", _webp_canvas(16_384, 16_384)
    yield "claims.tif", _tiff(60_000, 60_000, 1)
    yield "many_tags.tif", _tiff(32, 32, 2**31 - 1)


def _polyglots(whole: dict[str, bytes]) -> Iterator[Case]:
    """Files that are two things at once, or pretend to be another."""
    zipped = b"PK\x03\x04" + bytes(30) + b"payload.sh#!/bin/sh\necho harm\nPK\x05\x06" + bytes(18)
    for kind in ("PNG", "JPEG", "GIF", "BMP"):
        ending = _ENDING.get(kind, kind.lower())
        yield f"zip_behind_{kind}.{ending}", whole[kind] + zipped
        yield f"html_behind_{kind}.{ending}", whole[kind] + b"<script>alert(1)</script>"
    yield "gif_script.gif", b"GIF89a/*" + bytes(6) + b"*/=1;alert(1);"
    yield "pdf_before.jpg", b"%PDF-1.7\n" + whole["JPEG"]
    yield "elf.png", b"\x7fELF\x02\x01\x01" + bytes(200)
    yield "pickle.png", b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93."
    yield "svg.png", b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>'
    yield "xml_entities.png", b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>'
    yield "eps.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage"
    yield "psd.png", b"8BPS\0\1" + bytes(100)
    yield "icns.png", b"icns" + bytes(100)
    yield "empty.png", b""
    yield "one_byte.jpg", b"\xff"
    yield "new\nline.png", b"not a picture"
    yield "png_in_png.png", _png_with(b"teXt", whole["PNG"])


def _exif(whole: dict[str, bytes]) -> Iterator[Case]:
    """EXIF that is no EXIF: NaN, division by nothing, loops, wrong types, odd orientations."""
    nan = struct.pack("<d", float("nan"))
    bad = {
        "nan_double": _exif_entry(0x0112, 12, 1, nan),
        "nan_float": _exif_entry(0x0112, 11, 1, struct.pack("<f", float("nan"))),
        "zero_rational": _exif_entry(0x0112, 5, 1, struct.pack("<II", 0, 0)),
        "by_zero": _exif_entry(0x0112, 5, 1, struct.pack("<II", 7, 0)),
        "ascii": _exif_entry(0x0112, 2, 4, b"six\0"),
        "many": _exif_entry(0x0112, 3, 2**30, b""),
        "loop": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x8769, 4, 1, 8) + b"\x08\0\0\0",
        "short": b"II*\0\x08\0",
        "garbage": b"Exif\0\0" + bytes(range(200)),
    }
    for odd in (0, 9, 255, 65_535):
        bad[f"way_{odd}"] = _exif_entry(0x0112, 3, 1, struct.pack("<HH", odd, 0))
    rgb = scene("ordeal", 60, 40)
    for name, exif in bad.items():
        for kind in ("JPEG", "PNG", "WEBP"):
            data = encoded(rgb, kind, exif=b"Exif\0\0" + exif if kind == "JPEG" else exif)
            yield f"exif_{name}.{_ENDING.get(kind, kind.lower())}", data
    assert whole


def _exif_entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
    head = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI", tag, kind, count)
    if len(value) <= 4:
        return head + value.ljust(4, b"\0") + bytes(4)
    return head + struct.pack("<I", 26) + bytes(4) + value


def _png_with(name: bytes, body: bytes) -> bytes:
    png = encoded(scene("ordeal", 60, 40), "PNG")
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return png[:33] + chunk + png[33:]


def _webp_canvas(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    still = encoded(np.zeros((16, 16, 3), np.uint8), "WEBP")[12:]
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + size + still
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _tiff(width: int, height: int, count: int) -> bytes:
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1)]
    entries += [(262, 3, 1, 1), (273, 4, count, 200), (277, 3, 1, 1), (278, 4, 1, height)]
    entries += [(279, 4, count, 100)]
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(200)


def main() -> None:
    """Write the files, load them, print the outcome."""
    import resource

    from vultus.core.errors import PictureError
    from vultus.images.load import load_folder, load_picture
    from vultus.images.records import Caps

    caps = Caps(max_memory_bytes=CAP_MIB * 2**20)
    outcomes: dict[str, int] = {"picture": 0, "fault": 0}
    unclear: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for name, data in cases():
            Path(folder, name).write_bytes(data)
            names.append(name)
        Image.new("RGB", (32, 32)).save(Path(folder, "zz_good.png"))
        os.mkfifo(Path(folder, "pipe.png"))
        # The files were made here: their making must not hide what loading takes.
        _forget_peak()
        limit = ADDRESS_SPACE_MIB * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        load_picture(Path(folder, "zz_good.png"))
        before = _now_mib()
        for name in [*names, "pipe.png"]:
            try:
                picture = load_picture(Path(folder, name), caps)
                outcomes["picture"] += 1
                if picture.rgb.dtype != np.uint8 or picture.rgb.ndim != 3:
                    unclear.append(f"{name}: not an RGB picture")
            except PictureError as fault:
                outcomes["fault"] += 1
                if "\n" in fault.what or not (fault.what and fault.where and fault.expected):
                    unclear.append(f"{name}: {fault.what!r}")
        peak = _high_mib() - before
        listed = load_folder(Path(folder), caps)
        good = sum(p.path.name == "zz_good.png" for p in listed.pictures)
    told = {
        "files": len(names) + 1,
        **outcomes,
        "unclear": unclear,
        "peak_mib": round(peak, 1),
        "cap_mib": CAP_MIB,
        "good_file_kept": good == 1,
        "folder_faults": len(listed.faults),
    }
    print(json.dumps(told))


def _forget_peak() -> None:
    """Linux forgets a process's high-water mark when told so."""
    Path("/proc/self/clear_refs").write_text("5")


def _status_mib(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {key} in /proc/self/status")


def _now_mib() -> float:
    return _status_mib("VmRSS")


def _high_mib() -> float:
    return _status_mib("VmHWM")


if __name__ == "__main__":
    main()
