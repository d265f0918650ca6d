"""Settings files: TOML read into frozen records, with every fault told at once.

A spec is a frozen dataclass whose fields are made by `setting`. `load` reads a file, `parse` a
table, `describe` lists the settings for the generated reference, `dumps` writes TOML back.

    @dataclass(frozen=True)
    class TrainSpec:
        rank: int = setting(8, help="width of the LoRA", low=1, high=256)
        optimizer: str = setting("adamw", help="…", choices=("adamw", "prodigy"))

Types: bool, int, float, str, Path (relative to the file), Literal, enums, `X | None`, tuples,
`Mapping[str, X]`, and other specs as tables. A whole number is taken for a float, never the other
way round, and true is not 1. `__post_init__` may raise ValueError (one fault) or SpecError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast, overload

from vultus.core import spec_read, spec_write
from vultus.core.errors import Fault, SpecError

__all__ = ["Setting", "describe", "dumps", "load", "parse", "setting"]

T = TypeVar("T")
Choices = Sequence[str] | Callable[[], Sequence[str]]


@overload
def setting(
    *,
    help: str,
    low: float | None = None,
    high: float | None = None,
    choices: Choices | None = None,
) -> Any: ...


@overload
def setting(
    default: T,
    *,
    help: str,
    low: float | None = None,
    high: float | None = None,
    choices: Choices | None = None,
) -> T: ...


def setting(
    default: Any = MISSING,
    *,
    help: str,
    low: float | None = None,
    high: float | None = None,
    choices: Choices | None = None,
) -> Any:
    """One documented setting; without a default it must be given.

    `low` and `high` are the allowed range, both included, for numbers and for each item of a
    tuple of numbers; for strings they bound the length. `choices` are the allowed words, or a
    function that lists them when a file is read (a registry's `names`).
    """
    if not help:
        raise ValueError("a setting without help cannot be documented")
    metadata = {"help": help, "low": low, "high": high, "choices": choices}
    if default is MISSING:
        return field(metadata=metadata)
    if isinstance(default, dict | list):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Setting:
    """One line of the settings reference."""

    key: str
    """dotted: `train.rank`"""
    kind: str
    """the type in words: `whole number`, `list of text`"""
    default: str
    """as TOML; empty if the setting must be given"""
    help: str
    required: bool
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


def parse(cls: type[T], table: Mapping[str, Any], where: str, folder: Path | None = None) -> T:
    """Make a record from a table. `where` names the file, `folder` is what paths start from.

    Raises SpecError with all faults of the table.
    """
    faults: list[Fault] = []
    reader = spec_read.Reader(where, folder, faults)
    made = reader.record(cls, table, "")
    if faults:
        raise SpecError(faults)
    return cast(T, made)


def load(cls: type[T], path: Path) -> T:
    """Read a TOML file into a record; paths in it are relative to the file.

    Raises SpecError with all faults of the file.
    """
    return parse(cls, spec_read.table_of(path), path.name, path.parent)


def describe(cls: type[Any]) -> list[Setting]:
    """Every setting of a spec and of the specs inside it, in the order of the source."""
    return [Setting(**line) for line in spec_write.lines_of(cls, "")]


def dumps(spec: Any, *, comments: bool = False) -> str:
    """The record as TOML; `comments` writes each setting's help above it. `load` reads it back."""
    return spec_write.toml(spec, comments=comments)
