"""Hands a run's outcome to the user: the report and the chosen LoRA, under names that say what they are.

The page is a step like any other (kind `report`): the same outcome is written once, and asking again is a look-up.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vultus.core.files import disk_errors, staged
from vultus.core.keys import content_id
from vultus.reports.build import write_report
from vultus.reports.run import lora_file_name, run_report
from vultus.steps.orders import step_of
from vultus.steps.run import run_once
from vultus.store.ledger import Ledger
from vultus.studies.outcome import Outcome
from vultus.studies.workspace import Workspace

__all__ = ["Delivered", "deliver"]

PAGE = "report.html"


@dataclass(frozen=True)
class Delivered:
    """Where the report and the LoRA lie, and the verdict in words."""

    report: Path
    lora: Path
    words: tuple[str, ...]


def deliver(workspace: Workspace, outcome: Outcome) -> Delivered:
    """Write the report (once) and put it and the chosen LoRA where the user looks for them."""
    verdict = run_report(outcome).verdict
    step = step_of(
        "report",
        {"evidence": list(outcome.keys), "verdict": [verdict.headline, *verdict.sentences]},
    )

    def tell(scratch: Path) -> Mapping[str, Path]:
        created = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        return {PAGE: write_report(run_report(outcome, created), scratch / PAGE)}

    with Ledger.open(workspace.memory) as ledger:
        page = run_once(step, ledger, tell, retry_failed=True)[PAGE]
    report = workspace.reports / f"run-{step.key[:8]}.html"
    _place(page, report)
    lora = workspace.folder / "loras" / lora_file_name(outcome)
    _place(outcome.chosen_checkpoint.path, lora)
    return Delivered(report, lora, (verdict.headline, *verdict.sentences))


def _place(source: Path, target: Path) -> None:
    """Copy a stored file to its place, unless it is there already."""
    with disk_errors(target):
        data = source.read_bytes()
        if target.is_file() and content_id(target.read_bytes()) == content_id(data):
            return
    with staged(target) as draft:
        draft.write_bytes(data)
