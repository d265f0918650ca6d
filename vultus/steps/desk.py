"""What the lanes of a pool share: which task goes to whom, the results, and the first fault.

A lane whose worker has no place to run gives its task back and leaves; the others do its work. Therefore a lane that
finds nothing waiting does not go home while another one is still at something: that may come back.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from vultus.steps.orders import Task

T = TypeVar("T")


class Desk(Generic[T]):
    """Tasks waiting, results, the first fault; every method may be called from any lane."""

    def __init__(self, tasks: Sequence[Task[T]], lanes: int) -> None:
        self.tasks = tasks
        self.faults: list[BaseException] = []
        self._lanes = lanes
        # By place, because looking through all that waits for each task taken makes 10,000 tasks cost half a minute.
        self._waiting: dict[str, deque[int]] = {}
        for position, task in enumerate(tasks):
            self._waiting.setdefault(task.place, deque()).append(position)
        self._left = len(tasks)
        self._places: list[str | None] = [None] * lanes
        self._results: dict[int, Any] = {}
        self._stopped = False
        self._changed = threading.Condition()

    @property
    def stopped(self) -> bool:
        """True when no new order may begin."""
        return self._stopped

    def stop(self) -> None:
        """Let no new order begin."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def take(self, lane: int) -> int | None:
        """Give a lane its next task: of its own place if there is one, else of a place nobody is at.

        Waits while others are at the last ones; None when all are done, or when the work was stopped.
        """
        with self._changed:
            while not self._stopped and not self._waiting and self._left:
                self._changed.wait()
            if self._stopped or not self._left:
                return None
            taken = {place for i, place in enumerate(self._places) if i != lane and place}
            place = min(self._waiting, key=lambda one: self._rank(lane, one, taken))
            position = self._waiting[place].popleft()
            if not self._waiting[place]:
                del self._waiting[place]
            self._places[lane] = place or self._places[lane]
            return position

    def _rank(self, lane: int, place: str, taken: set[str]) -> tuple[int, int]:
        head = self._waiting[place][0]
        if place and place == self._places[lane]:
            return 0, head
        return (2 if place in taken else 1), head

    def put(self, position: int, result: T) -> None:
        """Keep a task's result."""
        with self._changed:
            self._results[position] = result
            self._left -= 1
            if not self._left:
                self._changed.notify_all()

    def give_back(self, lane: int, position: int) -> bool:
        """Take back a task that a leaving lane cannot do; false if nobody would be left to do it."""
        with self._changed:
            if self._lanes == 1 or self._stopped:
                return False
            self._lanes -= 1
            self._places[lane] = None
            self._waiting.setdefault(self.tasks[position].place, deque()).appendleft(position)
            self._changed.notify_all()
            return True

    def fail(self, fault: BaseException) -> bool:
        """Keep the first fault and stop; true for the first."""
        with self._changed:
            first = not self._stopped
            self._stopped = True
            if first:
                self.faults.append(fault)
            self._changed.notify_all()
            return first

    def results(self) -> list[T]:
        """All results, in the order of the tasks."""
        return [self._results[i] for i in range(len(self.tasks))]


__all__ = ["Desk"]
