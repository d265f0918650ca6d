"""`vultus tools`: kohya's trainer and ComfyUI in environments of their own, built from locks with hashes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vultus.cli.wording import EXIT_DONE, EXIT_NO, Nouns, detachable, noun, say, verb

__all__ = ["add"]

TOOLS = ("kohya", "comfyui")


def add(subparsers: Nouns) -> None:
    """Add `vultus tools` and its verbs."""
    parser = noun(
        subparsers,
        "tools",
        help="install kohya's trainer or ComfyUI from locked packages, and check what is installed",
        examples=["vultus tools install kohya", "vultus tools check"],
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _install_verb(verbs)
    listing = verb(verbs, "list", help="list the environments that were built, and which is in use")
    listing.set_defaults(handle=_list)
    check = verb(
        verbs,
        "check",
        help="compare installed tools with what was installed, file by file; exit code 1 on any change",
        examples=["vultus tools check", "vultus tools check kohya --deep"],
    )
    check.add_argument("name", nargs="?", choices=TOOLS, help="one tool (default: all installed)")
    check.add_argument(
        "--deep", action="store_true", help="hash every file, whatever it looks like"
    )
    check.set_defaults(handle=_check)


def _install_verb(verbs: Nouns) -> None:
    install = verb(
        verbs,
        "install",
        help="build a tool's environment beside the one in use, check it, and exchange them in one step",
        examples=[
            "vultus tools install kohya",
            "vultus tools install comfyui --source ~/ComfyUI --from ~/wheels",
        ],
    )
    install.add_argument("name", choices=TOOLS, help="what to install")
    install.add_argument(
        "--commit", default="", help="another commit than the pinned one (40 digits)"
    )
    install.add_argument(
        "--source", default="", help="git address, checkout or folder (default: the tool's own)"
    )
    install.add_argument(
        "--digest", default="", help="digest that the Python files of --commit must have"
    )
    install.add_argument(
        "--from", dest="wheels", type=Path, help="folder of wheels instead of the network"
    )
    install.add_argument(
        "--torch",
        type=Path,
        metavar="WHEEL",
        help="torch from this file, e.g. a build without CUDA",
    )
    detachable(install, card=False)
    install.set_defaults(handle=_install)


def _install(args: argparse.Namespace) -> int:
    from vultus.tools.build import Wanted, build
    from vultus.tools.recipe import find_recipe

    def tell(words: str) -> None:
        print(words, file=sys.stderr)

    recipe = find_recipe(args.name).at(commit=args.commit, source=args.source, code=args.digest)
    place = build(Wanted(recipe, args.wheels, args.torch), tell)
    say(
        args,
        {"folder": str(place.folder), **place.record},
        [
            f"{place.name} at {place.record['commit'][:12]}, environment {place.digest}:"
            f" {place.record['files']:,} files as their records say",
            f"python  {place.python}",
            f"entry   {place.entry}",
        ],
    )
    return EXIT_DONE


def _list(args: argparse.Namespace) -> int:
    from vultus.core.errors import ToolError
    from vultus.tools.places import current, installed

    rows, lines = [], []
    for name in TOOLS:
        try:
            used = current(name).folder
        except ToolError:
            used = None
        for place in installed(name):
            rows.append({**place.record, "folder": str(place.folder), "used": place.folder == used})
            mark = "*" if place.folder == used else " "
            lines.append(
                f"{mark} {name:8} {place.record['commit'][:12]}  {place.digest}  {place.folder}"
            )
    lines = [*lines, "* in use"] if lines else ["no tool is installed: vultus tools install kohya"]
    say(args, {"tools": rows}, lines)
    return EXIT_DONE


def _check(args: argparse.Namespace) -> int:
    from vultus.core.home import home
    from vultus.tools.places import current, installed

    names = [args.name] if args.name else [name for name in TOOLS if installed(name)]
    found = {name: current(name).faults(home() / "sound.json", deep=args.deep) for name in names}
    lines = []
    for name, faults in found.items():
        lines.append(
            f"{name}: " + ("as it was installed" if not faults else f"{len(faults)} changes")
        )
        lines += [f"  {fault}" for fault in faults]
        if faults:
            lines.append(f"  next: rm -r {current(name).folder} && vultus tools install {name}")
    say(args, {"tools": found}, lines or ["no tool is installed"])
    return EXIT_NO if any(found.values()) else EXIT_DONE
