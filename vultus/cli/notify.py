"""`vultus notify`: send a trial notice, so that silence in the night means that nothing happened."""

from __future__ import annotations

import argparse
from pathlib import Path

from vultus.cli.wording import EXIT_DONE, EXIT_NO, Nouns, noun, say

__all__ = ["add"]

EVENTS = ("done", "failed", "undecided", "deadline")


def add(subparsers: Nouns) -> None:
    """Add `vultus notify`."""
    parser = noun(
        subparsers,
        "notify",
        help="send a trial notice on every way that [notify] of vultus.toml names",
        examples=["vultus notify ada", "vultus notify ada --event failed"],
    )
    parser.add_argument("workspace", type=Path, help="folder with vultus.toml")
    parser.add_argument("--event", choices=EVENTS, default="done", help="what the trial pretends")
    parser.set_defaults(handle=_handle)


def _handle(args: argparse.Namespace) -> int:
    from vultus.notices.records import Notice
    from vultus.notices.send import announce
    from vultus.studies.plan import PLAN_FILE, load_plan

    spec = load_plan(args.workspace / PLAN_FILE).notify
    notice = Notice(
        args.event,
        f"Vultus: a trial of {args.event!r} for {args.workspace.resolve().name}",
        ("If you read this, the real one will reach you too.",),
        args.workspace.resolve().name,
    )
    told = announce(notice, spec, args.workspace)
    if spec.is_silent:
        lines = [f"[notify] of {args.workspace / PLAN_FILE} names nobody to tell"]
    elif not told:
        lines = [f"[notify] on does not name {args.event!r}: nothing is told"]
    else:
        lines = [f"{way:9} " + (f"not told: {why}" if why else "told") for way, why in told.items()]
    say(args, {"told": told}, lines)
    return EXIT_DONE if told and not any(told.values()) else EXIT_NO
