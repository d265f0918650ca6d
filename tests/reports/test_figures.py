"""Charts draw what the record says: places follow values, labels do not cover each other."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.reports.sample import sample_report
from vultus.reports.clock import clock_chart
from vultus.reports.export import draw_png, export_charts
from vultus.reports.figures import checkpoint_chart, loss_chart, scale_chart, strength_chart
from vultus.reports.heat import heat_maps, ranking
from vultus.reports.plot import Frame, spread_apart, ticks
from vultus.reports.records import CellView, Curve, RunReport, YardstickView
from vultus.stats.estimate import Estimate
from vultus.studies.outcome import Tick


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    return sample_report(tmp_path_factory.mktemp("pictures"), sheet_rows=1)


def test_a_frame_maps_its_corners_and_keeps_marks_inside() -> None:
    frame = Frame((0.0, 2.0), (0.0, 10.0), left=40, right=60, top=20, bottom=40, size=(500, 300))
    assert (frame.px(0.0), frame.px(2.0)) == (40.0, 440.0)
    assert (frame.py(0.0), frame.py(10.0)) == (260.0, 20.0)
    assert frame.py(99.0) == 20.0 and frame.py(-99.0) == 260.0


def test_ticks_are_round_and_inside() -> None:
    assert [words for _, words in ticks(0.0, 0.21, 4)] == ["0.00", "0.05", "0.10", "0.15", "0.20"]
    assert [value for value, _ in ticks(1.0, 500.0, 6)] == [100.0, 200.0, 300.0, 400.0, 500.0]
    assert ticks(3.0, 3.0) == [(3.0, "3.00")]


def test_labels_are_moved_apart_as_little_as_needed() -> None:
    assert spread_apart([10.0, 60.0], 17.0, 0.0, 100.0) == [10.0, 60.0]
    crowded = spread_apart([50.0, 51.0, 52.0, 53.0], 17.0, 0.0, 100.0)
    gaps = [b - a for a, b in pairwise(crowded)]
    assert min(gaps) >= 17.0 and crowded[0] >= 0.0 and crowded[-1] <= 101.0
    assert spread_apart([90.0, 10.0], 17.0, 0.0, 100.0) == [90.0, 10.0]


def test_strength_and_checkpoint_charts_show_every_base_once(report: RunReport) -> None:
    assert report.chosen is not None
    strength = strength_chart(report.cells, report.chosen)
    checkpoint = checkpoint_chart(report.cells, report.chosen)
    for drawing, dots in ((strength, 5), (checkpoint, 4)):
        assert drawing.count('class="line"') == 1 and drawing.count('class="line other"') == 2
        assert drawing.count('class="ring"') == 1 and drawing.count('class="band"') == 1
        assert drawing.count('class="dot"') == dots
        assert all(f">{name}</text>" in drawing for name in ("plain", "soft", "ink"))


def test_squares_with_too_few_renders_neither_rank_nor_bend_a_line(report: RunReport) -> None:
    """Planted: one square beside the chosen one, and one of another base, are the highest with one render each."""
    chosen = report.chosen
    assert chosen is not None
    lora = [c for c in report.cells if c.strength > 0 and not c.chosen]
    row = [c for c in lora if (c.base, c.checkpoint) == (chosen.base, chosen.checkpoint)]
    lucky = [row[0], next(c for c in lora if c.base != chosen.base)]
    thin = Estimate(9.9, -math.inf, math.inf, "m10", 1)
    cells = [replace(c, m10=thin, n_renders=1) if c in lucky else c for c in report.cells]
    table = ranking(cells)
    assert "9.9" not in table and "2 squares with too few renders" in table
    assert table.count("<tr") == 8 and 'class="chosen"' in table
    maps = heat_maps(cells)
    assert maps.count("n = 1<") == 2 and maps.count(">9.9<") == 2
    assert "n = 1: too few renders for an interval" in maps
    assert "dot open" not in strength_chart(report.cells, chosen)
    drawing = strength_chart(cells, chosen)
    assert drawing.count('class="dot open"') == 1, "the square beside the chosen one"
    corners = [len(line.split()) for line in re.findall(r'<polyline points="([^"]*)"', drawing)]
    assert len(corners) == 3
    assert sum(corners) == drawing.count('class="dot"') + drawing.count('class="dot other"')
    everywhere = [replace(c, m10=thin, n_renders=1) for c in cells]
    assert ranking(everywhere).count("n = 1<") == 8, "seven and the chosen one"


def test_a_higher_score_is_drawn_higher(report: RunReport) -> None:
    assert report.chosen is not None
    drawing = strength_chart(report.cells, report.chosen)
    heights = [float(y) for y in re.findall(r'class="dot" cx="[\d.]+" cy="([\d.]+)"', drawing)]
    line = sorted(
        (
            c
            for c in report.cells
            if c.base == report.chosen.base and c.checkpoint in (0, report.chosen.checkpoint)
        ),
        key=lambda c: c.strength,
    )
    assert len(heights) == len(line) == 5
    by_height = sorted(range(5), key=lambda i: -heights[i])
    assert by_height == sorted(range(5), key=lambda i: line[i].m10.value)


def test_intervals_that_do_not_exist_do_not_break_a_chart(report: RunReport) -> None:
    assert report.chosen is not None
    bare = [
        CellView(
            c.base,
            c.checkpoint,
            c.strength,
            Estimate(c.m10.value, -float("inf"), float("inf"), "m10", 1),
            0,
            1,
        )
        for c in report.cells
    ]
    assert "inf" not in strength_chart(bare, report.chosen).replace("interval", "")
    assert "nan" not in strength_chart(bare, report.chosen)


def test_the_scale_has_one_dot_per_picture_and_two_anchors() -> None:
    view = YardstickView("x", (0.8, 0.82, 0.9), tuple([0.1] * 60), (0.5, 0.6))
    drawing = scale_chart(view)
    assert drawing.count('class="bead stranger"') == 60
    assert drawing.count('class="bead reference"') == 3 and drawing.count("anchor-name") == 2
    heights = [float(y) for y in re.findall(r'cy="(-?[\d.]+)"', drawing)]
    assert len(heights) == 65 and min(heights) > 24.0
    refused = YardstickView("x", (0.8, 0.9), (0.1, 0.2), refused="2 references")
    assert "anchor-name" not in scale_chart(refused)


def test_a_loss_curve_is_smoothed_but_not_moved(tmp_path: Path) -> None:
    flat = Curve("training", tuple((float(i), 0.1 + 0.02 * (-1) ** i) for i in range(1, 201)))
    drawing = loss_chart([flat], [100, 200])
    assert drawing.count('class="mark"') == 2
    smooth = re.search(r'<polyline points="([^"]+)" class="line"', drawing)
    assert smooth is not None
    heights = {float(pair.split(",")[1]) for pair in smooth[1].split()}
    assert max(heights) - min(heights) < 12.0


def test_the_clock_shows_every_checkpoint_with_its_interval() -> None:
    ticks = [
        Tick(100, Estimate(1.0, 0.2, 1.8, "m10", 12), None, None),
        Tick(200, Estimate(4.0, 3.1, 4.9, "m10", 12), Estimate(3.0, 2.0, 4.0, "m10", 12), None),
        Tick(300, Estimate(4.2, -math.inf, math.inf, "m10", 1), None, None),
    ]
    drawing = str(clock_chart(ticks))
    assert drawing.count("<circle") == 3
    assert drawing.count("line other") == 2, "an interval that is unknown is not drawn"
    assert all(f">{tick.step}<" in drawing for tick in ticks)


def test_charts_are_exported_as_drawings_and_as_pictures(report: RunReport, tmp_path: Path) -> None:
    written = export_charts(report, tmp_path / "charts")
    names = [path.name for path in written]
    kinds = ("strength", "checkpoints", "loss", "scale")
    assert names == [f"{kind}{suffix}" for kind in kinds for suffix in (".svg", ".png")]
    for kind in kinds:
        svg = (tmp_path / "charts" / f"{kind}.svg").read_text(encoding="utf-8")
        box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
        assert box is not None and "<style>" in svg
        with Image.open(tmp_path / "charts" / f"{kind}.png") as picture:
            assert picture.size == (round(2 * float(box[1])), round(2 * float(box[2])))
            shades = np.asarray(picture.convert("L"))
            assert shades.max() == 255 and shades.min() < 120, "something is drawn on white"


def test_a_picture_of_a_drawing_has_its_letters() -> None:
    """A machine without fonts would draw none: the same line with and without words differs, everywhere."""
    words = '<text x="4" y="20" font-size="16">m10 \N{MINUS SIGN}3</text>'
    frame = '<svg viewBox="0 0 80 30" width="80" height="30" xmlns="http://www.w3.org/2000/svg">{}</svg>'
    assert draw_png(frame.format(words)) != draw_png(frame.format(""))
    assert draw_png(frame.format(words)) == draw_png(
        frame.format(words.replace("\N{MINUS SIGN}", "-"))
    )
