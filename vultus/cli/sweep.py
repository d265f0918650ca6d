"""`vultus sweep show`: the heat maps of a finished run in the terminal, and its charts as files."""

from __future__ import annotations

import argparse
from pathlib import Path

from vultus.cli.wording import EXIT_DONE, Nouns, noun, say, verb

__all__ = ["add"]


def add(subparsers: Nouns) -> None:
    """Add `vultus sweep` and its verbs."""
    parser = noun(
        subparsers,
        "sweep",
        help="look at the sweep of a finished run",
        examples=["vultus sweep show ada", "vultus sweep export ada charts/"],
    )
    verbs: Nouns = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    show = verb(
        verbs, "show", help="print m10 of every cell", examples=["vultus sweep show ada --json"]
    )
    show.add_argument("workspace", type=Path, help="folder of a run that is finished")
    show.set_defaults(handle=_show)
    export = verb(
        verbs,
        "export",
        help="write the charts of the report as SVG and PNG files",
        examples=["vultus sweep export ada charts/"],
    )
    export.add_argument("workspace", type=Path, help="folder of a run that is finished")
    export.add_argument("folder", type=Path, help="where the files are written")
    export.set_defaults(handle=_export)


def _show(args: argparse.Namespace) -> int:
    from vultus.reports.run import run_report
    from vultus.reports.terminal import sweep_lines
    from vultus.studies.drive import look_up
    from vultus.studies.workspace import Workspace

    outcome = look_up(Workspace(args.workspace))
    report = run_report(outcome)
    cells = [
        {
            "base": view.base,
            "checkpoint": view.checkpoint,
            "strength": view.strength,
            "m10": view.m10.to_json(),
            "misses": view.misses,
            "renders": view.n_renders,
            "chosen": view.chosen,
            "tied": view.tied,
        }
        for view in report.cells
    ]
    said = [*sweep_lines(report), report.verdict.headline, *report.verdict.sentences]
    record = {"cells": cells, "rounds": outcome.swept_rounds, "stopped": outcome.swept_stop}
    say(args, record, said)
    return EXIT_DONE


def _export(args: argparse.Namespace) -> int:
    from vultus.reports.export import export_charts
    from vultus.reports.run import run_report
    from vultus.studies.drive import look_up
    from vultus.studies.workspace import Workspace

    written = export_charts(run_report(look_up(Workspace(args.workspace))), args.folder)
    say(args, {"files": [str(path) for path in written]}, [str(path) for path in written])
    return EXIT_DONE
