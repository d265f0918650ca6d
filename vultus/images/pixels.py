"""From a decoder's pixels to ours: 8 bits, sRGB, no alpha, upright, in bands of rows.

A whole picture converted step by step holds four copies at a time; in bands of BAND_ROWS the peak
is the decoder's own memory plus our array. `memory_needed` says how much that is before anything is
decoded.

**Notation**
    image     the decoder's picture     any of Pillow's modes, as stored in the file
    rgb       the result                uint8 (H, W, 3), sRGB, upright
    bytes_px  memory at the worst moment, bytes a pixel, measured with 12 and 24 MP files of each
              format (tests/images/ordeal.py) and rounded up
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vultus.core.errors import PictureError
from vultus.images.records import Rgb

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Converter", "memory_needed", "orientation_of", "turned"]

BAND_ROWS: Final = 256
EXIF_ORIENTATION: Final = 0x0112
_CONVERT: Final = "convert it to PNG or JPEG, or move it out of the folder"

# What the decoder holds beside Pillow's picture, bytes a pixel.
_DECODER_BYTES_PX: Final = {
    "PNG": 1.0,
    "JPEG": 7.0,
    "WEBP": 13.0,
    "AVIF": 11.0,
    "HEIF": 11.0,
    "TIFF": 5.0,
    "GIF": 5.0,
    "BMP": 1.0,
    "PPM": 5.0,
}
_ONE_BYTE: Final = ("1", "L", "P")


def memory_needed(kind: str, mode: str, width: int, height: int, file_bytes: int) -> int:
    """Bytes at the worst moment of decoding, from the header alone."""
    held = 1.0 if mode in _ONE_BYTE else 2.0 if mode.startswith("I;16") else 4.0
    # Our array and, where EXIF turns the picture, its upright copy.
    return round(width * height * (held + _DECODER_BYTES_PX[kind] + 6.0)) + file_bytes


class Converter:
    """Turns bands of one decoded picture into sRGB rows, and says in `notes` what it did."""

    def __init__(self, image: Image.Image, notes: list[str]) -> None:
        self._image = image
        self._notes = notes
        self._transparent = False
        self._profile: bytes | None = image.info.get("icc_profile")
        self._transform: Any = None
        self._tried_profile = False

    def rgb(self) -> Rgb:
        """The whole picture as stored (not yet turned upright)."""
        width, height = self._image.size
        out = np.empty((height, width, 3), dtype=np.uint8)
        for top in range(0, height, BAND_ROWS):
            bottom = min(height, top + BAND_ROWS)
            band = self._image.crop((0, top, width, bottom))
            out[top:bottom] = np.asarray(self._band(band))
        if self._transparent:
            self._note("transparent parts laid on white")
        return out

    def _band(self, band: Image.Image) -> Image.Image:
        band = self._flatten(self._eight_bits(band))
        if self._profile:
            band = self._to_srgb(band)
        if band.mode != "RGB":
            self._note(f"converted from {band.mode}")
            band = band.convert("RGB")
        return band

    def _note(self, words: str) -> None:
        if words not in self._notes:
            self._notes.append(words)

    def _eight_bits(self, band: Image.Image) -> Image.Image:
        """16-bit grey to 8 bits by the range of its type, never by its content: equal files stay
        equal."""
        from PIL import Image as Images

        if band.mode == "F":
            raise PictureError(
                "floating-point pixels have no agreed white",
                expected="8 or 16 bits a channel",
                next_command=_CONVERT,
            )
        if band.mode != "I" and not band.mode.startswith("I;16"):
            return band
        wide = np.asarray(band).astype(np.int64)
        if wide.min() < 0 or wide.max() > 65535:
            raise PictureError(
                "pixels of more than 16 bits", expected="8 or 16 bits", next_command=_CONVERT
            )
        self._note("16 bits reduced to 8")
        return Images.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))

    def _flatten(self, band: Image.Image) -> Image.Image:
        """Transparent parts become white, as a person sees them on a page."""
        from PIL import Image as Images

        see_through = "transparency" in self._image.info
        if see_through and "transparency" not in band.info:
            band.info["transparency"] = self._image.info["transparency"]
        if band.mode in ("P", "PA"):
            band = band.convert("RGBA" if see_through or band.mode == "PA" else "RGB")
        elif band.mode in ("RGB", "L", "1") and see_through:
            band = band.convert("RGBA")
        elif band.mode in ("LA", "La", "RGBa"):
            band = band.convert("RGBA") if band.mode != "La" else band.convert("LA").convert("RGBA")
        if band.mode != "RGBA":
            return band
        alpha = band.getchannel("A")
        page = Images.new("RGB", band.size, (255, 255, 255))
        page.paste(band.convert("RGB"), mask=alpha)
        self._transparent |= alpha.getextrema() != (255, 255)
        return page

    def _to_srgb(self, band: Image.Image) -> Image.Image:
        """Colours by the embedded profile. A damaged or foreign profile is said and ignored."""
        from PIL import ImageCms

        if not self._tried_profile:
            self._tried_profile = True
            try:
                self._transform = self._transform_for(band.mode)
            except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
                self._note("colour profile unreadable, ignored")
        if self._transform is None:
            return band
        turned_band = ImageCms.applyTransform(band, self._transform)
        return band if turned_band is None else turned_band

    def _transform_for(self, mode: str) -> Any:
        from PIL import ImageCms

        assert self._profile is not None
        source = ImageCms.ImageCmsProfile(io.BytesIO(self._profile))
        name = ImageCms.getProfileDescription(source).strip()
        if "srgb" in name.lower() and mode == "RGB":
            return None
        target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        transform = ImageCms.buildTransform(source, target, mode, "RGB")
        self._note(f"colours converted from {name or 'an unnamed profile'} to sRGB")
        return transform


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 when absent or damaged: a broken tag must not cost the picture."""
    try:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except (ValueError, TypeError, KeyError, SyntaxError, OSError, struct.error, ArithmeticError):
        return 1


def turned(rgb: Rgb, orientation: int, notes: list[str]) -> Rgb:
    """The picture upright, in its own memory; EXIF counts eight ways to hold a camera."""
    ways = {
        2: rgb[:, ::-1],
        3: rgb[::-1, ::-1],
        4: rgb[::-1],
        5: rgb.transpose(1, 0, 2),
        6: rgb.transpose(1, 0, 2)[:, ::-1],
        7: rgb[::-1, ::-1].transpose(1, 0, 2),
        8: rgb.transpose(1, 0, 2)[::-1],
    }
    if orientation not in ways:
        return rgb
    notes.append(f"turned upright (EXIF orientation {orientation})")
    return np.ascontiguousarray(ways[orientation])
