"""Reading settings: a TOML table becomes a frozen record, and no fault hides another.

The front of this module is `core.specs`. A `Reader` walks the record's fields, converts what it
can, and puts each fault on one list; a value that is wrong becomes `BAD` and the walk goes on.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from vultus.core.errors import Fault, SpecError
from vultus.core.registry import hint

__all__ = ["BAD", "Reader", "choices_of", "hints_of", "table_of", "without_none"]

BAD: Any = object()
"""The value of a field whose fault is on the list."""

_EXAMPLES = {"setting": "rank = 8", "text": 'name = "ada"'}


def table_of(path: Path) -> dict[str, Any]:
    """The table in a TOML file. Raises SpecError if there is none to read."""
    try:
        text = path.read_bytes().decode("utf-8-sig")  # some editors put a mark in front
        return tomllib.loads(text.replace("\r\n", "\n"))
    except FileNotFoundError:
        fault = Fault(path.name, f"there is no such file in {path.parent}")
    except UnicodeDecodeError as odd:
        fault = Fault(path.name, f"byte {odd.start} is not UTF-8", "a text file in UTF-8")
    except tomllib.TOMLDecodeError as odd:
        fault = Fault(path.name, f"not TOML: {odd}", f"lines like {_EXAMPLES['setting']}")
    except OSError as odd:
        fault = Fault(path.name, f"cannot be read: {odd.strerror}")
    raise SpecError([fault])


def hints_of(cls: type[Any]) -> dict[str, Any]:
    """The resolved types of a record's fields."""
    return typing.get_type_hints(cls)


def without_none(hint_: Any) -> tuple[Any, bool]:
    """`X | None` gives (X, True), anything else itself and False."""
    if get_origin(hint_) in (Union, types.UnionType):
        rest = [part for part in get_args(hint_) if part is not type(None)]
        if len(rest) == 1 and len(rest) < len(get_args(hint_)):
            return rest[0], True
    return hint_, False


