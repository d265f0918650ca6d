"""`vultus run`: pictures in, a measured LoRA and one report out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.cli.wording import EXIT_DONE, EXIT_NO, Nouns, detachable, noun, say
from vultus.core.errors import CancelledError, VultusError

if TYPE_CHECKING:
    from vultus.studies.outcome import Outcome
    from vultus.studies.workspace import Workspace

__all__ = ["add", "run_workspace"]


def add(subparsers: Nouns) -> None:
    """Add `vultus run`."""
    parser = noun(
        subparsers,
        "run",
        help="curate, train, sweep, score and confirm a workspace, and write its report",
        examples=[
            "vultus run ada",
            "vultus run ada --detach",
            "vultus run ada --json",
            "vultus run . --retry-failed",
        ],
    )
    parser.add_argument(
        "workspace", type=Path, help="folder with persona.toml, vultus.toml, pictures/"
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="train again where a training said no before"
    )
    parser.add_argument(
        "--preview", action="store_true", help="say what it would cost, and start nothing"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    detachable(parser)
    parser.set_defaults(handle=_handle)


def _handle(args: argparse.Namespace) -> int:
    return run_workspace(args, args.workspace)


def run_workspace(args: argparse.Namespace, folder: Path) -> int:
    """Run a workspace, write its report, and say what was found."""
    from vultus.reports.deliver import deliver
    from vultus.studies.drive import drive
    from vultus.studies.workspace import Workspace

    workspace = Workspace(folder)
    if getattr(args, "preview", False):
        return _preview(args, workspace)
    try:
        outcome = drive(workspace, retry_failed=args.retry_failed, quiet=args.quiet)
        delivered = deliver(workspace, outcome)
    except CancelledError:
        raise  # whoever stopped it knows
    except Exception as fault:
        _tell_end(folder, "failed", f"the run of {folder.resolve().name} broke off", str(fault))
        raise
    event = "undecided" if outcome.gate.answer == "undecided" else "done"
    _tell_end(folder, event, delivered.words[0], *delivered.words[1:], str(delivered.report))
    say(
        args,
        _record(outcome, delivered.report, delivered.lora),
        [
            *delivered.words,
            *(f"clock   {tick.words}" for tick in outcome.ticks),
            f"LoRA    {delivered.lora}",
            f"report  {delivered.report}",
        ],
    )
    return EXIT_DONE if outcome.gate.passed else EXIT_NO


def _preview(args: argparse.Namespace, workspace: Workspace) -> int:
    from dataclasses import asdict

    from vultus.studies.cost import preview
    from vultus.studies.drive import count_lanes
    from vultus.studies.foresight import refuse_hopeless
    from vultus.studies.given import gather

    given = gather(workspace)
    refuse_hopeless(given)
    found = preview(given, count_lanes(given))
    say(args, {**asdict(found), "renders": found.renders, "seconds": found.seconds}, found.lines())
    return EXIT_DONE


def _tell_end(folder: Path, event: str, title: str, *lines: str) -> None:
    """Tell whoever [notify] names; a notice that fails changes nothing about the run."""
    from vultus.notices.records import Notice
    from vultus.notices.send import announce
    from vultus.studies.plan import PLAN_FILE, load_plan

    try:
        spec = load_plan(folder / PLAN_FILE).notify
    except VultusError:
        return  # a plan that cannot be read names nobody; the fault itself is on its way to the user
    announce(Notice(event, title, lines, folder.resolve().name), spec, folder)


def _record(outcome: Outcome, report: Path, lora: Path) -> dict[str, Any]:
    chosen = outcome.choice.chosen
    return {
        "persona": outcome.persona.name,
        "gate": outcome.gate.answer,
        "reasons": list(outcome.gate.reasons),
        "guards": [guard.to_json() for guard in outcome.guards],
        "second_judge": outcome.second.to_json() if outcome.second else None,
        "chosen": {
            "base": chosen.base,
            "checkpoint": chosen.checkpoint,
            "strength": chosen.strength,
            "screening_m10": outcome.cell(chosen).score.m10.to_json(),
            "p_best": outcome.choice.p_best,
            "settled": outcome.choice.settled,
        },
        "rivals": [
            {
                "base": rival.cell.base,
                "checkpoint": rival.cell.checkpoint,
                "strength": rival.cell.strength,
                "p_best": rival.p_best,
                "behind": rival.behind.to_json(),
                "told_apart": rival.told_apart,
            }
            for rival in outcome.choice.rivals
        ],
        "m10": outcome.fresh.score.m10.to_json(),
        "m10_by_framing": {g.name: g.m10.to_json() for g in outcome.fresh.score.groups},
        "base_alone_m10": outcome.fresh_alone.score.m10.to_json(),
        "m10_by_pose": {p.name: p.m10.to_json() for p in outcome.fresh.score.poses},
        "ceiling": [row.to_json() for row in outcome.ceiling],
        "misses": outcome.fresh.score.misses,
        "dropped": [
            {"name": d.name, "reason": d.reason, "partner": d.partner}
            for d in outcome.dataset.drops
        ],
        "references": [member.name for member in outcome.dataset.references],
        "trained_on": [member.name for member in outcome.dataset.training],
        "seconds": {stage.kind: round(stage.seconds, 2) for stage in outcome.stages},
        "lora": str(lora),
        "report": str(report),
    }
