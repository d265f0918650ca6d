"""Any picture file becomes an upright 8-bit RGB array, or one clear line that says why not.

Order of work, cheapest and safest first: size on disk, first bytes against an allow-list (the
name's ending is not believed), header, pixel cap, memory cap, and only then decoding, by exactly the
decoder that the first bytes asked for. HEIC needs the extra `heic`.

**Notation**
    rgb     pixels     uint8 (H, W, 3), sRGB, upright, own memory
What is done is said in `Picture.notes`: turned upright, colours converted, alpha laid on white, 16
bits cut to 8, first frame of many taken, ending disagrees with content.
"""

from __future__ import annotations

import io
import os
import shlex
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vultus.core.errors import PictureError
from vultus.core.keys import content_id
from vultus.images.pixels import Converter, memory_needed, orientation_of, turned
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
    "printable",
]

FORMATS: Final = ("PNG", "JPEG", "WEBP", "AVIF", "HEIF", "TIFF", "BMP", "GIF", "PPM")
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
    ".heic": "HEIF",
    ".heif": "HEIF",
}
# Pictures to a person, but not to us: they are reported, not passed over in silence.
_FOREIGN: Final = frozenset(
    {".jxl", ".psd", ".svg", ".raw", ".dng", ".cr2", ".nef", ".arw", ".jp2"}
)
_CONVERT: Final = "convert it to PNG or JPEG, or move it out of the folder"
_HEIC_BRANDS: Final = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def load_picture(path: Path, caps: Caps | None = None) -> Picture:
    """Loads one file. Raises PictureError; nothing else, whatever the bytes are."""
    caps = caps or Caps()
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise _fault(path, "this is not a file", "a picture file", "name a picture instead")
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
            path,
            f"cannot be read ({error.strerror or error})",
            "a readable file",
            f"ls -l {shlex.quote(str(path))}",
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
    needed = memory_needed(kind, image.mode, width, height, len(data))
    if needed > caps.max_memory_bytes:
        raise _fault(
            path,
            f"{width} x {height} px would need {needed / 2**20:.0f} MiB to decode as {kind},"
            f" more than {caps.max_memory_bytes / 2**20:.0f} MiB",
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
    """The files of a folder that look like pictures by name, in name order, and all others (pipes and devices
    among them, whatever they are called). Hidden ones are skipped."""
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
                mine = (known or not path.suffix) and not _never_ends(path)
                (pictures if mine else others).append(path)
    return pictures, others


def printable(name: str) -> str:
    """A file's name as it may be shown: line ends, control characters and broken UTF-8 are escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def _never_ends(path: Path) -> bool:
    """Whether this is a pipe, a socket or a device: reading it may wait for ever."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False  # a broken link is told when it is read
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


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
        if brand in _HEIC_BRANDS:
            return "HEIF"
    raise _fault(
        path, "this is not a picture of a known format", f"one of {', '.join(FORMATS)}", _CONVERT
    )


def _open(data: bytes, kind: str, path: Path) -> Image.Image:
    """Reads the header, with this one decoder."""
    from PIL import Image, UnidentifiedImageError

    if kind == "HEIF":
        _register_heif(path)
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


def _register_heif(path: Path) -> None:
    """HEIC needs a library of its own: an extra, because its decoder is LGPL."""
    try:
        from pi_heif import register_heif_opener
    except ImportError as absence:
        raise _fault(
            path,
            "HEIC pictures are read only with the extra 'heic'",
            "pi-heif, or a picture in another format",
            "VULTUS_EXTRAS=heic make setup, or convert it to JPEG",
        ) from absence
    register_heif_opener(thumbnails=False)


def _to_rgb(image: Image.Image, notes: list[str]) -> Rgb:
    """Decodes the first frame and brings it to 8-bit sRGB, upright."""
    if bool(getattr(image, "is_animated", False)) and image.format != "MPO":
        notes.append("animated: only the first frame is used")
        image.seek(0)
    image.load()
    orientation = orientation_of(image)
    rgb = Converter(image, notes).rgb()
    image.close()
    return turned(rgb, orientation, notes)


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
