"""Folders and zip files become the pictures of a dataset folder; the originals are only ever read.

    read once -> content id -> decode (format allow-list, caps) -> what the file says about itself -> keep -> one row

A picture that is there already (same name, same bytes, same caption) is not decoded again: that is how a killed
ingest goes on. Rows are committed with their bytes safely stored before them, READ_BATCH pictures at a time.
Names are paths below the source; when two sources use one name for different pictures, the second one's pictures
are named below the name of their source. A name whose picture came with an earlier command keeps that picture,
unless the user says --replace; words that a picture came with are kept where its .txt is gone.

Lineage is taken from three places: the project's own making (`Library.derive`), "Vultus-Parent" written by this
project into a picture it exported, and XMP DerivedFrom/OriginalDocumentID of editors. Only the first two exempt a
picture from being judged a duplicate, and only where the parent is a picture of this dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count
from pathlib import Path, PurePosixPath

from vultus.core.errors import DatasetError, PictureError
from vultus.core.keys import content_id
from vultus.datasets.archive import Archive, fault_of_name, open_archive
from vultus.datasets.captions import words_beside, words_of
from vultus.datasets.library import Library
from vultus.datasets.listing import refuse_missing
from vultus.datasets.records import Entry, Lineage
from vultus.images.hashing import pixel_id
from vultus.images.load import decode_picture, list_pictures, printable
from vultus.images.metadata import png_texts, read_origin
from vultus.images.records import Caps

__all__ = [
    "PARENT_TEXT",
    "Found",
    "Intake",
    "Refused",
    "ingest_sources",
    "look_into",
    "refuse_absent",
]

READ_BATCH = 16
PARENT_TEXT = "Vultus-Parent"
"""PNG text of a derived view: "<how> <content id of the parent>"."""


@dataclass(frozen=True)
class Found:
    """One file of a source that may be a picture: its name, and how to read it and its caption.

    `caption` raises ValueError where words are there that cannot be used. `below` is the name of the source.
    """

    name: str
    read: Callable[[], bytes]
    caption: Callable[[], str]
    below: str


@dataclass(frozen=True)
class Refused:
    """A file that is not in the dataset, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Intake:
    """What came of an ingest: how many are new, how many were there, what was refused or passed over.

    `unread` are caption files that count as none; `renamed` pairs the name of a file with the one it is kept under.
    """

    added: int
    known: int
    refused: tuple[Refused, ...]
    passed_over: tuple[str, ...]
    unread: tuple[Refused, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()


def ingest_sources(
    library: Library,
    sources: Sequence[Path],
    follow: Callable[[int, int], None] = lambda done, of: None,
    *,
    replace_them: bool = False,
) -> Intake:
    """Bring every picture of folders, zip files and single files into the dataset.

    `follow(done, of)` hears of each picture. Raises DatasetError when a source is missing or hostile, or when not
    one picture could be read; a damaged picture among good ones is only told. With `replace_them` a picture takes the
    place of another one that has its name.
    """
    with ExitStack() as open_sources, library.at_work():
        found: list[Found] = []
        passed_over: list[str] = []
        for source in sources:
            mine, others = look_into(source, open_sources)
            found += _apart(mine, found, source)
            passed_over += others
        outcome = _take(library, found, passed_over, follow, replace_them)
        if not library.entries():
            raise _nothing(sources, outcome)
        library.write_stage(
            "ingest",
            {
                "digest": library.digest(),
                "pictures": len(library.entries()),
                "refused": [[one.name, one.reason] for one in outcome.refused],
                "passed_over": list(outcome.passed_over),
                "captions_unread": [[one.name, one.reason] for one in outcome.unread],
                "renamed": [list(pair) for pair in outcome.renamed],
            },
        )
    return outcome


def refuse_absent(sources: Sequence[Path]) -> None:
    """Raise DatasetError when a source is neither a file nor a folder."""
    for source in sources:
        if not source.is_file():
            refuse_missing(source)


def look_into(source: Path, open_sources: ExitStack) -> tuple[list[Found], list[str]]:
    """List what a source holds: files that may be pictures, and the names of those that are not."""
    if source.is_file():
        if source.suffix.lower() == ".zip":
            archive = open_sources.enter_context(open_archive(source))
            return _in_archive(archive)
        return [_in_folder(source, source.parent)], []
    refuse_missing(source)
    pictures, others = list_pictures(source)
    told = [p.relative_to(source).as_posix() for p in others if p.suffix.lower() != ".txt"]
    return [_in_folder(path, source) for path in pictures], told


def _in_folder(path: Path, folder: Path) -> Found:
    def read() -> bytes:
        try:
            if path.stat().st_size > Caps().max_bytes:
                raise PictureError("the file is larger than any picture", where=str(path))
            return path.read_bytes()
        except OSError as fault:
            raise PictureError(f"cannot be read ({fault.strerror})", where=str(path)) from fault

    def caption() -> str:
        return words_beside(path.with_suffix(".txt"))

    return Found(path.relative_to(folder).as_posix(), read, caption, _below(folder))


def _in_archive(archive: Archive) -> tuple[list[Found], list[str]]:
    names = set(archive.names())
    found, others = [], []
    for name in archive.names():
        path = PurePosixPath(name)
        if any(part.startswith((".", "__MACOSX")) for part in path.parts):
            continue
        if path.suffix.lower() in _PICTURES:
            words = path.with_suffix(".txt").as_posix()
            caption = _caption_of(archive, words if words in names else "")
            read = partial(archive.read, name)
            found.append(Found(name, read, caption, _below(archive.path)))
        elif path.suffix.lower() != ".txt":
            others.append(name)
    return found, others


def _caption_of(archive: Archive, name: str) -> Callable[[], str]:
    def caption() -> str:
        return words_of(archive.read(name)) if name else ""

    return caption


_PICTURES = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".jfif",
        ".webp",
        ".avif",
        ".tif",
        ".tiff",
        ".bmp",
        ".gif",
        ".pgm",
        ".ppm",
        ".pnm",
        ".heic",
        ".heif",
        ".jxl",
    ]
)


