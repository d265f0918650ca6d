"""Choosing a part by its name: settings name registry entries, never import paths.

A registry holds names and the places to load them from; nothing is imported until a name is
asked for. An unknown name is answered with the nearest known one, a missing package with the
extra to install.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from vultus.core.errors import MissingExtraError, UnknownNameError

__all__ = ["Entry", "Registry", "hint", "nearest"]

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """One name: where it is loaded from, what it is, and which extra it needs."""

    name: str
    place: str
    """`package.module:attribute`"""
    help: str = ""
    extra: str = ""
    """the optional dependency group to install, if any"""


class Registry(Generic[T]):
    """A list of names for one kind of part, e.g. renderers. `noun` is the word for messages."""

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self._entries: dict[str, Entry] = {}

    def add(self, name: str, place: str, *, help: str = "", extra: str = "") -> None:
        """Make a name known. A name is given once: a second meaning is a mistake of the caller."""
        if name in self._entries:
            raise ValueError(f"the {self.noun} {name!r} is already registered")
        module, colon, attribute = place.partition(":")
        if not (module and colon and attribute):
            raise ValueError(f"{place!r} is not of the form package.module:attribute")
        self._entries[name] = Entry(name, place, help, extra)

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._entries))

    def entry(self, name: str) -> Entry:
        """What is known of a name, without loading it. Raises UnknownNameError."""
        if name not in self._entries:
            raise UnknownNameError(
                f"there is no {self.noun} named {name!r}{hint(name, self._entries)}",
                expected=f"one of: {', '.join(self.names()) or 'none is registered'}",
            )
        return self._entries[name]

    def get(self, name: str) -> T:
        """Load what the name stands for. Raises UnknownNameError or MissingExtraError."""
        entry = self.entry(name)
        module, _, attribute = entry.place.partition(":")
        try:
            return cast(T, getattr(importlib.import_module(module), attribute))
        except ModuleNotFoundError as fault:
            missing = fault.name or ""
            if missing.split(".")[0] == module.split(".")[0]:
                raise  # our own module is missing: not something to install
            raise MissingExtraError(
                f"the {self.noun} {name!r} needs the package {missing!r}, which is not installed",
                next_command=f"VULTUS_EXTRAS={entry.extra} make setup"
                if entry.extra
                else f"pip install {missing}",
            ) from fault

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[Entry]:
        return iter([self._entries[name] for name in self.names()])

    def __len__(self) -> int:
        return len(self._entries)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that a typing mistake most likely meant, or None."""
    import difflib  # only mistakes need it

    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def hint(name: str, known: Iterable[str]) -> str:
    """` (did you mean "…"?)`, or nothing."""
    near = nearest(name, known)
    return f' (did you mean "{near}"?)' if near else ""
