"""The folder of one persona: what a user writes, and where the program keeps what it remembers.

persona.toml     who it is
vultus.toml      what to do
pictures/        the user's originals, never modified
.vultus/         ledger, blobs, locks, logs
reports/         one self-contained HTML page per run
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vultus.core.errors import BusyError, DiskError, SpecError
from vultus.core.files import disk_errors
from vultus.core.locks import held
from vultus.datasets.persona import PERSONA_FILE, Persona, load_persona
from vultus.steps.worker_process import WORKERS_LOCK
from vultus.studies.plan import PLAN_FILE, RunSpec, load_plan

LEFTOVER_WAIT_S = 30.0


@dataclass(frozen=True)
class Workspace:
    """Every path of one persona's folder."""

    folder: Path

    @property
    def pictures(self) -> Path:
        """The user's originals."""
        return self.folder / "pictures"

    @property
    def memory(self) -> Path:
        """Where the ledger lives."""
        return self.folder / ".vultus"

    @property
    def was_begun(self) -> bool:
        """True once anything was kept here; asking makes nothing."""
        return (self.memory / "ledger.sqlite").is_file()

    @property
    def reports(self) -> Path:
        """Where reports are written."""
        return self.folder / "reports"

    def load(self) -> tuple[Persona, RunSpec]:
        """Read persona.toml and vultus.toml; the faults of both files are told together."""
        self._refuse_missing()
        faults: list[SpecError] = []
        persona: Persona | None = None
        plan: RunSpec | None = None
        try:
            persona = load_persona(self.folder / PERSONA_FILE)
        except SpecError as fault:
            faults.append(fault)
        try:
            plan = load_plan(self.folder / PLAN_FILE)
        except SpecError as fault:
            faults.append(fault)
        if persona is None or plan is None:
            raise SpecError([one for fault in faults for one in fault.faults])
        return persona, plan

    def refuse_unwritable(self) -> None:
        """Raise DiskError before any work when nothing could be kept."""
        with disk_errors(self.memory):
            self.memory.mkdir(parents=True, exist_ok=True)
            self.reports.mkdir(parents=True, exist_ok=True)
        for place in (self.memory, self.reports):
            if not os.access(place, os.W_OK | os.X_OK):
                raise DiskError(
                    "the folder cannot be written",
                    where=str(place),
                    expected="a folder that you may write to",
                    next_command=f"chmod u+rwx {place}, or copy the workspace to another place",
                )

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Hold the workspace for one run. Raises BusyError when another run is at work here.

        A worker of a killed run may live for a moment longer: wait until it is gone before touching its scratch.
        """
        with held(self.memory / "locks" / "run"):
            _wait_for_leftovers(self.memory / WORKERS_LOCK)
            yield

    def _refuse_missing(self) -> None:
        absent = [n for n in (PERSONA_FILE, PLAN_FILE) if not (self.folder / n).is_file()]
        if absent:
            raise SpecError(
                [f"{self.folder}: there is no {name}" for name in absent],
                next_command=f"make a workspace with: vultus init {self.folder}",
            )


def _wait_for_leftovers(lock: Path) -> None:
    import time

    waited_s = 0.0
    while True:
        try:
            with held(lock):
                return
        except BusyError:
            if waited_s >= LEFTOVER_WAIT_S:
                raise
            time.sleep(0.25)
            waited_s += 0.25


__all__ = ["LEFTOVER_WAIT_S", "Workspace"]
