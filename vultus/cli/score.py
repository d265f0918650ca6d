"""`vultus score`: how close a folder of pictures is to a folder of references, and a report of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.cli.wording import EXIT_DONE, Nouns, detachable, noun, say

if TYPE_CHECKING:
    from vultus.scoring.folder import FolderScore, ReadPicture

__all__ = ["add"]


def add(subparsers: Nouns) -> None:
    """Add `vultus score`."""
    parser = noun(
        subparsers,
        "score",
        help="score a folder of pictures against a folder of references and write a report",
        examples=[
            "vultus score --references ada/references --pictures renders/",
            "vultus score --pack free --references A/ --pictures B/ --impostors without_lora/",
        ],
    )
    parser.add_argument(
        "--references", type=Path, required=True, help="pictures of one person, 12 or more"
    )
    parser.add_argument("--pictures", type=Path, required=True, help="the pictures to score")
    parser.add_argument(
        "--impostors",
        type=Path,
        action="append",
        default=[],
        help="strangers of the same kind, best the same prompts without the LoRA; they set the 0 "
        "of the scale (may be given more than once)",
    )
    parser.add_argument(
        "--trained",
        type=Path,
        action="append",
        default=[],
        help="pictures that the LoRA was trained on; with them copying is looked for (may be given more than once)",
    )
    parser.add_argument("--pack", default="free", help="face pack: a name or a folder")
    parser.add_argument("--bar", type=float, default=8.0, help="m10 that the pictures must reach")
    parser.add_argument(
        "--report", type=Path, default=Path("vultus-score.html"), help="where the report is written"
    )
    detachable(parser, card=False)
    parser.set_defaults(handle=_score)


def _score(args: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from vultus import __version__
    from vultus.core.errors import ScoreError
    from vultus.core.progress import Progress
    from vultus.faces.engines import open_engine
    from vultus.faces.packs import find_pack
    from vultus.images.load import list_pictures
    from vultus.reports.build import write_report
    from vultus.reports.folder import folder_report
    from vultus.scoring.folder import score_folders
    from vultus.scoring.records import GateSpec

    if not 0.0 < args.bar <= 10.0:
        raise ScoreError(f"--bar {args.bar:g} is outside 0..10", next_command="use --bar 8")
    folders = [args.references, args.pictures, *args.impostors, *args.trained]
    count = sum(len(list_pictures(folder)[0]) for folder in folders)
    engine = open_engine(find_pack(args.pack))
    with Progress(count, "reading faces", "pictures", quiet=args.json) as progress:
        found = score_folders(
            engine,
            args.references,
            args.pictures,
            args.impostors,
            trained=args.trained,
            progress=progress,
        )
    report = folder_report(
        found,
        references=args.references.resolve().name,
        pictures=args.pictures.resolve().name,
        gate=GateSpec(m10=args.bar, worst_group_m10=0.0),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        environment={"vultus": __version__},
    )
    path = write_report(report, args.report)
    said = [report.verdict.headline, *(f"  {words}" for words in report.verdict.sentences)]
    say(args, _record(found, report.verdict.answer, path), [*said, f"report: {path}"])
    return EXIT_DONE


def _record(found: FolderScore, answer: str, path: Path) -> dict[str, Any]:
    return {
        "answer": answer,
        "m10": found.score.m10.to_json() if found.score else None,
        "refused": list(found.refused),
        "guards": [guard.to_json() for guard in found.guards],
        "cosine": found.cosine.to_json() if found.cosine else None,
        "share_of_references": found.share.to_json() if found.share else None,
        "misses": found.misses,
        "pack": {"name": found.pack_name, "digest": found.pack_digest},
        "references": [_row(picture) for picture in found.references],
        "references_of_somebody_else": [str(picture.path) for picture in found.odd],
        "pictures": [_row(picture) for picture in found.pictures],
        "impostors": [_row(picture) for picture in found.impostors],
        "unreadable": [{"file": str(f.path), "reason": f.reason} for f in found.faults],
        "report": str(path),
    }


def _row(picture: ReadPicture) -> dict[str, Any]:
    return {
        "file": str(picture.path),
        "state": picture.state,
        "cosine": picture.cosine,
        "m10": picture.points,
        "llr10": picture.llr10,
    }
