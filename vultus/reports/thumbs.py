"""Pictures on the page: shrunk, stripped of everything private, and embedded as text.

Notation
    rgb   pixels   uint8 (H, W, 3), upright
A thumbnail carries no EXIF (camera, place, time) of the original. A render's thumbnail carries the
XMP mark "made by a trained model", like the render itself. A picture that has gone since does not
stop a report: its place says so.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vultus.core.errors import PictureError

__all__ = ["Thumbs", "jpeg_bytes"]

THUMB_PX = 224
"""Longer side: sharp on a phone's dense screen at the 112 px where most of them are shown."""

JPEG_QUALITY = 85


class Thumbs:
    """Data URIs by picture, each made once; `missing` counts the pictures that were gone."""

    def __init__(self, long_side_px: int = THUMB_PX) -> None:
        self._long_side_px = long_side_px
        self._made: dict[tuple[Path, bool], tuple[str, int, int] | None] = {}

    @property
    def missing(self) -> int:
        """How many pictures could not be read."""
        return sum(made is None for made in self._made.values())

    def uri(self, path: Path, *, generated: bool) -> tuple[str, int, int] | None:
        """`data:image/jpeg;base64,...`, width and height; None when the picture is unreadable."""
        key = (path, generated)
        if key not in self._made:
            self._made[key] = self._make(path, generated)
        return self._made[key]

    def _make(self, path: Path, generated: bool) -> tuple[str, int, int] | None:
        from vultus.images.geometry import fit_within
        from vultus.images.load import load_picture

        try:
            rgb = load_picture(path).rgb
        except PictureError:
            return None
        if max(rgb.shape[:2]) > self._long_side_px:
            rgb, _ = fit_within(rgb, self._long_side_px)
        data = base64.b64encode(jpeg_bytes(rgb, generated=generated)).decode("ascii")
        return f"data:image/jpeg;base64,{data}", int(rgb.shape[1]), int(rgb.shape[0])


def jpeg_bytes(rgb: NDArray[np.uint8], *, generated: bool) -> bytes:
    """A small JPEG without colour subsampling: at thumbnail size it would smear lips and eyes."""
    from PIL import Image

    from vultus.images.write import xmp_packet

    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(rgb))
    options = {"xmp": xmp_packet().encode("utf-8")} if generated else {}
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True, **options)
    return buffer.getvalue()
