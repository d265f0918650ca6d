"""What duplicates are found by: the print of one picture, small enough that ten thousand fit on a disk.

**Notation**
    hashes     plain and mirrored perceptual hash, 256 bits each              `images.hashing`
    features   SIFT key points, strongest first, RootSIFT descriptors          `images.matching`
    small      brightness at SMALL_PX, to be laid over another                 uint8 (h, w)
    packed     descriptors as round(512 x), cut at 255                         uint8 (n, 128)

A print is a fact of the picture's bytes: it is measured once (`KIND` names the recipe) and remembered by content id.
Packed descriptors differ from their originals by a cosine of less than 0.001. A print takes 20 to 90 KB.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from vultus.datasets.overlay import Grey, shrink
from vultus.images.geometry import Frame
from vultus.images.hashing import Hashes, hash_picture
from vultus.images.matching import Features, extract
from vultus.images.quality import sharpness
from vultus.images.records import Rgb

if TYPE_CHECKING:
    from vultus.datasets.library import Library

__all__ = [
    "KIND",
    "Print",
    "colourfulness",
    "colours_of",
    "measure_print",
    "measure_prints",
    "pack",
    "packed_parts",
    "unpack",
    "unpacked_rows",
    "workers",
]

KIND: Final = "print/2"
COLOUR: Final = "colour/1"
COLOUR_PX: Final = 128
BATCH: Final = 16
_HEAD: Final = "<4sHHHddff"
_MAGIC: Final = b"VPR2"
_STEPS: Final = 512.0


@dataclass(frozen=True, eq=False)
class Print:
    """One picture, as far as finding its copies goes."""

    hashes: Hashes
    features: Features
    small: Grey
    sharpness: float
    """0..1 of the whole picture (`images.quality.sharpness`): an enlarged copy is less sharp than its original"""


def measure_print(rgb: Rgb) -> Print:
    """Measure one picture; 40-80 ms at one thread."""
    return Print(hash_picture(rgb), extract(rgb), shrink(rgb), sharpness(rgb))


def measure_prints(library: Library, follow: Callable[[int, int], None]) -> None:
    """Measure every picture of a dataset that has no print yet, on all cores, and remember it.

    SIFT and decoders leave Python's lock, so threads do; a batch is committed every few seconds.
    """
    known = library.measured(KIND)
    todo = {entry.content_id for entry in library.entries() if not entry.derived}
    waiting = [one for one in sorted(todo) if one not in known]
    done = len(todo) - len(waiting)
    follow(done, len(todo))
    with ThreadPoolExecutor(max_workers=workers()) as pool:
        for start in range(0, len(waiting), BATCH):
            batch = waiting[start : start + BATCH]
            made = pool.map(lambda one: pack(measure_print(library.picture(one).rgb)), batch)
            library.remember(KIND, dict(zip(batch, made, strict=True)))
            done += len(batch)
            follow(done, len(todo))


def colourfulness(rgb: Rgb) -> float:
    """Mean distance of a pixel's strongest channel to its weakest, 0..1; 0 for a grey copy."""
    some = rgb[:: max(1, rgb.shape[0] // COLOUR_PX), :: max(1, rgb.shape[1] // COLOUR_PX)]
    return float((some.max(axis=2) - some.min(axis=2)).mean() / 255.0)


def colours_of(library: Library, content_ids: Iterable[str]) -> dict[str, float]:
    """How colourful pictures are (`colourfulness`); asked only of those that repeat another one."""
    wanted = sorted(content_ids)
    known = library.recall(COLOUR, wanted)
    missing = [one for one in wanted if one not in known]
    with ThreadPoolExecutor(max_workers=workers()) as pool:
        shades = pool.map(lambda one: colourfulness(library.picture(one).rgb), missing)
        fresh = {one: struct.pack("<d", shade) for one, shade in zip(missing, shades, strict=True)}
    library.remember(COLOUR, fresh)
    return {one: float(struct.unpack("<d", data)[0]) for one, data in (known | fresh).items()}


def workers() -> int:
    """How many threads serve best: one per core that this process may use, up to eight."""
    import os

    return max(1, min(8, len(os.sched_getaffinity(0))))


def pack(one: Print) -> bytes:
    """The print as bytes: a head, the bits, points, descriptors, the small copy as a good JPEG."""
    from PIL import Image

    rows = np.minimum(np.rint(one.features.descriptors * _STEPS), 255).astype(np.uint8)
    picture = io.BytesIO()
    Image.fromarray(one.small).save(picture, "JPEG", quality=95)
    head = struct.pack(
        _HEAD,
        _MAGIC,
        len(rows),
        one.features.width_px,
        one.features.height_px,
        one.features.frame.scale_x,
        one.features.frame.scale_y,
        one.hashes.quality,
        one.sharpness,
    )
    bits = np.packbits(np.concatenate([one.hashes.plain, one.hashes.mirrored])).tobytes()
    points = one.features.points.astype("<f4").tobytes()
    return b"".join([head, bits, points, rows.tobytes(), picture.getvalue()])


def unpack(data: bytes) -> Print:
    """The inverse of `pack`, to the precision of the packing."""
    from PIL import Image

    size = struct.calcsize(_HEAD)
    magic, n, width, height, scale_x, scale_y, quality, sharp = struct.unpack(_HEAD, data[:size])
    if magic != _MAGIC:
        raise ValueError("not a packed print")
    bits = np.unpackbits(np.frombuffer(data, np.uint8, 64, size)).astype(np.bool_)
    place = size + 64
    points = np.frombuffer(data, "<f4", 2 * n, place).reshape(n, 2).astype(np.float32)
    place += 8 * n
    rows = unpacked_rows(np.frombuffer(data, np.uint8, 128 * n, place).reshape(n, 128))
    with Image.open(io.BytesIO(data[place + 128 * n :]), formats=["JPEG"]) as image:
        small = np.array(image.convert("L"))
    features = Features(points, rows, Frame(scale_x, scale_y, 0.0, 0.0), width, height)
    return Print(Hashes(bits[:256], bits[256:], float(quality)), features, small, float(sharp))


def unpacked_rows(packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Descriptors of unit length again."""
    rows = packed.astype(np.float32)
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return np.asarray(unit, dtype=np.float32)


def packed_parts(data: bytes) -> tuple[Hashes, npt.NDArray[np.uint8]]:
    """Hashes and packed descriptors only: what the search for neighbours reads of ten thousand prints."""
    size = struct.calcsize(_HEAD)
    _, n, _, _, _, _, quality, _ = struct.unpack(_HEAD, data[:size])
    bits = np.unpackbits(np.frombuffer(data, np.uint8, 64, size)).astype(np.bool_)
    rows = np.frombuffer(data, np.uint8, 128 * n, size + 64 + 8 * n).reshape(n, 128)
    return Hashes(bits[:256], bits[256:], float(quality)), rows