def _apart(mine: list[Found], taken: list[Found], source: Path) -> list[Found]:
    """Give a later source's pictures a prefix when one of their names is taken."""
    names = {one.name for one in taken}
    if not any(one.name in names for one in mine):
        return mine
    prefix, n = _below(source), 2
    while any(f"{prefix}/{one.name}" in names for one in mine):
        prefix, n = f"{_below(source)}-{n}", n + 1
    return [replace(one, name=f"{prefix}/{one.name}") for one in mine]


def _below(source: Path) -> str:
    """What a source's pictures are named below where their own names are taken."""
    stems = (source.stem, source.resolve().stem)
    return next((stem for stem in stems if not fault_of_name(stem)), "more")


def _placed(one: Found, content: str, there: Mapping[str, Entry]) -> str:
    """The name a picture is kept under: its own, unless another picture has it."""
    plain = one.name.removeprefix(f"{one.below}/")
    if plain in there and there[plain].content_id == content:
        return plain
    marks = chain([""], (f"-{n}" for n in count(2)))
    tried = [one.name]
    while tried[-1] in there:
        if there[tried[-1]].content_id == content:
            return tried[-1]
        tried.append(f"{one.below}{next(marks)}/{one.name}")
    return tried[-1]


def _take(
    library: Library,
    found: Sequence[Found],
    passed_over: list[str],
    follow: Callable[[int, int], None],
    replace_them: bool,
) -> Intake:
    there = {entry.name: entry for entry in library.entries()}
    refused: list[Refused] = []
    unread: list[Refused] = []
    renamed: list[tuple[str, str]] = []
    waiting: list[Entry] = []
    added = known = 0
    for position, one in enumerate(sorted(found, key=lambda f: f.name)):
        fault = fault_of_name(one.name)
        if fault:
            refused.append(Refused(ascii(one.name)[1:-1], fault))
            continue
        try:
            data = one.read()
            caption, why = _words(one)
            name = one.name if replace_them else _placed(one, content_id(data), there)
            if why:
                unread.append(Refused(PurePosixPath(one.name).with_suffix(".txt").as_posix(), why))
            before = there.get(name)
            if before and before.content_id != content_id(data):
                before = None  # exchanged by the user's word
            if before and not caption:
                caption = (
                    before.caption
                )  # a .txt that is gone or cannot be read takes no words away
            if before and before.caption == caption:
                library.blobs.heal(data)
                known += 1
            else:
                waiting.append(_entry(name, data, caption))
                there[name] = waiting[-1]
                library.blobs.heal(data)
                added += 1
            if len(name) > len(one.name):
                renamed.append((one.name, name))
        except PictureError as error:
            refused.append(Refused(one.name, error.what))
        if len(waiting) >= READ_BATCH:
            library.add(waiting)
            waiting = []
        follow(position + 1, len(found))
    library.add(waiting)
    _tie(library)
    told = tuple(sorted(printable(name) for name in passed_over))
    return Intake(added, known, tuple(refused), told, tuple(unread), tuple(renamed))


