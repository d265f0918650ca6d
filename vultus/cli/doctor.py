"""`vultus doctor`: what of this machine is ready, what is not, and what to type.

A check never raises: it returns findings. `ok` is good; `note` is worth knowing (no graphics card,
little disk); `fault` stops work or makes its results doubtful, and then the exit code is 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vultus.cli.wording import EXIT_DONE, EXIT_NO, Nouns, noun, say

if TYPE_CHECKING:
    from vultus.health.findings import Check, Finding, State

__all__ = ["add", "checks", "examine"]


def add(subparsers: Nouns) -> None:
    """Add `vultus doctor`."""
    parser = noun(
        subparsers,
        "doctor",
        help="say what of this machine is ready, what is not, and what to type",
        examples=["vultus doctor", "vultus doctor ada", "vultus doctor --json"],
    )
    parser.add_argument(
        "workspace",
        type=Path,
        nargs="?",
        default=Path(),
        help="workspace whose bases are looked at",
    )
    parser.set_defaults(handle=_handle)


def checks() -> tuple[Check, ...]:
    """Every check, in the order in which they are told."""
    from vultus.health.cards import cards
    from vultus.health.checkout import checkout
    from vultus.health.machine import clock, machine, python
    from vultus.health.packages import files, foreign_tools, pins
    from vultus.health.weights import weights

    return (python, machine, clock, cards, pins, files, checkout, foreign_tools, _models, weights)


def examine(folder: Path) -> list[Finding]:
    """Run every check; `folder` is the workspace, or where one would lie (its disk is measured)."""
    return [finding for check in checks() for finding in check(folder)]


def _handle(args: argparse.Namespace) -> int:
    findings = examine(args.workspace.resolve())
    faults = sum(finding.state == "fault" for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:>5}  {finding.about}: {finding.text}")
        if finding.next_command:
            lines.append(f"       next: {finding.next_command}")
    lines.append("" if not faults else f"\n{faults} fault{'s' if faults > 1 else ''}.")
    say(args, {"faults": faults, "findings": [asdict(f) for f in findings]}, lines)
    return EXIT_NO if faults else EXIT_DONE


def _models(folder: Path) -> Iterator[Finding]:
    from vultus.cli.models import found_models
    from vultus.health.findings import Finding

    del folder
    for model in found_models():
        state: State = "ok"
        if not model.present:
            state = "fault" if model.bundled else "note"
        remedy = model.next_command or ("" if model.present else "vultus models list")
        yield Finding(f"{model.kind} {model.name}", state, model.text, remedy)
