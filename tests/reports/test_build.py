"""A report is one page that needs nothing else, tells what was measured, and betrays no secrets."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.reports.sample import sample_report
from vultus.images.write import AI_SOURCE_TYPE
from vultus.reports.build import page, write_report
from vultus.reports.heat import warm
from vultus.reports.html import number, strength_text, tag
from vultus.reports.records import DroppedPicture, PictureView, RunReport, VerdictWords
from vultus.reports.words import no_score_verdict, run_verdict

VOID = {"meta", "img", "br", "line", "rect", "circle", "path", "polyline", "polygon"}


class Checker(HTMLParser):
    """Reads a page and keeps what a browser would have to fetch or run; unclosed tags are faults."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: dict[str, int] = {}
        self.links: list[str] = []
        self.alts: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._see(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._see(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def _see(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] = self.seen.get(tag, 0) + 1
        for name, value in attrs:
            if name in ("src", "href", "action", "data", "srcset", "poster"):
                self.links.append(value or "")
            if name.startswith("on"):
                self.faults.append(name)
        if tag == "img":
            self.alts.append(dict(attrs).get("alt") or "")


def check(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    checker.close()
    return checker


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    return sample_report(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def text(report: RunReport) -> str:
    return page(report)


def test_the_page_loads_nothing_and_runs_nothing(text: str) -> None:
    found = check(text)
    assert found.faults == [] and found.open == []
    assert "script" not in found.seen and "iframe" not in found.seen and "link" not in found.seen
    pictures = [link for link in found.links if link.startswith("data:image/jpeg;base64,")]
    assert len(pictures) == found.seen["img"] >= 80
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in found.links)
    assert "@import" not in text and "url(" not in text
    assert re.findall(r"https?://[^\"'< ]+", text) == ["http://www.w3.org/2000/svg"] * text.count(
        "<svg"
    )
    assert "default-src 'none'" in unescape(text)
    assert len(text) < 2_500_000


def test_every_picture_has_words_and_every_drawing_a_description(text: str) -> None:
    found = check(text)
    assert found.alts and all(found.alts)
    assert found.seen["svg"] == text.count("aria-label=") - text.count("<nav aria-label=") == 5
    assert 'lang="en"' in text and 'name="viewport"' in text


def test_links_of_the_menu_lead_to_sections(text: str) -> None:
    targets = re.findall(r'href="#(\w+)"', text)
    assert len(targets) == 8
    assert all(f'<section id="{target}"' in text for target in targets)


def pictures_of(text: str) -> Iterator[tuple[str, bytes]]:
    for match in re.finditer(r'<img src="data:image/jpeg;base64,([^"]+)"[^>]*alt="([^"]*)"', text):
        yield match[2], base64.b64decode(match[1])


def test_renders_say_that_they_are_generated_and_originals_do_not(text: str) -> None:
    from PIL import Image

    marks = {"render": 0, "picture": 0}
    for words, data in pictures_of(text):
        kind = words.split()[0]
        assert (AI_SOURCE_TYPE.encode() in data) == (kind == "render")
        image = Image.open(io.BytesIO(data))
        assert not image.getexif() and max(image.size) <= 224
        marks[kind] += 1
    assert marks["render"] >= 40 and marks["picture"] >= 40


def test_the_numbers_on_the_page_are_the_numbers_of_the_record(
    report: RunReport, text: str
) -> None:
    chosen = report.chosen
    assert chosen is not None
    assert f"<b>{number(chosen.m10.value)}</b><span>of 10</span>" in text
    squares = re.findall(r'<td class="warm[^"]*"[^>]*><b>([^<]+)</b>', text)
    assert len(squares) == len(report.cells) == 51
    assert sorted(squares) == sorted(number(cell.m10.value) for cell in report.cells)
    assert text.count('class="flag">chosen') == 1
    for dropped in report.dropped:
        assert dropped.reason in text
    assert "no face" in text


def test_the_same_record_gives_the_same_bytes(report: RunReport, text: str, tmp_path: Path) -> None:
    path = write_report(report, tmp_path / "out" / "report.html")
    assert path.read_text(encoding="utf-8") == text


def test_names_from_disk_cannot_become_markup(report: RunReport) -> None:
    hostile = '<script>alert(1)</script>" onerror="x'
    view = replace(report.pictures[0] if report.pictures else report.references[0], name=hostile)
    bad = replace(
        report,
        title=hostile,
        verdict=VerdictWords("no", hostile, (hostile,)),
        dropped=(DroppedPicture(view, hostile, hostile, view),),
    )
    found = check(page(bad))
    assert found.faults == [] and "script" not in found.seen


def test_a_picture_that_is_gone_leaves_a_place_and_a_word(
    report: RunReport, tmp_path: Path
) -> None:
    gone = PictureView(tmp_path / "gone.png", name="gone.png", points=3.0, generated=True)
    text = page(replace(report, pictures=(gone,)))
    assert "picture is gone" in text and "1 pictures were gone" in text


def test_empty_parts_are_left_out(tmp_path: Path) -> None:
    text = page(RunReport("Ada", "", VerdictWords("undecided", "No score can be given.")))
    found = check(text)
    assert found.faults == [] and "section" not in found.seen and "nav" not in found.seen
    assert "No score can be given." in text


def test_words_follow_the_numbers(report: RunReport) -> None:
    chosen = report.chosen
    assert chosen is not None
    answers = {
        gate: run_verdict(replace(chosen, gate_answer=gate), "Ada").answer
        for gate in ("certified", "provisional", "refused")
    }
    assert answers == {"certified": "yes", "provisional": "undecided", "refused": "no"}
    lucky = replace(chosen, screening=replace(chosen.m10, value=chosen.m10.high))
    assert any("as winners do" in sentence for sentence in run_verdict(lucky).sentences)
    view = replace(report.yardsticks[0], refused="5 references, at least 12 needed")
    assert no_score_verdict([view]).sentences[0] == "5 references, at least 12 needed"


def test_small_helpers() -> None:
    assert number(-0.04) == "0.0" and number(-1.25, 2) == "\N{MINUS SIGN}1.25"
    assert strength_text(1) == "1.0" and strength_text(0.75) == "0.75"
    assert tag("p", "5 < 6 & 7", class_="a") == '<p class="a">5 &lt; 6 &amp; 7</p>'
    assert [warm(m)[1] for m in (-3.0, 5.0, 12.0)] == ["--v:0%", "--v:50%", "--v:100%"]
    assert np.isclose(float(number(8.25, 2)), 8.25)
