"""What happens to a job, told once: a line in the supervisor's log, and for its end a notice to whoever wants one."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime

from vultus.jobs.folder import JobFolder
from vultus.notices.records import EVENTS, Notice
from vultus.notices.send import tell_home

__all__ = ["announce"]


def announce(job: JobFolder, event: str, text: str = "", *, code: int | None = None) -> None:
    """Write an event down. Telling must never fail the job."""
    row = {
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "job": job.id,
        "event": event,
        "text": text,
    }
    if code is not None:
        row["exit_code"] = str(code)
    if event in EVENTS:
        tell_home(Notice(event, f"job {job.id}: {event}", tuple(text.splitlines()), job.id))
    place = job.supervisor_log
    with suppress(OSError), place.open("a", encoding="utf-8", errors="backslashreplace") as log:
        log.write(json.dumps(row, ensure_ascii=False) + "\n")
