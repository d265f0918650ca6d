"""What is told to a person who went away, and to where: the notice, and the `[notify]` table of vultus.toml.

Addresses of services carry secrets (a topic, a token), so that they are never settings: they stand in a file of the
user's, one per line, and no message or log repeats them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vultus.core.specs import setting

__all__ = ["EVENTS", "Notice", "NotifySpec"]

EVENTS = ("done", "failed", "undecided", "deadline")
"""A job ended with an answer; it broke off; it ended without an answer; it was not over by its deadline."""


@dataclass(frozen=True)
class Notice:
    """One thing that is told."""

    event: str
    """one of EVENTS"""
    title: str
    lines: tuple[str, ...] = ()
    job: str = ""
    """id of the job, or the workspace's name"""

    def __post_init__(self) -> None:
        if self.event not in EVENTS:
            raise ValueError(f"{self.event!r} is not one of {EVENTS}")

    @property
    def body(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)

    def to_json(self) -> dict[str, Any]:
        """The notice as plain data."""
        return {
            "event": self.event,
            "title": self.title,
            "lines": list(self.lines),
            "job": self.job,
        }


@dataclass(frozen=True)
class NotifySpec:
    """Who is told when a run ends: the table `notify` of vultus.toml; for jobs that die or miss their
    deadline notify.toml in the home folder. Nothing is told unless file, command or services is set."""

    on: tuple[str, ...] = setting(
        EVENTS, help="what is told: done, failed, undecided, deadline", choices=EVENTS
    )
    file: str = setting("", help="a file to which every notice is appended as one line of JSON")
    command: tuple[str, ...] = setting(
        (), help="a program to start; it reads the notice as JSON from its standard input"
    )
    services: str = setting(
        "",
        help="a file of yours with one apprise address per line (ntfy, Discord, mail, ...); needs the extra notify",
    )

    @property
    def is_silent(self) -> bool:
        """True when nobody is told."""
        return not (self.file or self.command or self.services)
