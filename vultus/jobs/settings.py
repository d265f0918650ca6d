"""The settings of this machine for jobs: $VULTUS_HOME/jobs.toml, which nobody has to write.

Options of a command win over the file, the file over the defaults. They are read once, when a job
is made, and recorded with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vultus.core import specs
from vultus.core.specs import setting
from vultus.jobs.folder import home

__all__ = [
    "COMFYUI_WAYS",
    "JOBS_FILE",
    "CardSpec",
    "ComfySpec",
    "GuardSpec",
    "JobsSpec",
    "load_settings",
]

JOBS_FILE = "jobs.toml"
COMFYUI_WAYS = ("wait", "interrupt", "refuse", "ignore", "share")


@dataclass(frozen=True)
class GuardSpec:
    """When a job is stopped although nothing is wrong with it, and how often it is tried again."""

    disk_free_min_gib: float = setting(
        2.0, help="stop a job cleanly when less is free on its disk", low=0.0, high=100_000.0
    )
    deadline_h: float = setting(
        0.0, help="stop a job after this many hours; 0 = never", low=0.0, high=10_000.0
    )
    restarts_max: int = setting(
        5, help="restarts in a row without progress before a job counts as failed", low=0, high=1000
    )
    balance_command: str = setting(
        "",
        help="a command that prints what is left of the pod's balance as a number; asked every"
        " five minutes",
    )
    balance_min: float = setting(
        1.0, help="stop every job cleanly below this balance", low=0.0, high=1e9
    )


@dataclass(frozen=True)
class ComfySpec:
    """The ComfyUI that shares a card with the training."""

    when_found: str = setting(
        "wait",
        help="wait for its queue, interrupt it (its prompts are given back afterwards), refuse to"
        " start, ignore it, or share the card with it (it is asked to free its models and goes on)",
        choices=COMFYUI_WAYS,
    )
    url: str = setting(
        "", help="where it listens; empty = port 8188 and every process that looks like it"
    )
    queue_wait_min: float = setting(
        60.0, help="how long its queue is waited for", low=0.0, high=100_000.0
    )
    healthy_within_s: float = setting(
        300.0, help="how long it may take to answer after a restart", low=1.0, high=36_000.0
    )
    stop_always: bool = setting(
        True,
        help="false: it may go on running if enough memory is measured free after it was asked to"
        " free its models",
    )


@dataclass(frozen=True)
class CardSpec:
    """The graphics card of a job."""

    free_share: float = setting(
        0.9,
        help="share of the card's memory that must be measured free before a job starts",
        low=0.0,
        high=1.0,
    )
    wait_min: float = setting(
        60.0,
        help="how long a job waits for memory that somebody else holds before it is refused",
        low=0.0,
        high=100_000.0,
    )


@dataclass(frozen=True)
class JobsSpec:
    """jobs.toml: guards, restarts, the card, and how to treat a ComfyUI on it."""

    card: CardSpec = field(default_factory=CardSpec)
    guards: GuardSpec = field(default_factory=GuardSpec)
    comfyui: ComfySpec = field(default_factory=ComfySpec)


def load_settings(path: Path | None = None) -> JobsSpec:
    """Return the settings of this machine, or the defaults where no file is."""
    place = path or home() / JOBS_FILE
    return specs.load(JobsSpec, place) if place.is_file() else JobsSpec()
