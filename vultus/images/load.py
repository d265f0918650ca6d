"""Any picture file becomes an upright 8-bit RGB array, or one clear line that says why not.

Order of work, cheapest and safest first: size on disk, first bytes against an allow-list (the
name's ending is not believed), header, pixel cap, and only then decoding, by exactly the decoder
that the first bytes asked for.

**Notation**
    rgb     pixels     uint8 (H, W, 3), sRGB, upright, own memory
What is done is said in `Picture.notes`: turned upright, colours converted, alpha laid on white, 16
bits cut to 8, first frame of many taken, ending disagrees with content.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from vultus.core.errors import PictureError
from vultus.core.keys import content_id
from vultus.images.records import Caps, FolderLoad, Picture, PictureFault, Rgb

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "FORMATS",
    "decode_picture",
    "iter_folder",
    "list_pictures",
    "load_folder",
    "load_picture",
]

FORMATS: Final = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM")
_ENDINGS: Final = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".pgm": "PPM",
    ".ppm": "PPM",
    ".pnm": "PPM",
}
# Pictures to a person, but not to us: they are reported, not passed over in silence.
_FOREIGN: Final = frozenset(
    {".heic", ".heif", ".jxl", ".psd", ".svg", ".raw", ".dng", ".cr2", ".nef", ".arw", ".jp2"}
)
_CONVERT: Final = "convert it to PNG or JPEG, or move it out of the folder"
_TRANSPOSE: Final = {
    2: 0,
    3: 3,
    4: 1,
    5: 5,
    6: 4,
    7: 6,
    8: 2,
}  # EXIF orientation -> Image.Transpose
_EXIF_ORIENTATION: Final = 0x0112


def load_picture(path: Path, caps: Caps | None = None) -> Picture:
    """Loads one file. Raises PictureError; nothing else, whatever the bytes are."""
    caps = caps or Caps()
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise _fault(path, "this is not a file", "a picture file")
        if size > caps.max_bytes:
            raise _fault(
                path,
                f"the file has {size / 2**20:.0f} MiB, more than {caps.max_bytes / 2**20:.0f} MiB",
                "a smaller file",
                "save it smaller (longer side 4096 px is plenty)",
            )
        data = path.read_bytes()
    except OSError as error:
        raise _fault(
            path, f"cannot be read ({error.strerror or error})", "a readable file"
        ) from error
    return decode_picture(data, path, caps)


def decode_picture(data: bytes, path: Path, caps: Caps | None = None) -> Picture:
    """The same for bytes in memory; `path` only names them. Mutes the warnings of all threads."""
    with warnings.catch_warnings():
        # Decoders warn about bombs and odd tags; our caps are lower, and faults become errors here.
        warnings.simplefilter("ignore")
        return _decode(data, path, caps or Caps())


def _decode(data: bytes, path: Path, caps: Caps) -> Picture:
    kind = _sniff(data, path)
    notes: list[str] = []
    claimed = _ENDINGS.get(path.suffix.lower())
    if claimed is not None and claimed != kind:
        notes.append(f"is a {kind} file although its name ends in {path.suffix}")
    image = _open(data, kind, path)
    width, height = image.size
    if width * height > caps.max_pixels:
        raise _fault(
            path,
            f"{width} x {height} px is more than {caps.max_pixels / 1e6:.0f} million pixels",
            "a smaller picture",
            "scale it down (longer side 4096 px is plenty)",
        )
    if min(width, height) < caps.min_side_px:
        raise _fault(
            path,
            f"{width} x {height} px is too small",
            f"at least {caps.min_side_px} px on the shorter side",
            "remove it",
        )
    try:
        rgb = _to_rgb(image, notes)
    except PictureError as error:
        raise _fault(path, error.what, error.expected, error.next_command) from error
    except (
        Exception
    ) as error:  # decoders raise anything on hostile bytes; all of it means one thing
        raise _broken(path, kind, error) from error
    shown = (rgb.shape[1], rgb.shape[0])
    return Picture(rgb, path, content_id(data), tuple(notes), kind, shown)


def list_pictures(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of a folder that look like pictures by name, in name order, and all others. Hidden
    ones are skipped."""
    if not folder.is_dir():
        raise PictureError(
            "there is no such folder" if not folder.exists() else "this is not a folder",
            where=str(folder),
            expected="a folder of pictures",
            next_command=f"ls {folder.parent}",
        )
    pictures: list[Path] = []
    others: list[Path] = []
    for root, folders, files in os.walk(folder, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(root, name)
            known = path.suffix.lower() in _ENDINGS or path.suffix.lower() in _FOREIGN
            if not name.startswith("."):
                (pictures if known or not path.suffix else others).append(path)
    return pictures, others


def iter_folder(folder: Path, caps: Caps | None = None) -> Iterator[Picture | PictureFault]:
    """One picture at a time, so that a folder of any size fits in memory."""
    for path in list_pictures(folder)[0]:
        try:
            yield load_picture(path, caps)
        except PictureError as error:
            yield PictureFault(path, error.what, error.next_command)


def load_folder(folder: Path, caps: Caps | None = None) -> FolderLoad:
    """All good pictures in memory (3 bytes a pixel: a hundred 12 MP pictures are 3.6 GB; see
    `iter_folder`)."""
    loaded = list(iter_folder(folder, caps))
    return FolderLoad(
        tuple(p for p in loaded if isinstance(p, Picture)),
        tuple(p for p in loaded if isinstance(p, PictureFault)),
        tuple(list_pictures(folder)[1]),
    )


def _sniff(data: bytes, path: Path) -> str:
    """The format by the first bytes; anything else is refused before a decoder sees it."""
    head = data[:32]
    if not head:
        raise _fault(path, "the file is empty", "a picture", "remove it")
    starts = {
        b"\x89PNG\r\n\x1a\n": "PNG",
        b"\xff\xd8\xff": "JPEG",
        b"GIF8": "GIF",
        b"BM": "BMP",
        b"II*\x00": "TIFF",
        b"MM\x00*": "TIFF",
        b"P5": "PPM",
        b"P6": "PPM",
    }
    for start, kind in starts.items():
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in (b"avif", b"avis"):
            return "AVIF"
        if brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
            raise _fault(
                path, "HEIC pictures are not read", f"one of {', '.join(FORMATS)}", _CONVERT
            )
    raise _fault(
        path, "this is not a picture of a known format", f"one of {', '.join(FORMATS)}", _CONVERT
    )


def _open(data: bytes, kind: str, path: Path) -> Image.Image:
    """Reads the header, with this one decoder."""
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(data), formats=[kind])
    except Image.DecompressionBombError as error:
        raise _fault(
            path, "the picture has far too many pixels", "a smaller picture", "scale it down"
        ) from error
    except UnidentifiedImageError as error:
        raise _fault(
            path, f"starts like {kind} but has no readable header", "a whole file", _CONVERT
        ) from error
    except Exception as error:
        raise _broken(path, kind, error) from error