def choices_of(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """The allowed words of a setting, asked of its registry if that is where they live."""
    choices = metadata.get("choices")
    if choices is None:
        return ()
    return tuple(choices() if callable(choices) else choices)


class Reader:
    """Converts one file's tables; `faults` grows as it goes."""

    def __init__(self, where: str, folder: Path | None, faults: list[Fault]) -> None:
        self.where = where
        self.folder = folder
        self.faults = faults

    def fault(self, place: str, what: str, expected: str = "") -> Any:
        table = f"[{place}] " if place else ""
        self.faults.append(Fault(self.where, f"{table}{what}", expected))
        return BAD

    def record(self, cls: type[Any], table: Any, place: str) -> Any:
        """An instance of `cls`, or BAD with its faults on the list."""
        if not isinstance(table, Mapping):
            return self.fault(place, f"is {_shown(table)}", "a table of settings")
        known = {f.name: f for f in dataclasses.fields(cls) if f.init}
        hints = hints_of(cls)
        values: dict[str, Any] = {}
        for key in table:
            if key not in known:
                self.fault(place, f'unknown key "{key}"{hint(str(key), known)}')
        for name, field in known.items():
            if name in table:
                values[name] = self.value(hints[name], table[name], place, name, field.metadata)
            elif _is_required(field):
                self.fault(place, f'the key "{name}" is missing', field.metadata.get("help", ""))
                values[name] = BAD
        if any(value is BAD for value in values.values()):
            return BAD
        return self._made(cls, values, place)

    def _made(self, cls: type[Any], values: dict[str, Any], place: str) -> Any:
        try:
            return cls(**values)
        except SpecError as odd:
            for fault in odd.faults:
                self.fault(place, fault.what, fault.expected)
        except ValueError as odd:
            self.fault(place, str(odd))
        return BAD

    def value(
        self, hint_: Any, raw: Any, place: str, name: str, metadata: Mapping[str, Any]
    ) -> Any:
        """One value as its type wants it, or BAD."""
        hint_, optional = without_none(hint_)
        if raw is None and optional:
            return None
        origin = get_origin(hint_)
        if dataclasses.is_dataclass(hint_) and isinstance(hint_, type):
            return self.record(hint_, raw, _inside(place, name))
        if origin is tuple:
            return self._tuple(get_args(hint_), raw, place, name, metadata)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return self._mapping(get_args(hint_)[1], raw, place, name, metadata)
        if origin is Literal:
            return self._word(get_args(hint_), raw, place, name)
        if isinstance(hint_, type) and issubclass(hint_, enum.Enum):
            word = self._word([member.value for member in hint_], raw, place, name)
            return BAD if word is BAD else hint_(word)
        return self._scalar(hint_, raw, place, name, metadata)

    def _tuple(
        self, items: tuple[Any, ...], raw: Any, place: str, name: str, metadata: Mapping[str, Any]
    ) -> Any:
        if not isinstance(raw, list | tuple):
            return self.fault(place, f"{name} = {_shown(raw)}", "a list: [ … ]")
        if len(items) == 2 and items[1] is Ellipsis:
            items = (items[0],) * len(raw)
        elif len(items) != len(raw):
            return self.fault(
                place, f"{name} has {_count(len(raw), 'item')}", f"{_count(len(items), 'item')}"
            )
        made = [
            self.value(item, one, place, f"{name}[{i}]", metadata)
            for i, (item, one) in enumerate(zip(items, raw, strict=True))
        ]
        return BAD if any(one is BAD for one in made) else tuple(made)

    def _mapping(
        self, item: Any, raw: Any, place: str, name: str, metadata: Mapping[str, Any]
    ) -> Any:
        if not isinstance(raw, Mapping):
            return self.fault(place, f"{name} = {_shown(raw)}", "a table")
        inner = _inside(place, name)
        made = {key: self.value(item, raw[key], inner, key, metadata) for key in raw}
        return BAD if any(one is BAD for one in made.values()) else made

    def _word(self, words: Sequence[Any], raw: Any, place: str, name: str) -> Any:
        if any(raw == word and type(raw) is type(word) for word in words):
            return raw
        near = hint(raw, [w for w in words if isinstance(w, str)]) if isinstance(raw, str) else ""
        listed = ", ".join(_shown(word) for word in words) or "nothing is available"
        return self.fault(place, f"{name} = {_shown(raw)} is not a choice{near}", listed)

    def _scalar(
        self, hint_: Any, raw: Any, place: str, name: str, metadata: Mapping[str, Any]
    ) -> Any:
        if hint_ is Path:
            return self._path(raw, place, name)
        if hint_ is float and isinstance(raw, int) and not isinstance(raw, bool):
            raw = float(raw)
        if hint_ is not Any and (not isinstance(hint_, type) or type(raw) is not hint_):
            wanted = _KINDS.get(hint_)
            if wanted is None:
                raise TypeError(f"a setting cannot have the type {hint_!r} ({place} {name})")
            return self.fault(place, f"{name} = {_shown(raw)}", wanted)
        words = choices_of(metadata)
        if words and isinstance(raw, str):
            return self._word(words, raw, place, name)
        return self._ranged(raw, place, name, metadata)

    def _path(self, raw: Any, place: str, name: str) -> Any:
        if not isinstance(raw, str) or not raw or "\0" in raw:
            return self.fault(place, f"{name} = {_shown(raw)}", "a path in quotes")
        path = Path(raw).expanduser() if raw.startswith("~") else Path(raw)
        return self.folder / path if self.folder is not None else path

    def _ranged(self, raw: Any, place: str, name: str, metadata: Mapping[str, Any]) -> Any:
        if isinstance(raw, float) and not math.isfinite(raw):
            return self.fault(place, f"{name} = {raw}", "a finite number")
        low, high = metadata.get("low"), metadata.get("high")
        size = len(raw) if isinstance(raw, str) else raw
        if isinstance(size, bool) or not isinstance(size, int | float):
            return raw
        if (low is None or size >= low) and (high is None or size <= high):
            return raw
        if isinstance(raw, str):
            return self.fault(
                place, f"{name} has {_count(len(raw), 'letter')}", _range(low, high) + " letters"
            )
        return self.fault(place, f"{name} = {_shown(raw)} is outside {_range(low, high)}")


_KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
}


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _inside(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return f"at most {high:g}"
    if high is None:
        return f"at least {low:g}"
    return f"{low:g}..{high:g}"


def _shown(raw: Any) -> str:
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, Mapping):
        return "a table"
    if isinstance(raw, list | tuple):
        return f"a list of {len(raw)}"
    text = f'"{raw}"' if isinstance(raw, str) else str(raw)
    return text if len(text) <= 60 else text[:57] + "…"