def _words(one: Found) -> tuple[str, str]:
    """A picture's caption, and why it has none although there is a file."""
    try:
        return one.caption(), ""
    except ValueError as fault:
        return "", str(fault)


def _entry(name: str, data: bytes, caption: str) -> Entry:
    picture = decode_picture(data, Path(name))
    height, width = picture.rgb.shape[:2]
    claim = png_texts(data).get(PARENT_TEXT, "")
    how, _, parent = claim.partition(" ")
    return Entry(
        name=name,
        content_id=picture.content_id,
        pixel_id=pixel_id(picture.rgb),
        width_px=width,
        height_px=height,
        format=picture.format,
        caption=caption,
        lineage=Lineage(parent, how, "claimed") if parent else None,
        origin=read_origin(data, PurePosixPath(name).stem),
        notes=picture.notes,
    )


def _tie(library: Library) -> None:
    """Turn claims of lineage into names of this dataset, and drop those whose parent is not here."""
    entries = library.entries()
    by_content = {entry.content_id: entry.name for entry in reversed(entries)}
    by_document: dict[str, str] = {}
    for entry in entries:
        document = dict(entry.origin).get("document")
        if document and "derived_from" not in dict(entry.origin):
            by_document.setdefault(document, entry.name)
    changed = []
    for entry in entries:
        lineage = entry.lineage
        if lineage is not None and lineage.detail == "claimed":
            parent = by_content.get(lineage.parent)
            own = (
                parent is not None
                and parent != entry.name
                and lineage.how in ("view", "crop", "mask")
            )
            lineage = Lineage(str(parent), lineage.how, "written into the picture") if own else None
        elif lineage is None:
            parent = by_document.get(dict(entry.origin).get("document", ""))
            if parent is not None and parent != entry.name:
                lineage = Lineage(parent, "edit", "the editor names the same original")
        if lineage != entry.lineage:
            changed.append(Entry(**{**vars(entry), "lineage": lineage}))
    library.add(changed)


def _nothing(sources: Sequence[Path], outcome: Intake) -> DatasetError:
    first = outcome.refused[0] if outcome.refused else None
    return DatasetError(
        f"not one of {len(outcome.refused)} files could be read (first: {first.name}: {first.reason})"
        if first
        else "there are no pictures in it",
        where=", ".join(str(source) for source in sources),
        expected="PNG, JPEG, WebP, ... pictures of one persona, in a folder or a zip",
        next_command="put pictures there and run the same command again",
    )
