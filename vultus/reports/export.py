"""The charts of a report as files of their own, as SVG and PNG: for a page, a paper or a message.

On the page a chart takes its colours from the style sheet; alone it carries the few rules it needs (light theme).
The PNG is drawn by resvg (github.com/linebender/resvg) with the letters that come with Pillow, so that a pod without
fonts draws what any other machine draws; letters those lack are taken from the system's fonts.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from vultus.core.files import write_bytes
from vultus.reports.figures import checkpoint_chart, loss_chart, scale_chart, strength_chart
from vultus.reports.html import Html
from vultus.reports.records import RunReport

__all__ = ["draw_png", "export_charts"]

ZOOM = 2.0
"""Pixels of the PNG per unit of the drawing: sharp on a dense screen."""

STYLE = """<style>
text { font: 13px sans-serif; fill: #1c2428; } .tick { text-anchor: end; fill: #5b666b; }
.mid { text-anchor: middle; } .axis { fill: #5b666b; } .rule, .nick { stroke: #e4dfd4; }
.line { fill: none; stroke: #0d6b68; stroke-width: 2.5; } .other { stroke: #a39d91; stroke-width: 1.2; }
.raw { stroke: #e4dfd4; stroke-width: 1; } .band { fill: #0d6b6822; }
.dot { fill: #0d6b68; } .dot.other { fill: #a39d91; }
.dot.open { fill: #fff; stroke: #0d6b68; stroke-width: 1.2; } .dot.other.open { stroke: #a39d91; }
.ring { fill: none; stroke: #1c2428; stroke-width: 1.6; }
.gate, .anchor, .mark { stroke: #8f5b06; stroke-dasharray: 5 4; }
.stranger { fill: #a39d91; stroke: #a39d91; } .render { fill: #0d6b68; stroke: #0d6b68; }
.reference { fill: #2b3a41; stroke: #2b3a41; }
.row-name.end { text-anchor: end; } .anchor-name { text-anchor: middle; fill: #8f5b06; }
</style>"""


def export_charts(report: RunReport, folder: Path) -> list[Path]:
    """Write each chart that the report has as an SVG and a PNG; returns their paths."""
    charts: dict[str, Html] = {}
    if report.chosen is not None and report.cells:
        if len({cell.strength for cell in report.cells}) > 1:
            charts["strength"] = strength_chart(report.cells, report.chosen)
        if len({cell.checkpoint for cell in report.cells if cell.strength > 0}) > 1:
            charts["checkpoints"] = checkpoint_chart(report.cells, report.chosen)
    if any(len(curve.points) > 1 for curve in report.losses):
        charts["loss"] = loss_chart(report.losses, [])
    told = [view for view in report.yardsticks if view.references and view.impostors]
    if told:
        charts["scale"] = scale_chart(told[-1])
    written = []
    for name, drawing in charts.items():
        head, _, rest = drawing.partition(">")
        whole = f"{head}>{STYLE}{rest}\n"
        for suffix, data in ((".svg", whole.encode()), (".png", draw_png(whole))):
            write_bytes(folder / f"{name}{suffix}", data)
            written.append(folder / f"{name}{suffix}")
    return written


def draw_png(svg: str) -> bytes:
    """Draw an SVG on white."""
    import resvg_py
    from PIL import ImageFont

    letters = ImageFont.load_default(13)
    assert isinstance(letters, ImageFont.FreeTypeFont)
    family = str(letters.getname()[0])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "letters.ttf"
        path.write_bytes(letters.font_bytes)
        drawn: bytes = resvg_py.svg_to_bytes(
            svg_string=svg.replace("\N{MINUS SIGN}", "-"),  # Pillow's letters lack it
            background="#ffffff",
            zoom=ZOOM,
            font_files=[str(path)],
            font_family=family,
            sans_serif_family=family,
        )
    return drawn
