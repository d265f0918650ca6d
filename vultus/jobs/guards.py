"""Stopping a job cleanly before something outside stops it badly: deadline, disk, balance.

A full disk stops everything on the machine, an empty balance ends a pod with all that is on it.
Asking costs a system call (disk) or, every five minutes, one run of the user's own command.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from vultus.core.clock import Clock
from vultus.core.log import logger
from vultus.jobs.folder import home
from vultus.jobs.records import JobSpec

__all__ = ["Guards", "watched_folders"]

BALANCE_EVERY_S = 300.0
BALANCE_WITHIN_S = 30.0
GIB = 2**30


class Guards:
    """Looks after one job's limits. `event` names the one that struck."""

    def __init__(self, spec: JobSpec, clock: Clock) -> None:
        self._spec = spec
        self._clock = clock
        self._folders = watched_folders(spec)
        self._asked_s = -float("inf")
        self.event = ""

    def look(self) -> str:
        """Return why the job must stop now, or nothing."""
        for name, look in (
            ("deadline", self._deadline),
            ("disk", self._disk),
            ("balance", self._balance),
        ):
            reason = look()
            if reason:
                self.event = name
                return reason
        return ""

    def _deadline(self) -> str:
        at = self._spec.limits.deadline_at
        if at is None or self._clock.now() < at:
            return ""
        return "deadline missed; what is finished is kept"

    def _disk(self) -> str:
        least_gib = self._spec.limits.disk_free_min_gib
        for folder in self._folders:
            with suppress(OSError):
                free_gib = shutil.disk_usage(folder).free / GIB
                if free_gib < least_gib:
                    return (
                        f"only {free_gib:.2f} GiB are free on the disk of {folder}"
                        f" (the job stops below {least_gib:g})"
                    )
        return ""

    def _balance(self) -> str:
        limits = self._spec.limits
        if not limits.balance_command or limits.balance_min is None:
            return ""
        if self._clock.monotonic() < self._asked_s + BALANCE_EVERY_S:
            return ""
        self._asked_s = self._clock.monotonic()
        try:
            said = subprocess.run(
                shlex.split(limits.balance_command),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=BALANCE_WITHIN_S,
                check=True,
            )
            left = float(said.stdout.split()[0].lstrip("$€"))
        except (OSError, ValueError, IndexError, subprocess.SubprocessError) as fault:
            logger(__name__).warning("the balance is not known: %s", fault)
            return ""  # a provider that is down must not stop a job
        if left >= limits.balance_min:
            return ""
        return f"the balance is {left:g}, below {limits.balance_min:g}"


def watched_folders(spec: JobSpec) -> list[Path]:
    """Return where a job writes: its home, its working folder, and folders among its words."""
    found = {home(), Path(spec.folder)}
    for word in spec.words:
        place = Path(spec.folder) / word
        # A word may be a prompt, too long for a name: `Path.is_dir` raises then (Python 3.11), os.path does not.
        if os.path.isdir(place):  # noqa: PTH112
            found.add(place.resolve())
    return sorted(found)
