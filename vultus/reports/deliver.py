"""Hands a run's outcome to the user: the report and the chosen LoRA, under names that say what they are.

The page is a step like any other (kind `report`): the same outcome is written once, and asking again is a look-up.
No LoRA is ever written over: where another file has the name, this run's lies beside it under the name of its report.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vultus.core.errors import StoreError, TornBlobError
from vultus.core.files import disk_errors, staged
from vultus.core.keys import content_id, file_content_id
from vultus.reports.build import write_report
from vultus.reports.run import lora_file_name, run_report
from vultus.steps.orders import step_of
from vultus.steps.run import run_once
from vultus.steps.step import Step
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
    """Write the report (once) and put it and the chosen LoRA where the user looks for them.

    Raises TornBlobError when a stored file is not what the ledger has for it; nothing is replaced then.
    """
    run_name = f"run-{_page_step(outcome, lora_file_name(outcome)).key[:8]}"
    chosen = outcome.chosen_checkpoint
    weights = _whole(workspace, chosen.path, chosen.content_id)
    lora = _free_place(workspace, outcome, run_name)
    # the verdict tells the LoRA's name, hence another name is another page
    step = _page_step(outcome, lora.name)

    def tell(scratch: Path) -> Mapping[str, Path]:
        created = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        return {PAGE: write_report(run_report(outcome, created, lora.name), scratch / PAGE)}

    with Ledger.open(workspace.memory) as ledger:
        path = run_once(step, ledger, tell, retry_failed=True)[PAGE]
        stored = (ledger.outputs(step.key) or {})[PAGE]
    page = _whole(workspace, path, stored)
    report = workspace.reports / f"{run_name}.html"
    _place(page, stored, report)
    _place(weights, chosen.content_id, lora)
    verdict = run_report(outcome, file_name=lora.name).verdict
    return Delivered(report, lora, (verdict.headline, *verdict.sentences))


def _page_step(outcome: Outcome, file_name: str) -> Step:
    verdict = run_report(outcome, file_name=file_name).verdict
    return step_of(
        "report",
        {"evidence": list(outcome.keys), "verdict": [verdict.headline, *verdict.sentences]},
    )


def _free_place(workspace: Workspace, outcome: Outcome, run_name: str) -> Path:
    """Where this run's LoRA lies already, or else the first of its two names that nothing has."""
    plain = workspace.folder / "loras" / lora_file_name(outcome)
    places = (plain, plain.with_stem(f"{plain.stem}-{run_name}"))
    wanted = outcome.chosen_checkpoint.content_id
    there = [place for place in places if place.is_file() and file_content_id(place) == wanted]
    free = [place for place in places if not place.exists() and not place.is_symlink()]
    if not there and not free:
        raise StoreError(
            "is not the LoRA of this run, and is not written over",
            where=str(places[-1]),
            expected=f"the file {wanted[:19]}…, or none",
            next_command="move that file away and give the same command again",
        )
    return (there or free)[0]


def _whole(workspace: Workspace, source: Path, wanted: str) -> bytes:
    """The bytes of a stored file, which must be the ones that the ledger has for it."""
    with disk_errors(source):
        data = source.read_bytes()
    if content_id(data) != wanted:
        raise TornBlobError(
            f"the stored file {wanted[:19]}… is torn or altered: it was not delivered",
            where=str(source),
            expected="the bytes that were measured; what lies in loras/ and reports/ was left as it is",
            next_command=f"vultus store verify {workspace.folder}; then restore the file from a backup, or move"
            f" {workspace.memory} away and run again: finished work is then redone",
        )
    return data


def _place(data: bytes, wanted: str, target: Path) -> None:
    """Write a file to its place, unless it is there already."""
    if target.is_file() and file_content_id(target) == wanted:
        return
    with disk_errors(target), staged(target) as draft:
        draft.write_bytes(data)
