"""`vultus votes`: a blind vote over a finished run, and where the voter's own 8 of 10 lies on m10."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vultus.cli.wording import EXIT_DONE, Nouns, noun, say

if TYPE_CHECKING:
    from vultus.studies.voting import Deck

__all__ = ["add"]

VOTES = "votes.json"


def add(subparsers: Nouns) -> None:
    """Add `vultus votes`."""
    parser = noun(
        subparsers,
        "votes",
        help="vote blindly on renders of a finished run, and see where your own 8 of 10 lies on m10",
        examples=[
            "vultus votes ada",
            "vultus votes ada --answer",
            "vultus votes ada --read ~/Downloads/votes.json",
        ],
    )
    parser.add_argument("workspace", type=Path, help="folder of a run that is finished")
    parser.add_argument("--pairs", type=int, default=20, help="pairs on the page (default: 20)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--read", type=Path, metavar="FILE", help="compare the votes of a file")
    what.add_argument(
        "--answer",
        action="store_true",
        help="type the marks in the terminal while you look at the page; kept in reports/votes.json",
    )
    parser.set_defaults(handle=_handle)


def _handle(args: argparse.Namespace) -> int:
    from vultus.core.errors import ScoreError
    from vultus.reports.votes import write_vote_page
    from vultus.studies.drive import look_up
    from vultus.studies.voting import deal
    from vultus.studies.workspace import Workspace

    if args.pairs < 1:
        raise ScoreError(
            f"--pairs {args.pairs} is no number of pairs", next_command="use --pairs 20"
        )
    workspace = Workspace(args.workspace)
    outcome = look_up(workspace)
    deck = deal(outcome, args.pairs)
    if args.read is not None:
        return _compare(args, deck, args.read, outcome.plan.gate.m10)
    page = workspace.reports / f"votes-{deck.digest.removeprefix('sha256:')[:8]}.html"
    write_vote_page(deck, outcome.persona.name, page)
    if args.answer:
        file = workspace.reports / VOTES
        _ask(deck, file, page)
        return _compare(args, deck, file, outcome.plan.gate.m10)
    say(
        args,
        {"page": str(page), "deck": deck.digest, "pairs": len(deck.pairs)},
        [
            f"page    {page}",
            f"        {len(deck.pairs)} pairs; save the votes there, then:",
            f"        vultus votes {args.workspace} --read votes.json",
        ],
    )
    return EXIT_DONE


def _compare(args: argparse.Namespace, deck: Deck, file: Path, bar: float) -> int:
    import json

    from vultus.core.errors import ScoreError
    from vultus.scoring.votes import agreement, read_marks

    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise ScoreError(
            f"the votes cannot be read: {fault}",
            where=str(file),
            expected="the votes.json that the page saves",
            next_command=f"vultus votes {args.workspace}",
        ) from fault
    marks = read_marks(table if isinstance(table, dict) else {}, deck.digest, len(deck.pairs))
    found = agreement(deck.pairs, marks, deck.m10)
    say(
        args,
        {**found.to_json(), "gate_bar": bar},
        [*found.lines(), f"the gate's bar is m10 {bar:g}"],
    )
    return EXIT_DONE


def _ask(deck: Deck, file: Path, page: Path) -> None:
    """Ask for the marks of each pair; what was answered is kept after each, and an empty line stops."""
    import json
    import sys

    from vultus.core.files import write_json

    kept: dict[int, tuple[float, float]] = {}
    if file.is_file():
        table = json.loads(file.read_text(encoding="utf-8"))
        if table.get("deck") == deck.digest:
            kept = {int(m["pair"]): (float(m["left"]), float(m["right"])) for m in table["marks"]}
    print(f"Open {page} and give two marks from 0 to 10 for each pair, e.g. 7 4.", file=sys.stderr)
    print("An empty line stops; the next call goes on there.", file=sys.stderr)
    for position in range(len(deck.pairs)):
        while position not in kept:
            print(
                f"pair {position + 1} of {len(deck.pairs)} (left right): ", end="", file=sys.stderr
            )
            sys.stderr.flush()
            words = sys.stdin.readline().split()
            if not words:
                return
            marks = _two_marks(words)
            if marks is None:
                print("two marks from 0 to 10, please", file=sys.stderr)
                continue
            kept[position] = marks
            rows = [{"pair": i, "left": a, "right": b} for i, (a, b) in sorted(kept.items())]
            write_json(file, {"deck": deck.digest, "marks": rows})


def _two_marks(words: list[str]) -> tuple[float, float] | None:
    try:
        left, right = (float(word) for word in words)
    except ValueError:
        return None
    return (left, right) if 0 <= left <= 10 and 0 <= right <= 10 else None
