"""`vultus calibrate`: can anything be measured here, how sharply, and what would the picture format alone cost?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.cli.wording import EXIT_DONE, EXIT_NO, Nouns, detachable, noun, say

if TYPE_CHECKING:
    from vultus.studies.calibration import Calibrated
    from vultus.studies.outcome import Scale

__all__ = ["add"]


def add(subparsers: Nouns) -> None:
    """Add `vultus calibrate`."""
    parser = noun(
        subparsers,
        "calibrate",
        help="freeze the yardsticks of a workspace before anything trains, and say how good they are",
        examples=["vultus calibrate ada", "vultus calibrate ada --json"],
    )
    parser.add_argument(
        "workspace", type=Path, help="folder with persona.toml, vultus.toml, pictures/"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    detachable(parser)
    parser.set_defaults(handle=_handle)


def _handle(args: argparse.Namespace) -> int:
    from vultus.studies.calibration import calibrate_workspace
    from vultus.studies.workspace import Workspace

    found = calibrate_workspace(Workspace(args.workspace), quiet=args.quiet or args.json)
    record = {
        "healthy": found.healthy,
        "yardsticks": [_record(scale) for scale in found.scales],
        "ceiling": [row.to_json() for row in found.ceiling],
        "power": [{"true_m10": m10, "certified": chance} for m10, chance in found.cost.power],
        "renders": found.cost.renders,
        "seconds": found.cost.seconds,
    }
    say(args, record, _lines(found))
    return EXIT_DONE if found.healthy else EXIT_NO


def _record(scale: Scale) -> dict[str, Any]:
    yardstick = scale.yardstick
    measurable = not scale.refused
    return {
        "base": scale.base,
        "refused": list(scale.refused),
        "needs": list(yardstick.needs()),
        "digest": yardstick.digest,
        "references": len(yardstick.references),
        "poses": yardstick.poses(),
        "impostors": len(yardstick.impostors),
        "impostor_misses": yardstick.impostor_misses,
        "genuine_mean_cosine": yardstick.genuine_mean if measurable else None,
        "impostor_mean_cosine": yardstick.impostor_mean if measurable else None,
        "cllr": yardstick.calibration.cllr if measurable else None,
        "cllr_min": yardstick.calibration.cllr_min if measurable else None,
    }


def _lines(found: Calibrated) -> list[str]:
    lines = []
    for scale in found.scales:
        yardstick = scale.yardstick
        if scale.refused:
            lines.append(f"{scale.base}: no m10 can be given: {'; '.join(scale.refused)}")
        else:
            lines.append(
                f"{scale.base}: 0 is cosine {yardstick.impostor_mean:.2f}, 10 is {yardstick.genuine_mean:.2f};"
                f" Cllr {yardstick.calibration.cllr:.2f} (0 perfect, 1 a coin toss, refused above 0.5)"
            )
        lines.extend(f"  {need}" for need in yardstick.needs())
    lines.append("ceiling: what this base's picture format alone leaves of the likeness")
    lines.extend(f"  {row.words}" for row in found.ceiling)
    return [*lines, *found.cost.lines()]
