"""`vultus dataset`: from a folder of pictures to a dataset worth training on.

The verbs live in files beside this one, each with a function `add(verbs)`: `dataset_keep` (ingest, dedupe, show),
`dataset_measure` (audit, coverage, caption, split), `dataset_make` (views, frames) and `dataset_freeze` (freeze,
export). `check` is here: it curates a whole workspace the way `vultus run` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vultus.cli import dataset_freeze, dataset_keep, dataset_make, dataset_measure
from vultus.cli.wording import EXIT_DONE, Nouns, detachable, noun, say, verb

__all__ = ["add"]


def add(subparsers: Nouns) -> None:
    """Add `vultus dataset` with all its verbs."""
    parser = noun(
        subparsers,
        "dataset",
        help="turn a folder of pictures into a dataset: find copies and strangers, split, freeze",
        examples=["vultus dataset check ada"],
    )
    verbs: Nouns = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb")
    dataset_keep.add(verbs)
    dataset_measure.add(verbs)
    dataset_make.add(verbs)
    dataset_freeze.add(verbs)
    check = verb(
        verbs,
        "check",
        help="curate the pictures of a workspace and tell the outcome; nothing is trained",
        examples=["vultus dataset check ada", "vultus dataset check ada --json"],
    )
    check.add_argument(
        "workspace", type=Path, help="folder with persona.toml, vultus.toml, pictures/"
    )
    check.add_argument("--quiet", action="store_true", help="no progress line")
    detachable(check, card=False)
    check.set_defaults(handle=_handle)


def _handle(args: argparse.Namespace) -> int:
    from vultus.datasets.coverage import count_coverage
    from vultus.datasets.records import REASON_WORDS
    from vultus.studies.drive import curate_only
    from vultus.studies.workspace import Workspace

    dataset = curate_only(Workspace(args.workspace), quiet=args.quiet)
    coverage = count_coverage(dataset.members)
    lines = [
        f"{len(dataset.references)} references, {len(dataset.training)} to train on,"
        f" {len(dataset.drops)} dropped",
        *(
            f"  {drop.name}: {REASON_WORDS[drop.reason]}"
            + (f", repeats {drop.partner}" if drop.partner else "")
            + f" ({drop.detail})"
            for drop in dataset.drops
        ),
        "faces by size and direction: "
        + ", ".join(f"{size} {facing} {n}" for (size, facing), n in coverage.items()),
        *(f"note: {note}" for note in dataset.notes),
    ]
    record = {
        "references": [member.name for member in dataset.references],
        "trained_on": [member.name for member in dataset.training],
        "dropped": [
            {"name": d.name, "reason": d.reason, "partner": d.partner, "detail": d.detail}
            for d in dataset.drops
        ],
        "coverage": {f"{size} {facing}": n for (size, facing), n in coverage.items()},
        "notes": list(dataset.notes),
    }
    say(args, record, lines)
    return EXIT_DONE
