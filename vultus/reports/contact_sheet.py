"""Contact sheets: what a verb of `vultus dataset` found, as pictures on one page that needs nothing else.

    Sheet -> sections -> tiles: a picture, a badge, a few words under it

**Notation**
    picture    a file, or pixels   uint8 (H, W, 3) or (H, W)
Thumbnails are made small and lose everything private (camera, place, time). The same sheet gives the same bytes. A
page shows at most MOST_TILES pictures and says how many it leaves out: ten thousand thumbnails are no overview.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from vultus.core.files import write_text
from vultus.reports.build import POLICY
from vultus.reports.html import Html, join, raw, tag
from vultus.reports.thumbs import THUMB_PX, Thumbs, jpeg_bytes

__all__ = ["MOST_TILES", "Section", "Sheet", "Tile", "write_sheet"]

MOST_TILES = 600
Tone = Literal["", "good", "warn", "bad"]


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture of a sheet. `badge` is a word on it, `tone` its colour, `words` lines under it."""

    picture: Path | npt.NDArray[np.uint8]
    words: tuple[str, ...] = ()
    badge: str = ""
    tone: Tone = ""


@dataclass(frozen=True, eq=False)
class Section:
    """A row of pictures that belong together, and what is to be said about them."""

    title: str
    lede: str = ""
    tiles: tuple[Tile, ...] = ()
    lines: tuple[str, ...] = ()
    figure: Html | None = None


@dataclass(frozen=True, eq=False)
class Sheet:
    """A whole page: what was done, the figures, the pictures."""

    title: str
    lede: str
    facts: tuple[tuple[str, str], ...] = ()
    sections: tuple[Section, ...] = ()


def write_sheet(path: Path, sheet: Sheet) -> Path:
    """Write the page in one piece and return its path."""
    thumbs = Thumbs()
    left = MOST_TILES
    parts: list[Html] = []
    hidden = 0
    for section in sheet.sections:
        shown = section.tiles[: max(0, left)]
        left -= len(shown)
        hidden += len(section.tiles) - len(shown)
        if shown or not section.tiles:
            parts.append(_section(section, shown, thumbs))
    foot = [
        "Nothing was deleted or changed: your files are where they were.",
        "This page loads nothing.",
    ]
    if hidden:
        foot.insert(0, f"{hidden} more pictures are not shown; --json lists them all.")
    if thumbs.missing:
        foot.insert(0, f"{thumbs.missing} pictures could not be read when this page was written.")
    head = tag(
        "head",
        raw('<meta charset="utf-8"/>'),
        raw('<meta name="viewport" content="width=device-width, initial-scale=1"/>'),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{sheet.title} · Vultus"),
        tag("style", raw(_style())),
    )
    facts = [tag("li", tag("b", value), tag("span", label)) for label, value in sheet.facts]
    body = tag(
        "body",
        tag("header", tag("p", tag("b", "Vultus"), tag("span", "dataset"), class_="brand")),
        tag(
            "main",
            tag("h1", sheet.title),
            tag("p", sheet.lede, class_="lede"),
            tag("ul", *facts, class_="facts") if facts else raw(""),
            *parts,
        ),
        tag("footer", *(tag("p", words) for words in foot)),
    )
    write_text(path, "<!doctype html>\n" + tag("html", head, body, lang="en"))
    return path


def _section(section: Section, tiles: Sequence[Tile], thumbs: Thumbs) -> Html:
    return tag(
        "section",
        tag("h2", section.title),
        tag("p", section.lede, class_="lede") if section.lede else raw(""),
        join(tag("p", line) for line in section.lines),
        section.figure or raw(""),
        tag("div", *(_tile(tile, thumbs) for tile in tiles), class_="sheet") if tiles else raw(""),
    )


def _tile(tile: Tile, thumbs: Thumbs) -> Html:
    made = _uri(tile.picture, thumbs)
    badge = tag("span", tile.badge, class_=f"badge {tile.tone}".strip()) if tile.badge else raw("")
    alt = ", ".join([tile.badge, *tile.words[:1]]).strip(", ")
    if made is None:
        picture = tag("span", "unreadable", class_="gone")
    else:
        uri, width, height = made
        picture = tag("img", src=uri, alt=alt, width=width, height=height, loading="lazy")
    words = [tag("span", line) for line in tile.words]
    return tag("figure", tag("div", picture, badge), tag("figcaption", *words))


def _uri(picture: Path | npt.NDArray[np.uint8], thumbs: Thumbs) -> tuple[str, int, int] | None:
    if isinstance(picture, Path):
        return thumbs.uri(picture, generated=False)
    from vultus.images.geometry import fit_within

    rgb = np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture
    small, _ = fit_within(rgb, THUMB_PX)
    data = base64.b64encode(jpeg_bytes(small, generated=False)).decode("ascii")
    return f"data:image/jpeg;base64,{data}", int(small.shape[1]), int(small.shape[0])


def _style() -> str:
    return files("vultus.reports").joinpath("contact_sheet.css").read_text(encoding="utf-8")