def _to_rgb(image: Image.Image, notes: list[str]) -> Rgb:
    """Decodes and applies, in this order: first frame, 8 bits, profile, alpha, EXIF turn."""
    if bool(getattr(image, "is_animated", False)) and image.format != "MPO":
        notes.append("animated: only the first frame is used")
        image.seek(0)
    image.load()
    orientation = _orientation(image)
    profile = image.info.get("icc_profile")
    image = _eight_bits(image, notes)
    image = _flatten(image, notes)
    if profile:
        image = _to_srgb(image, profile, notes)
    if image.mode != "RGB":
        notes.append(f"converted from {image.mode}")
        image = image.convert("RGB")
    if orientation in _TRANSPOSE:
        from PIL.Image import Transpose

        image = image.transpose(Transpose(_TRANSPOSE[orientation]))
        notes.append(f"turned upright (EXIF orientation {orientation})")
    return np.array(image, dtype=np.uint8, order="C")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 when absent or damaged: a broken tag must not cost the picture."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except (ValueError, TypeError, KeyError, SyntaxError, OSError, struct.error, ZeroDivisionError):
        return 1


def _eight_bits(image: Image.Image, notes: list[str]) -> Image.Image:
    """16-bit grey to 8 bits by the range of its type, never by its content: equal files stay
    equal."""
    from PIL import Image as Images

    if image.mode == "F":
        raise PictureError(
            "floating-point pixels have no agreed white",
            expected="8 or 16 bits a channel",
            next_command=_CONVERT,
        )
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    wide = np.asarray(image).astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise PictureError(
            "pixels of more than 16 bits", expected="8 or 16 bits", next_command=_CONVERT
        )
    notes.append("16 bits reduced to 8")
    return Images.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))


def _flatten(image: Image.Image, notes: list[str]) -> Image.Image:
    """Transparent parts become white, as a person sees them on a page."""
    from PIL import Image as Images

    if image.mode == "P" or image.mode == "PA":
        image = image.convert(
            "RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB"
        )
    elif image.mode in ("RGB", "L", "1") and "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode in ("LA", "La", "RGBa"):
        image = image.convert("RGBA") if image.mode != "La" else image.convert("LA").convert("RGBA")
    if image.mode != "RGBA":
        return image
    alpha = image.getchannel("A")
    page = Images.new("RGB", image.size, (255, 255, 255))
    page.paste(image.convert("RGB"), mask=alpha)
    if alpha.getextrema() != (255, 255):
        notes.append("transparent parts laid on white")
    return page


def _to_srgb(image: Image.Image, profile: bytes, notes: list[str]) -> Image.Image:
    """Colours by the embedded profile. A damaged or foreign profile is said and ignored."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if "srgb" in name.lower() and image.mode == "RGB":
            return image
        target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        turned = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        notes.append("colour profile unreadable, ignored")
        return image
    notes.append(f"colours converted from {name or 'an unnamed profile'} to sRGB")
    return image if turned is None else turned


def _unreadable(error: OSError) -> None:
    raise PictureError(
        f"cannot be opened ({error.strerror})",
        where=str(error.filename),
        expected="a readable folder",
    ) from error


def _fault(path: Path, what: str, expected: str, next_command: str = "") -> PictureError:
    return PictureError(what, where=str(path), expected=expected, next_command=next_command)


def _broken(path: Path, kind: str, error: Exception) -> PictureError:
    if isinstance(error, MemoryError):
        return _fault(path, "does not fit into memory", "a smaller picture", "scale it down")
    words = " ".join(str(error).split())[:120] or type(error).__name__
    return _fault(
        path,
        f"damaged {kind} file ({words})",
        "a whole file",
        "copy it again from its source, or remove it",
    )
