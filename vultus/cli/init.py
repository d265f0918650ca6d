"""`vultus init`: make the folder of a new persona, with every setting written out and explained."""

from __future__ import annotations

import argparse
from pathlib import Path

from vultus.cli.wording import EXIT_DONE, Nouns, noun, say

__all__ = ["add"]


def add(subparsers: Nouns) -> None:
    """Add `vultus init`."""
    parser = noun(
        subparsers,
        "init",
        help="make a workspace for a persona: persona.toml, vultus.toml and an empty pictures folder",
        examples=[
            "vultus init ada --name Ada --trigger ohwx --class-words woman --synthetic --adult"
        ],
    )
    parser.add_argument("workspace", type=Path, help="folder to make")
    parser.add_argument("--name", help="name of the persona (default: the folder's name)")
    parser.add_argument("--trigger", default="ohwx", help="rare word that will mean the persona")
    parser.add_argument("--class-words", default="person", help="what it is without its name")
    origin = parser.add_mutually_exclusive_group()
    origin.add_argument("--synthetic", action="store_true", help="the face belongs to nobody")
    origin.add_argument(
        "--consented", action="store_true", help="a real person who agreed to this use"
    )
    parser.add_argument("--adult", action="store_true", help="the persona is an adult")
    parser.add_argument(
        "--preset",
        help="training settings to begin with: rtx4090-24g, 16g, 12g (full-size SDXL), standin-cpu",
    )
    parser.set_defaults(handle=_handle)


def _handle(args: argparse.Namespace) -> int:
    from vultus.studies.start import make_workspace
    from vultus.training.presets import preset

    provenance = "consented real person" if args.consented else "synthetic"
    made = make_workspace(
        args.workspace,
        name=args.name or args.workspace.resolve().name,
        trigger=args.trigger,
        class_words=args.class_words,
        provenance=provenance if args.synthetic or args.consented else "",
        adult=args.adult,
        train=preset(args.preset) if args.preset else None,
    )
    say(
        args,
        {"workspace": str(args.workspace), "made": [str(path) for path in made]},
        [
            *(f"made {path}" for path in made),
            f"put 30 or more pictures of one person into {args.workspace / 'pictures'},",
            f"set `bases` in {args.workspace / 'vultus.toml'}, then: vultus run {args.workspace}",
        ],
    )
    return EXIT_DONE
