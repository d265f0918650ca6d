"""`vultus demo`: the whole run on the stand-in world, from a folder of pictures to a report, in minutes."""

from __future__ import annotations

import argparse
from pathlib import Path

from vultus.cli.wording import EXIT_DONE, Nouns, detachable, noun

__all__ = ["add"]


def add(subparsers: Nouns) -> None:
    """Add `vultus demo`."""
    parser = noun(
        subparsers,
        "demo",
        help="run everything on a bundled persona of the stand-in world: no GPU, no downloads",
        examples=["vultus demo", "vultus demo /tmp/ada --json"],
    )
    parser.add_argument(
        "workspace",
        type=Path,
        nargs="?",
        default=Path("vultus-demo"),
        help="folder to make (default: vultus-demo); an existing demo goes on where it was",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="train again where a training said no before"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    detachable(parser)
    parser.set_defaults(handle=_handle)


def _handle(args: argparse.Namespace) -> int:
    from vultus.cli.run import run_workspace
    from vultus.studies.start import copy_demo

    copy_demo(args.workspace)
    run_workspace(args, args.workspace)
    return EXIT_DONE  # the demo shows a verdict; whether the bundled LoRA passes is not its failure
