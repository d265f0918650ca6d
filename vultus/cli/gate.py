"""`vultus gate`: does the chosen cell of a finished run clear the bar, beyond doubt?"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from vultus.cli.wording import EXIT_DONE, EXIT_NO, EXIT_UNDECIDED, Nouns, noun, say

__all__ = ["add"]

EXITS = {"pass": EXIT_DONE, "fail": EXIT_NO, "undecided": EXIT_UNDECIDED}


def add(subparsers: Nouns) -> None:
    """Add `vultus gate`."""
    parser = noun(
        subparsers,
        "gate",
        help="judge the confirmed number of a finished run: exit 0 pass, 1 fail, 2 undecided",
        examples=[
            "vultus gate ada",
            "vultus gate ada --level provisional",
            "vultus gate ada --bar 8.5 --json",
        ],
    )
    parser.add_argument("workspace", type=Path, help="folder of a run that is finished")
    parser.add_argument(
        "--level",
        choices=("certified", "provisional"),
        default="certified",
        help="certified asks for the lower bound above the bar, provisional for the point",
    )
    parser.add_argument("--bar", type=float, help="another bar than [gate] m10")
    parser.set_defaults(handle=_handle)


def _handle(args: argparse.Namespace) -> int:
    from dataclasses import asdict, replace

    from vultus.core.errors import ScoreError
    from vultus.jobs.script import IN_A_PLAN, UNDECIDED
    from vultus.scoring.records import GateSpec
    from vultus.scoring.second import decide
    from vultus.studies.drive import look_up
    from vultus.studies.workspace import Workspace

    if args.bar is not None and not 0.0 < args.bar <= 10.0:
        raise ScoreError(f"--bar {args.bar:g} is outside 0..10", next_command="use --bar 8")
    outcome = look_up(Workspace(args.workspace))
    spec = GateSpec(**asdict(outcome.plan.gate))
    if args.bar is not None:
        spec = replace(spec, m10=args.bar)
    score = outcome.fresh.score
    verdict = decide(spec, score, outcome.guards, outcome.second)
    decision = verdict.decision(args.level)
    record = {
        "decision": decision,
        "level": args.level,
        "answer": verdict.answer,
        "bar": spec.m10,
        "m10": score.m10.to_json(),
        "lower_bound": verdict.lower_bound,
        "confidence": spec.confidence,
        "cell": asdict(outcome.choice.chosen),
        "conditions": [asdict(one) for one in verdict.conditions],
        "reasons": list(verdict.reasons),
        "guards": [guard.to_json() for guard in outcome.guards],
        "second_judge": outcome.second.to_json() if outcome.second else None,
        "warnings": list(score.flags),
        "yardstick": score.yardstick_digest,
        "evidence": list(outcome.fresh.keys),
    }
    counted = {one.name for one in verdict.conditions}
    marks = {True: "kept", False: "BROKEN", None: "open"}
    lines = [
        f"{decision}: {verdict.answer} at a bar of {spec.m10:g} ({outcome.choice.chosen.words})",
        *(f"  {marks[one.kept]:6s} {one.words}" for one in verdict.conditions),
        *(f"  note   {flag}" for flag in score.flags),
        *(f"  note   {one.words}" for one in outcome.guards if one.name not in counted),
    ]
    say(args, record, lines)
    if decision == "undecided" and IN_A_PLAN in os.environ:
        return UNDECIDED
    return EXITS[decision]
