"""Every picture this program makes is written here, so that every one says what it is.

A render carries an XMP packet with IPTC's DigitalSourceType `trainedAlgorithmicMedia` ("created by
a trained model"), the marking that IPTC, C2PA and the large platforms agree on, and text entries
for the program's own notes. The bytes depend on pixels and text alone (no time stamp), so equal
renders are one blob.

**Notation**
    rgb     pixels     uint8 (H, W, 3)
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

import numpy as np

from vultus.core.errors import PictureError
from vultus.core.files import write_bytes
from vultus.core.keys import content_id
from vultus.images.records import Rgb

__all__ = ["AI_SOURCE_TYPE", "png_bytes", "read_png_text", "save_png", "xmp_packet"]

AI_SOURCE_TYPE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_XMP_KEY: Final = "XML:com.adobe.xmp"


def save_png(
    path: Path, rgb: Rgb, text: Mapping[str, str] | None = None, *, xmp_ai: bool = True
) -> str:
    """Writes a PNG in one piece (beside, synced, renamed) and returns the content id of its bytes.

    `xmp_ai` = False is for pictures that no model made: thumbnails of the user's own originals,
    figures.
    """
    data = png_bytes(rgb, text, xmp_ai=xmp_ai)
    write_bytes(path, data)
    return content_id(data)


def png_bytes(rgb: Rgb, text: Mapping[str, str] | None = None, *, xmp_ai: bool = True) -> bytes:
    """The same as bytes. Text keys are 1-79 printable ASCII characters, values any text."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise PictureError(
            f"cannot write an array {rgb.dtype} {rgb.shape} as a picture",
            expected="uint8 (H, W, 3), RGB",
        )
    entries = PngInfo()
    for key, value in (text or {}).items():
        if not (1 <= len(key) <= 79 and key.isascii() and key.isprintable()) or key == _XMP_KEY:
            raise PictureError(
                f"{key!r} cannot name a text entry of a PNG", expected="1-79 ASCII characters"
            )
        entries.add_itxt(key, value)
    if xmp_ai:
        entries.add_itxt(_XMP_KEY, xmp_packet())
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(
        buffer, "PNG", pnginfo=entries, compress_level=6
    )
    return buffer.getvalue()


def read_png_text(path: Path) -> dict[str, str]:
    """The text entries of a PNG, the XMP packet under its own key."""
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.load()
            entries = getattr(image, "text", {})
    except (OSError, SyntaxError, ValueError) as error:
        raise PictureError(
            "its text entries cannot be read", where=str(path), expected="a PNG file"
        ) from error
    return {str(key): str(value) for key, value in entries.items()}


def xmp_packet(creator_tool: str = "Vultus") -> str:
    """The XMP packet of a generated picture."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about=""'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/">'
        f"<Iptc4xmpExt:DigitalSourceType>{AI_SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
        f"<xmp:CreatorTool>{escape(creator_tool)}</xmp:CreatorTool>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="r"?>'
    )
