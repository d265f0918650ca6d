"""What is asked of a pool: orders (one step with its files), chained into tasks.

    def cell(do: Do) -> Faces:              # a task: runs in one lane, from top to bottom
        renders = do(render_order)          # looked up, or made
        return do(read_order(renders.ids))  # its key holds what the first order gave

A task keeps its lane's worker, so that what is resident there (a base) serves the whole task. Tasks that name the
same `place` (the base) are given to the same lane while there are any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from vultus.steps.step import Step
from vultus.steps.table import kind

T = TypeVar("T")


@dataclass(frozen=True)
class Order:
    """One step, where its inputs lie, and how much work it is.

    `units` is how often its progress will advance, `cost` the weight of one of them: expected seconds, or any
    other unit as long as all orders of a run use the same one. `start` is the weight of what comes before the first
    unit (loading a base, caching latents): without it the time left would be told from a silence. None of them
    enters the key.
    """

    step: Step
    files: Mapping[str, Path] = field(default_factory=dict)
    hints: Mapping[str, Any] = field(default_factory=dict)
    units: float = 1.0
    cost: float = 1.0
    start: float = 0.0


@dataclass(frozen=True)
class Done:
    """What an order gave: its outputs as files and as content ids; `remembered` when nothing was done for it."""

    key: str
    files: Mapping[str, Path]
    ids: Mapping[str, str]
    remembered: bool


class Do(Protocol):
    """Look an order up, or do it."""

    def __call__(self, order: Order) -> Done: ...


@dataclass(frozen=True)
class Task(Generic[T]):
    """A chain of orders for one lane. `place` names what should stay resident between tasks."""

    chain: Callable[[Do], T]
    place: str = ""


class Pool(Protocol):
    """Does tasks, some at a time. The exam for implementations is `vultus.testing.pool`.

    `run` returns the results in the order of the tasks. The first fault stops everything and is raised; what was
    finished by then is in the ledger.
    """

    def run(self, tasks: Sequence[Task[T]]) -> list[T]: ...

    def close(self) -> None:
        """Let go of workers and what they hold."""


def step_of(name: str, inputs: Mapping[str, Any], replicate: int = 0) -> Step:
    """Make the step of a kind at the version that the table says."""
    return Step(name, kind(name).version, dict(inputs), replicate)


__all__ = ["Do", "Done", "Order", "Pool", "Task", "step_of"]
