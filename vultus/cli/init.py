"""`vultus init`: make the folder of a new persona, with every setting written out and explained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vultus.cli.wording import EXIT_DONE, Nouns, noun, say

if TYPE_CHECKING:
    from vultus.studies.plan import RunSpec

__all__ = ["add"]

_PHOTOGRAPHS = "--preset rtx4090-24g --base ~/models/YOUR_SDXL.safetensors"


def add(subparsers: Nouns) -> None:
    """Add `vultus init`."""
    parser = noun(
        subparsers,
        "init",
        help="make a workspace for a persona: persona.toml, vultus.toml and an empty pictures folder",
        examples=[
            "vultus init ada --name Ada --trigger ohwx --class-words woman --synthetic --adult",
            "vultus init ada --class-words woman --consented --adult --preset rtx4090-24g --base sdxl.safetensors",
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
        help="what to begin with: rtx4090-24g, 16g, 12g (photographs and full-size SDXL: training, renders, face pack),"
        " or standin-cpu (drawn faces)",
    )
    parser.add_argument(
        "--base",
        action="append",
        default=[],
        metavar="PATH",
        help="base model to train on and render with: a .safetensors file, a diffusers folder or standin/<name>;"
        " may be given several times, the first is trained on",
    )
    parser.set_defaults(handle=_handle)


def _handle(args: argparse.Namespace) -> int:
    from vultus.studies.plan import PLAN_FILE, load_plan
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
        bases=[_from_anywhere(name) for name in args.base],
    )
    plan = load_plan(args.workspace / PLAN_FILE)
    say(
        args,
        {
            "workspace": str(args.workspace),
            "made": [str(path) for path in made],
            "bases": list(plan.bases),
            "face_pack": plan.face_pack,
        },
        [*(f"made {path}" for path in made), *_next_lines(args.workspace, plan)],
    )
    return EXIT_DONE


def _from_anywhere(name: str) -> str:
    """A base as vultus.toml needs it: what is typed is relative to here, what stands there to the workspace."""
    from vultus.studies.bases import PACKAGED

    return name if name.startswith(PACKAGED) else str(Path(name).expanduser().absolute())


def _next_lines(workspace: Path, plan: RunSpec) -> list[str]:
    """Which kind of workspace this is, and what is still to do before the run."""
    from vultus.studies.start import is_full_size

    if not is_full_size(plan):
        return [
            "its sizes and its face pack are the stand-in world's: they know drawn faces only. For photographs",
            f"remove both .toml files and call it again with: {_PHOTOGRAPHS}",
            f"for drawn faces put 30 or more pictures of one person into {workspace / 'pictures'},",
            f"then: vultus run {workspace}",
        ]
    side = plan.render.width_px
    return [
        f"it is for photographs and full-size SDXL: {side} px, face pack {plan.face_pack}. Still to do:",
        f"put 30 or more pictures of one person into {workspace / 'pictures'}",
        *_unready(workspace, plan),
        f"vultus models fetch {plan.face_pack}   (once on a machine)",
        f"then: vultus run {workspace}",
    ]


def _unready(workspace: Path, plan: RunSpec) -> list[str]:
    """A line for each base that a run would refuse. It may still be on its way here, so that this is no fault."""
    from vultus.core.errors import WeightsError
    from vultus.studies.bases import locate_base
    from vultus.studies.start import UNSET_BASE

    lines = []
    for name in plan.bases:
        try:
            locate_base(name, workspace)
        except WeightsError as fault:
            told = "it is a placeholder" if name == UNSET_BASE else fault.what
            lines.append(f"set `bases` in {workspace / 'vultus.toml'} to your SDXL model ({told})")
    return lines
