"""The one list of kinds of work: here, and only here, the workshops meet.

Each kind is a name, a version, and the function that does it. Raise the version when the meaning of an output
changes: every key of that kind changes with it, and old outputs are no longer found.

Notation
    inputs    what enters the key           JSON values: scalars, content ids, keys of other steps, lists of them
    files     where inputs lie now          name -> path; never in a key
    hints     what only changes speed       device, threads; never in a key
    scratch   a folder of this step's own   what a killed attempt left there is still there for the next one
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from vultus.core.errors import StepError


class Advance(Protocol):
    """How work tells that it goes on: `n` units are done, now or (`remembered`) by a killed attempt."""

    def __call__(self, n: float = 1, note: str = "", *, remembered: bool = False) -> None: ...


def _silent(n: float = 1, note: str = "", *, remembered: bool = False) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Job:
    """Everything one piece of work gets to see."""

    kind: str
    inputs: Mapping[str, Any]
    files: Mapping[str, Path]
    scratch: Path
    hints: Mapping[str, Any] = field(default_factory=dict)
    advance: Advance = _silent


Work = Callable[[Job], Mapping[str, Path]]


@dataclass(frozen=True)
class Kind:
    """One kind of work. `unit` is what its progress counts."""

    name: str
    version: int
    unit: str
    help: str
    place: str


KINDS: tuple[Kind, ...] = (
    Kind(
        "curate",
        3,
        "pictures",
        "open pictures safely, drop duplicates and strangers, hold out references, freeze the dataset",
        "vultus.steps.kinds.curate:work",
    ),
    Kind(
        "adopt",
        1,
        "pictures",
        "take over a dataset that was frozen with `vultus dataset freeze`: its pictures, sides, captions and views",
        "vultus.steps.kinds.adopt:work",
    ),
    Kind(
        "ceiling",
        1,
        "widths",
        "send the references through a base's VAE and back: the likeness that its format leaves",
        "vultus.steps.kinds.ceiling:work",
    ),
    Kind(
        "train",
        1,
        "steps",
        "train a LoRA on the frozen training pictures and keep its checkpoints",
        "vultus.steps.kinds.train:work",
    ),
    Kind(
        "average",
        1,
        "files",
        "average the last checkpoints of a training into one more candidate",
        "vultus.steps.kinds.average:work",
    ),
    Kind(
        "render",
        1,
        "renders",
        "render blocks (prompt, seed) with one base, one checkpoint and one strength",
        "vultus.steps.kinds.render:work",
    ),
    Kind(
        "detail",
        1,
        "renders",
        "draw the faces of renders a second time, enlarged, with the same base and LoRA, and put them back",
        "vultus.steps.kinds.detail:work",
    ),
    Kind(
        "read",
        2,
        "renders",
        "find the face in each render and measure it with a face pack",
        "vultus.steps.kinds.read:work",
    ),
    Kind(
        "inspect",
        1,
        "pictures",
        "fingerprint pictures, measure their light, and ask an eye how much of the prompt is there",
        "vultus.steps.kinds.inspect:work",
    ),
    Kind(
        "yardstick",
        2,
        "yardsticks",
        "freeze the scale of one base: references against impostors",
        "vultus.steps.kinds.measure:freeze",
    ),
    Kind(
        "score",
        2,
        "cells",
        "score the renders of cells on a frozen yardstick",
        "vultus.steps.kinds.measure:score",
    ),
    Kind(
        "report",
        3,
        "pages",
        "write the outcome of a run as one self-contained HTML page",
        "",
    ),
)
"""`report` has no function here: it is told by a floor above, through the same ledger."""


def kind(name: str) -> Kind:
    """Return the row of a kind."""
    for row in KINDS:
        if row.name == name:
            return row
    raise StepError(
        f"there is no kind of work called {name!r}",
        expected=f"one of {', '.join(row.name for row in KINDS)}",
    )


def do(job: Job) -> Mapping[str, Path]:
    """Do one job with the function its kind names; the outputs lie in the job's scratch folder."""
    module, _, name = kind(job.kind).place.partition(":")
    if not module:
        raise StepError(
            f"work of kind {job.kind!r} is not done by a worker", expected="a kind with a place"
        )
    work: Work = getattr(importlib.import_module(module), name)
    return work(job)


__all__ = ["KINDS", "Advance", "Job", "Kind", "Work", "do", "kind"]
