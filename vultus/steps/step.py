"""A step: a request for one piece of work, named by what it means.

Two requests that mean the same have the same key, whoever asks and whenever; asking again is a
look-up. Everything a person would call "a different experiment" belongs into the inputs (weights
by content id, settings, seeds); where it ran does not.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from vultus.core.keys import key_of

__all__ = ["Step"]

_KIND = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True, eq=False)
class Step:
    """An immutable request.

    `kind` is a row of `steps/table.py`; `version` is raised by hand when the meaning of the output
    changes; `inputs` are numbers, words, content ids, other steps (kept as their keys), and lists,
    tables or specs of these (kept as JSON data, frozen); `replicate` is a deliberate second try,
    never an accident. Two steps are equal if their keys are.
    """

    kind: str
    version: int
    inputs: Mapping[str, Any]
    replicate: int = 0
    key: str = field(init=False, repr=False)
    """64 hex digits"""

    def __post_init__(self) -> None:
        if not _KIND.fullmatch(self.kind):
            raise ValueError(f"a kind of step cannot be named {self.kind!r}")
        if self.version < 1 or self.replicate < 0:
            raise ValueError("versions count from 1 and replicates from 0")
        inputs = _frozen(self.inputs)
        key = key_of(self.kind, self.version, inputs, self.replicate)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "key", key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Step) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Step, (self.kind, self.version, self.inputs, self.replicate))


class _Table(dict[str, Any]):
    """A mapping that does not change. A kind of dict, because json writes only those."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("the inputs of a step do not change; make another step")

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = setdefault = pop = popitem = clear = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Table, (dict(self),))


def _frozen(value: Any) -> Any:
    """The same value as JSON data, out of reach of whoever made it."""
    if isinstance(value, Step):
        return value.key
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return _Table({name: _frozen(inner) for name, inner in value.items()})
    if isinstance(value, list | tuple):
        return tuple(_frozen(inner) for inner in value)
    return value
