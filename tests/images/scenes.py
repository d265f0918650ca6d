"""Pictures with structure, made from named streams: as different from each other as photographs are."""

from __future__ import annotations

import io
import os
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from vultus.core.seeds import stream

__all__ = ["jpeg", "photographs", "scene"]

Rgb = npt.NDArray[np.uint8]


def scene(name: str, width: int = 320, height: int = 240) -> Rgb:
    """A picture with detail at every scale (a 1/f spectrum) and a hundred and sixty hard-edged shapes."""
    rng = stream("tests.images.scene", name)
    picture = np.zeros((height, width, 3), dtype=np.float32)
    for octave in range(1, 8):
        coarse = rng.uniform(-1, 1, (2**octave, 2**octave, 3)).astype(np.float32)
        picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) / octave
    rgb = np.clip(picture * 60 + 128, 0, 255).astype(np.uint8)
    for _ in range(160):
        x, y, r = (int(v) for v in rng.integers((0, 0, 2), (width, height, 14)))
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        if rng.random() < 0.5:
            cv2.circle(rgb, (x, y), r, colour, -1)
        else:
            cv2.rectangle(rgb, (x, y), (x + 2 * r, y + r), colour, -1)
    return rgb


def jpeg(rgb: Rgb, quality: int) -> Rgb:
    """The picture after a trip through JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        return np.array(image.convert("RGB"))


def photographs(folder: str, pattern: str, at_least: int) -> list[Path]:
    """Photographs of the team's shared folder, or a loud skip."""
    default = Path(__file__).resolve().parents[2] / ".." / "shared"
    place = Path(os.environ.get("VULTUS_SHARED", default)) / "photos" / folder
    found = sorted(place.glob(pattern))
    if not found:
        pytest.skip(f"shared photographs are absent: {place}/{pattern} (set VULTUS_SHARED)")
    assert len(found) >= at_least
    return found
