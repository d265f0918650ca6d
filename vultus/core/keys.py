"""Names made from meaning: the key of a request and the content id of bytes.

**Notation**

    canonical text   ASCII JSON: mapping keys sorted, no spaces, numbers as plain decimals
    key              64 hex digits, sha256 of the canonical text of a request
    content id       "sha256:" + 64 hex digits, sha256 of the bytes themselves

`1` and `1.0` are one number, and so are `0.1 + 0.2` and `0.3`: a float is written with 12
significant digits (whole floats below 2^53 exactly). Twelve, because every setting that a person
types has fewer, and the noise of float64 arithmetic on such settings stays below the twelfth.
A path is refused: a place on a disk is not what the file means; use its content id.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import math
import operator
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any, SupportsIndex

from vultus.core.errors import DiskError

__all__ = ["canonical", "content_id", "file_content_id", "is_content_id", "key_of"]

SIGNIFICANT_DIGITS = 12
_CONTENT_ID = re.compile(r"sha256:[0-9a-f]{64}")


def canonical(value: Any) -> str:
    """The one text of a value: equal meaning gives equal text, other meaning another text.

    Takes None, booleans, numbers, strings, enums, lists, tuples, mappings with string keys, and
    dataclasses. Raises TypeError or ValueError on anything else: that is a mistake of the caller.
    """
    return _text(value, "value")


def _text(value: Any, place: str) -> str:
    if value is None:
        return "null"
    if isinstance(value, enum.Enum):
        return _text(value.value, place)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, float):
        return _number(value, place)
    if isinstance(value, PurePath):
        raise TypeError(f"{place} is the path {value}: use the content id of the file instead")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return _mapping(fields, place)
    if isinstance(value, Mapping):
        return _mapping(value, place)
    if isinstance(value, list | tuple):
        return "[" + ",".join(_text(v, f"{place}[{i}]") for i, v in enumerate(value)) + "]"
    if isinstance(value, SupportsIndex):  # numpy's whole numbers
        return str(operator.index(value))
    raise TypeError(f"{place} is a {type(value).__name__}, which has no canonical text")


def _mapping(table: Mapping[Any, Any], place: str) -> str:
    for name in table:
        if not isinstance(name, str):
            raise TypeError(f"{place} has the key {name!r}: keys must be strings")
    pairs = (f"{json.dumps(k)}:{_text(table[k], f'{place}.{k}')}" for k in sorted(table))
    return "{" + ",".join(pairs) + "}"


def _number(value: float, place: str) -> str:
    if not math.isfinite(value):
        raise ValueError(f"{place} is {value}, which is not a number that can be compared")
    if value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    text = format(Decimal(f"{value:.{SIGNIFICANT_DIGITS}g}"), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def key_of(kind: str, version: int, inputs: Mapping[str, Any], replicate: int = 0) -> str:
    """The key of a request: the same question always has the same 64 hex digits."""
    question = {"kind": kind, "version": version, "inputs": inputs, "replicate": replicate}
    return hashlib.sha256(canonical(question).encode("ascii")).hexdigest()


def content_id(data: bytes) -> str:
    """The content id of bytes in memory."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def file_content_id(path: Path) -> str:
    """The content id of a file, read in pieces."""
    try:
        with path.open("rb") as stream:
            return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as fault:
        raise DiskError(
            f"cannot be read: {fault.strerror}", where=str(path), expected="a readable file"
        ) from fault


def is_content_id(text: str) -> bool:
    """Whether a string has the form of a content id."""
    return _CONTENT_ID.fullmatch(text) is not None
