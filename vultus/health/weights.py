"""The weight files that a workspace names: there, of the right kind, and the ones that were used before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from vultus.core.errors import VultusError
from vultus.health.findings import Finding
from vultus.studies.bases import known_digest, locate_base
from vultus.studies.plan import PLAN_FILE, load_plan

__all__ = ["weights"]


def weights(folder: Path) -> Iterator[Finding]:
    """Every base that vultus.toml names; nothing where `folder` is no workspace."""
    plan_file = folder / PLAN_FILE
    if not plan_file.is_file():
        return
    try:
        plan = load_plan(plan_file)
    except VultusError as fault:
        yield Finding("vultus.toml", "fault", fault.what, f"mend {plan_file}")
        return
    for name in dict.fromkeys((*plan.bases, plan.trains_on)):
        about = f"base {name}"
        try:
            path = locate_base(name, folder)
            digest = known_digest(path, folder / ".vultus")
        except (VultusError, OSError, json.JSONDecodeError) as fault:
            what = fault.what if isinstance(fault, VultusError) else str(fault)
            cure = getattr(fault, "next_command", "") or f"mend `bases` in {plan_file}"
            yield Finding(about, "fault", what, cure)
            continue
        if digest:
            yield Finding(about, "ok", f"unchanged since it was last hashed, {digest[:19]}")
        else:
            text = "not hashed yet, or changed since: the next run hashes it, and makes all anew if it changed"
            yield Finding(about, "note", text)
