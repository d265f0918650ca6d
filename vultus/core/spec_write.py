"""Writing settings: a record as TOML that reads back the same, and the list of its settings.

The front of this module is `core.specs`. TOML wants a table's own values before the tables inside
it, so each record is written in two passes.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import re
import textwrap
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from vultus.core.spec_read import choices_of, hints_of, without_none

__all__ = ["kind_of", "lines_of", "toml"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_WIDTH = 96


def toml(spec: Any, *, comments: bool = False) -> str:
    """TOML of a record. What is None is left out, since TOML has no word for it; with comments its key is one."""
    return "\n".join(_table(spec, "", comments)).strip() + "\n"


def _table(spec: Any, place: str, comments: bool) -> Iterator[str]:
    pairs = _pairs(spec)
    for name, value, help_ in pairs:
        if _is_table(value) or (value is None and not comments):
            continue
        if comments and help_:
            yield from _comment(help_)
        yield f"# {_key(name)} =" if value is None else f"{_key(name)} = {_value(value)}"
    for name, value, help_ in pairs:
        if not _is_table(value):
            continue
        inner = f"{place}.{_key(name)}" if place else _key(name)
        yield ""
        if comments and help_:
            yield from _comment(help_)
        if isinstance(value, tuple | list):
            for one in value:
                yield f"[[{inner}]]"
                yield from _table(one, inner, comments)
        else:
            yield f"[{inner}]"
            yield from _table(value, inner, comments)


def _comment(help_: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(help_.split()), _WIDTH)]


def _pairs(spec: Any) -> list[tuple[str, Any, str]]:
    if isinstance(spec, Mapping):
        return [(str(name), value, "") for name, value in spec.items()]
    fields = (f for f in dataclasses.fields(spec) if f.init)
    return [(f.name, getattr(spec, f.name), f.metadata.get("help", "")) for f in fields]


def _is_table(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return bool(value) and all(_is_table(one) for one in value)
    if isinstance(value, Mapping):
        return True
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _text(name)


def _text(text: str) -> str:
    # JSON's escapes are TOML's, but for DEL, which TOML wants escaped as well.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, enum.Enum):
        return _value(value.value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Path):
        return _text(value.as_posix())
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, tuple | list):
        items = [_value(one) for one in value]
        line = f"[{', '.join(items)}]"
        if len(line) <= _WIDTH:
            return line
        return "[\n" + "".join(f"    {item},\n" for item in items) + "]"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(str(k))} = {_value(v)}" for k, v in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _value({n: v for n, v, _ in _pairs(value) if v is not None})
    raise TypeError(f"TOML has no word for a {type(value).__name__}")


def lines_of(cls: type[Any], place: str) -> Iterator[dict[str, Any]]:
    """The settings of a record class, as keyword arguments of `specs.Setting`."""
    hints = hints_of(cls)
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        key = f"{place}.{field.name}" if place else field.name
        inner, _ = without_none(hints[field.name])
        if dataclasses.is_dataclass(inner) and isinstance(inner, type):
            yield from lines_of(inner, key)
            continue
        part = _item(inner)
        yield {
            "key": key,
            "kind": kind_of(hints[field.name]),
            "default": _default(field),
            "help": field.metadata.get("help", ""),
            "required": _default_value(field) is dataclasses.MISSING,
            "low": field.metadata.get("low"),
            "high": field.metadata.get("high"),
            "choices": choices_of(field.metadata) or _words(inner),
        }
        if dataclasses.is_dataclass(part) and isinstance(part, type):
            mark = "[]" if get_origin(inner) is tuple else ".<name>"
            yield from lines_of(part, key + mark)


def _default_value(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _default(field: dataclasses.Field[Any]) -> str:
    value = _default_value(field)
    return "" if value is dataclasses.MISSING or value is None else _value(value)


def _item(hint: Any) -> Any:
    """What a list or a table of named things holds, or None."""
    origin = get_origin(hint)
    if origin is tuple:
        return get_args(hint)[0] if get_args(hint) else None
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return get_args(hint)[1]
    return None


def _words(hint: Any) -> tuple[str, ...]:
    if get_origin(hint) is Literal:
        return tuple(str(word) for word in get_args(hint))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return tuple(str(member.value) for member in hint)
    return ()


_KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
}


def kind_of(hint: Any) -> str:
    """A type in words for people."""
    inner, optional = without_none(hint)
    tail = ", or left out" if optional else ""
    origin = get_origin(inner)
    if origin is tuple:
        args = get_args(inner)
        items = f"{len(args)} of " if args[-1] is not Ellipsis else "list of "
        return items + kind_of(args[0]) + tail
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "table of " + kind_of(get_args(inner)[1]) + tail
    if origin is Literal or _words(inner):
        return "choice" + tail
    if dataclasses.is_dataclass(inner):
        return "table" + tail
    if origin in (Union, types.UnionType):
        return " or ".join(kind_of(arg) for arg in get_args(inner)) + tail
    return _KINDS.get(inner, "value") + tail
