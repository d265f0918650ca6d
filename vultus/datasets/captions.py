"""Captions: the words each picture is trained with, always holding the trigger.

What varies belongs into a caption (clothes, light, background); what is always the same belongs to the
trigger. The user's own `<picture>.txt` is kept; only the trigger is put in where it is missing.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vultus.core.errors import DatasetError
from vultus.datasets.persona import Persona

MAX_CAPTION_BYTES = 16 * 1024
PERSONA_WORD = "{persona}"


@dataclass(frozen=True)
class Leak:
    """A fragment so common in the captions that it may take over part of the identity."""

    fragment: str
    share: float


def read_caption(picture: Path) -> str:
    """Return the user's caption beside a picture, on one line; empty when there is none."""
    path = picture.with_suffix(".txt")
    try:
        return words_beside(path)
    except ValueError as fault:
        raise DatasetError(
            f"{path.name} is no caption: {fault}",
            where=str(path),
            expected=f"one line of words, saved as UTF-8, at most {MAX_CAPTION_BYTES} bytes",
            next_command=f"mend or remove {path.name}",
        ) from fault


def words_beside(path: Path) -> str:
    """Return the words of a caption file on one line, "" where there is none. Raises ValueError with the reason."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return words_of(file.read(MAX_CAPTION_BYTES + 1))
    except OSError as fault:
        raise ValueError(f"it cannot be read ({fault.strerror})") from fault


def words_of(data: bytes) -> str:
    """Return the words of a caption on one line. Raises ValueError with the reason when they are none."""
    if len(data) > MAX_CAPTION_BYTES:
        raise ValueError(f"it has more than {MAX_CAPTION_BYTES} bytes")
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as fault:
        raise ValueError("it is not UTF-8 text") from fault
    if "\0" in text:
        raise ValueError("it is not text")
    return " ".join(text.split())


def with_trigger(caption: str, persona: Persona) -> str:
    """Return the caption with the trigger in it, put where the words of the class stand."""
    words = persona.with_trigger
    if not caption:
        return f"photo of {words}"
    if PERSONA_WORD in caption:
        return caption.replace(PERSONA_WORD, words)
    if _holds(caption, persona.trigger):
        return caption
    found = re.search(rf"(?<!\w){re.escape(persona.class_words)}(?!\w)", caption)
    if found:
        return f"{caption[: found.start()]}{words}{caption[found.end() :]}"
    return f"photo of {words}, {caption}"


def find_leaks(captions: Sequence[str], persona: Persona, share: float = 0.8) -> list[Leak]:
    """Return fragments that stand in at least `share` of the captions, apart from the trigger.

    A fragment in nearly every caption binds to the persona: "grey beard" in all captions is learnt twice,
    once by the trigger and once by the words, and the words then draw it on anybody.
    """
    if len(captions) < 4:
        return []
    counts: Counter[str] = Counter()
    for caption in captions:
        parts = {part.strip() for part in caption.split(",")}
        counts.update(p for p in parts if p and not _holds(p, persona.trigger))
    return [
        Leak(fragment, count / len(captions))
        for fragment, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if count / len(captions) >= share
    ]


def _holds(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


__all__ = [
    "MAX_CAPTION_BYTES",
    "PERSONA_WORD",
    "Leak",
    "find_leaks",
    "read_caption",
    "with_trigger",
    "words_beside",
    "words_of",
]
