"""Writes a report: one HTML file that needs nothing else, today or in ten years.

The page holds its own style, drawings and pictures; it loads nothing, runs no script, and says so
to the browser (Content-Security-Policy). It reads on a phone, prints on paper, and follows the dark
theme of the system. The same record always gives the same bytes.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from vultus.core.files import write_text
from vultus.reports import appendix, sections
from vultus.reports.ceiling import ceiling_chart, ceiling_words
from vultus.reports.guards import guard_table, second_table
from vultus.reports.html import Html, join, raw, tag
from vultus.reports.records import PictureView, RunReport
from vultus.reports.thumbs import Thumbs

__all__ = ["page", "write_report"]

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'"


def write_report(report: RunReport, path: Path) -> Path:
    """Write the page in one piece (beside, synced, renamed) and return its path."""
    write_text(path, page(report))
    return path


def page(report: RunReport) -> str:
    """The whole page as text."""
    thumbs = Thumbs()
    parts = _parts(report, thumbs)
    links = [tag("a", title, href=f"#{name}") for name, title, _, body in parts if body]
    body = [sections.section(name, title, lede, html) for name, title, lede, html in parts]
    head = tag(
        "head",
        raw('<meta charset="utf-8"/>'),
        raw('<meta name="viewport" content="width=device-width, initial-scale=1"/>'),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{report.title} · Vultus"),
        tag("style", raw(_style())),
    )
    top = tag(
        "header",
        tag("p", tag("b", "Vultus"), tag("span", report.title), class_="brand"),
        tag("p", " · ".join(p for p in (report.subtitle, report.created) if p), class_="when"),
    )
    menu = tag("nav", *links, aria_label="parts of this report") if len(links) > 2 else raw("")
    main = tag("main", sections.hero(report, thumbs), menu, *body)
    return "<!doctype html>\n" + tag("html", head, tag("body", top, main, _foot(thumbs)), lang="en")


def _parts(report: RunReport, thumbs: Thumbs) -> list[tuple[str, str, str, Html]]:
    """Name, title, lede and content of every section, in reading order."""
    pictures = [sections.sheets(report.sheets, thumbs)]
    if report.pictures:
        pictures.append(appendix.strip("Every picture", "", report.pictures, thumbs))
    on_scale = any(view.points is not None for view in _shown(report))
    under = "place on the scale from 0 to 10" if on_scale else "cosine to the references"
    learnt = bool(report.trained or report.dropped)
    method = appendix.method() if report.cells and report.yardsticks else raw("")
    return [
        (
            "look",
            "See for yourself",
            f"The number under a picture is its own {under}." + _where(report),
            join(pictures),
        ),
        (
            "cells",
            "Every combination",
            "Base model by base model: training step down, LoRA strength across, m10 in the "
            "square. Squares share prompts and starting noise, as far as each was rendered.",
            sections.cells(report),
        ),
        (
            "guards",
            "What the number was not bought with",
            (
                "Each line compares the chosen renders with the base's own, same prompt and same starting noise. "
                if report.cells
                else ""
            )
            + "None of them enters the score.",
            join((guard_table(report.guards), second_table(report.second))),
        ),
        ("training", "Training", "", sections.training(report)),
        (
            "scale",
            "What 0 and 10 mean" if on_scale else "How close they are",
            "Each dot is one picture. The further right, the closer to the persona.",
            join((sections.scales(report.yardsticks), method)),
        ),
        ("ceiling", "What the picture format leaves", "", _ceiling(report)),
        (
            "dataset",
            "The pictures it learnt from" if learnt else "The references",
            "Nothing was deleted: dropped pictures are still in your folder." if learnt else "",
            appendix.dataset(report, thumbs),
        ),
        ("time", "Where the time went", "", appendix.timings(report.timings)),
        ("print", "Small print", "", appendix.small_print(report)),
    ]


def _ceiling(report: RunReport) -> Html:
    """The ceiling of the training base, where it was drawn."""
    if len(report.ceiling) < 2:
        return raw("")
    drawing = tag("figure", ceiling_chart(report.ceiling), class_="chart")
    return join((ceiling_words(report.ceiling), tag("div", drawing, class_="charts")))


def _where(report: RunReport) -> str:
    chosen = report.chosen
    if chosen is None or not report.cells:
        return ""
    return f" Chosen: {chosen.base}, step {chosen.checkpoint}."


def _shown(report: RunReport) -> list[PictureView]:
    on_sheets = [p for sheet in report.sheets for row in sheet.rows for p in row.pictures if p]
    return [*on_sheets, *report.pictures]


def _foot(thumbs: Thumbs) -> Html:
    said = ["Pictures marked as renders were made by a trained model; their thumbnails say so too."]
    if thumbs.missing:
        said.append(f"{thumbs.missing} pictures were gone when this page was written.")
    said.append("This page loads nothing from anywhere.")
    return tag("footer", *(tag("p", words) for words in said))


def _style() -> str:
    return files("vultus.reports").joinpath("page.css").read_text(encoding="utf-8")
