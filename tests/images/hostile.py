"""Files that mean harm, or met it: bombs, torn and mutated pictures, an honest odd colour profile."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from vultus.core.seeds import stream

__all__ = ["encoded", "mutated", "png_claiming", "profile_with_swapped_colours"]


def encoded(rgb: npt.NDArray[np.generic], kind: str, **options: object) -> bytes:
    """The picture as a file of this format."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, kind, **options)
    return buffer.getvalue()


def png_claiming(width: int, height: int, payload: bytes = b"") -> bytes:
    """A PNG whose header claims a size; its pixels are a few bytes of zeros."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(payload or bytes(1000))
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def mutated(data: bytes, name: str) -> bytes:
    """The file cut short, with flipped bytes, a swapped block, or all of that."""
    rng = stream("tests.images.hostile", name)
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 24))):
        out[int(rng.integers(8, len(out)))] = int(rng.integers(256))
    if rng.random() < 0.4:
        del out[int(rng.integers(8, len(out))) :]
    if rng.random() < 0.3 and len(out) > 64:
        start = int(rng.integers(8, len(out) - 32))
        out[start : start + 16] = out[start + 16 : start + 32]
    return bytes(out)


def profile_with_swapped_colours() -> bytes:
    """A valid ICC profile whose red primary is sRGB's green and the other way round.

    Pixels (255, 0, 0) therefore *look* green: whoever honours the profile returns (0, 255, 0).
    """
    red, green, blue = (0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
    white = (0.9642, 1.0, 0.8249)

    def xyz(values: tuple[float, float, float]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    words = b"swapped colours"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(words) + 1) + words + b"\0" + bytes(78)
    text = b"text\0\0\0\0none\0"
    tags = {
        b"desc": description + bytes(-len(description) % 4),
        b"cprt": text + bytes(-len(text) % 4),
        b"wtpt": xyz(white),
        b"rXYZ": xyz(green),
        b"gXYZ": xyz(red),
        b"bXYZ": xyz(blue),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(value))
        body += value
    size = 128 + len(table) + len(body)
    header = struct.pack(">I4xI4s4s4s", size, 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += b"".join(struct.pack(">i", round(v * 65536)) for v in white)
    return header + bytes(128 - len(header)) + table + body
