"""One line of an examination: what was looked at, how it stands, and the one thing to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Check", "Finding", "State"]

State = Literal["ok", "note", "fault"]
"""`ok` is good; `note` is worth knowing; `fault` stops work or makes its results doubtful."""


@dataclass(frozen=True)
class Finding:
    """One line of the examination. A fault always has its remedy."""

    about: str
    state: State
    text: str
    next_command: str = ""

    def __post_init__(self) -> None:
        if self.state == "fault" and not self.next_command:
            raise ValueError(f"the fault {self.about!r} has no remedy")


Check = Callable[[Path], Iterator[Finding]]
"""Looks at one thing; `folder` is the workspace, or where one would lie."""
