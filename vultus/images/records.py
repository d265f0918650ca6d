"""A picture as the rest of the program sees it: upright, three channels, eight bits.

**Notation**
    rgb              pixels                       uint8 (H, W, 3), sRGB, upright, own memory
    original_size    the picture as it was stored (width_px, height_px), upright
    content_id       "sha256:<hex>" of the file's bytes (not of the pixels: images.hashing.pixel_id)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["Caps", "FolderLoad", "Picture", "PictureFault", "Rgb"]

Rgb = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Caps:
    """How much one file may cost before anything is decoded.

    A 64 MP camera picture passes as JPEG or PNG. `max_memory_bytes` is compared with what decoding
    would hold at its worst moment (`pixels.memory_needed`, by format and kind of pixels).
    """

    max_bytes: int = 256 * 1024 * 1024
    max_pixels: int = 64 * 1024 * 1024
    max_memory_bytes: int = 1280 * 1024 * 1024
    min_side_px: int = 16


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture with everything that was done to it on the way (`notes`, words for
    people)."""

    rgb: Rgb
    path: Path
    content_id: str
    notes: tuple[str, ...]
    format: str
    original_size: tuple[int, int]


@dataclass(frozen=True)
class PictureFault:
    """A file of a folder that could not be used: which, why, and what to do about it."""

    path: Path
    reason: str
    next_command: str


@dataclass(frozen=True, eq=False)
class FolderLoad:
    """The good pictures of a folder in name order, the bad ones with their reasons, and what was
    passed over."""

    pictures: tuple[Picture, ...]
    faults: tuple[PictureFault, ...]
    passed_over: tuple[Path, ...]
