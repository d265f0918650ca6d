"""The parts of a report that tell the outcome: verdict, renders, cells, curves, scale.

Each function takes records and returns one piece of HTML, or an empty one when there is nothing to
tell. The words explain what a figure means before they say what it is called.
"""

from __future__ import annotations

from collections.abc import Sequence

from vultus.reports.clock import clock_chart
from vultus.reports.figures import (
    checkpoint_chart,
    interval_bar,
    loss_chart,
    scale_chart,
    strength_chart,
)
from vultus.reports.heat import heat_maps, ranking, warm
from vultus.reports.html import Html, join, number, raw, tag
from vultus.reports.records import (
    CellView,
    ChosenView,
    ContactSheet,
    PictureView,
    RunReport,
    YardstickView,
)
from vultus.reports.thumbs import Thumbs
from vultus.stats.estimate import Estimate

__all__ = ["cells", "hero", "picture", "scales", "section", "sheets", "training"]

PILL = {
    "certified": ("good", "Certified"),
    "provisional": ("fair", "Provisional"),
    "undecided": ("fair", "Undecided"),
    "refused": ("poor", "Below the bar"),
}
ANSWER = {"yes": ("good", "Yes"), "no": ("poor", "No"), "undecided": ("fair", "Undecided")}


def section(name: str, title: str, lede: str, *body: Html) -> Html:
    """One numbered-by-nothing section: a heading, one plain sentence, the content."""
    if not any(body):
        return join(())
    said = [tag("p", lede, class_="lede")] if lede else []
    return tag("section", tag("h2", title), *said, *body, id=name)


def hero(report: RunReport, thumbs: Thumbs) -> Html:
    """The verdict in words, the number with its interval, and what to do with it."""
    chosen = report.chosen
    class_, word = ANSWER[report.verdict.answer]
    if chosen is not None and chosen.gate_answer in PILL:
        class_, word = PILL[chosen.gate_answer]
    said = [
        tag("span", word, class_=f"pill {class_}"),
        tag("h1", report.verdict.headline),
        *(tag("p", sentence) for sentence in report.verdict.sentences),
        _faces(report, thumbs),
    ]
    parts = [tag("div", *said, class_="said")]
    if chosen is not None:
        parts.append(_figure_of_merit(chosen))
    return tag("div", *parts, class_="hero" if chosen is not None else "hero alone")


def _faces(report: RunReport, thumbs: Thumbs) -> Html:
    """References beside renders, the first of each as they come: picked ones would flatter."""
    rows = report.sheets[-1].rows if report.sheets else ()
    renders = [view for row in rows for view in row.pictures if view is not None and view.generated]
    shown = renders or list(report.pictures)
    if not report.references or not shown:
        return join(())
    groups = (
        ("references, never trained on" if renders else "references", report.references[:3]),
        ("fresh renders, as they came" if renders else "scored pictures", shown[:3]),
    )
    return tag(
        "div",
        *(
            tag(
                "figure",
                tag("div", *(_image(view, thumbs) for view in views), class_="three"),
                tag("figcaption", words),
            )
            for words, views in groups
        ),
        class_="faces",
    )


def _figure_of_merit(chosen: ChosenView) -> Html:
    missing = "all with a face" if not chosen.misses else f"{chosen.misses} without a face"
    bounds = f"{number(chosen.m10.low)} to {number(chosen.m10.high)}"
    facts = [
        ("95 % interval", bounds if chosen.m10.telling else f"too few (n = {chosen.n_renders})"),
        ("like an own picture", f"{chosen.yield_share.value:.0%} of renders"),
        ("renders", f"{chosen.n_renders}, {missing}"),
    ]
    if chosen.screening is not None:
        facts.append(("in the sweep it had", number(chosen.screening.value)))
    if chosen.llr10_mean is not None:
        facts.append(("evidence per render", _odds(chosen.llr10_mean)))
    rows = [tag("div", tag("dt", label), tag("dd", value)) for label, value in facts]
    groups = [
        tag(
            "li",
            tag("span", group.name),
            tag("i", class_=warm(group.m10.value)[0], style=warm(group.m10.value)[1]),
            tag("b", number(group.m10.value)),
            tag("small", _spread(group.m10)),
        )
        for group in chosen.groups
    ]
    return tag(
        "aside",
        tag("p", tag("b", number(chosen.m10.value)), tag("span", "of 10"), class_="merit"),
        interval_bar(chosen.m10, chosen.gate_bar),
        tag("ul", *groups, class_="groups") if groups else join(()),
        tag("dl", *rows),
    )


def _spread(m10: Estimate) -> str:
    """The interval of a part of the panel, or that it rests on too few renders for one."""
    if not m10.telling:
        return f"too few (n = {m10.n_renders})"
    return f"{number(m10.low)} to {number(m10.high)}"


def _odds(llr10: float) -> str:
    """A likelihood ratio in words: what people can hold, no more than two digits."""
    ratio = 10.0 ** abs(llr10)
    shown = f"{ratio:.1f}" if ratio < 10 else f"{round(ratio, 1 - len(str(int(ratio))) + 1):,.0f}"
    side = "the persona" if llr10 >= 0 else "a stranger"
    return f"{shown} to 1 for {side}"


def sheets(found: Sequence[ContactSheet], thumbs: Thumbs) -> Html:
    """Contact sheets: what a person looks at before believing any number."""
    return join(_sheet(sheet, thumbs) for sheet in found)


def _sheet(sheet: ContactSheet, thumbs: Thumbs) -> Html:
    """A grid of pictures; with one or two columns the rows stand side by side instead."""
    many = max([len(sheet.columns), *(len(row.pictures) for row in sheet.rows)])
    labelled = any(row.label for row in sheet.rows)
    narrow = labelled and many <= 2
    lines: list[Html] = []
    if sheet.columns and not narrow:
        head = [tag("span", class_="corner")] if labelled else []
        for position, name in enumerate(sheet.columns):
            marked = "picked" if position == sheet.chosen_column else None
            head.append(tag("span", name, class_=marked))
        lines.append(tag("div", *head, class_="row head"))
    for row in sheet.rows:
        tiles = [
            picture(view, thumbs, picked=position == sheet.chosen_column)
            if view is not None
            else tag("figure", class_="tile none")
            for position, view in enumerate(row.pictures)
        ]
        label = [tag("span", row.label, class_="label")] if row.label else []
        lines.append(tag("div", *label, *tiles, class_="row"))
    note = [tag("p", sheet.note, class_="note")] if sheet.note else []
    kind = "narrow" if narrow else "labelled" if labelled else "plain"
    grid = tag("div", *lines, class_=f"sheet {kind}", style=f"--n:{max(1, many)}")
    return tag("div", tag("h3", sheet.title), *note, grid, class_="contact")


def picture(view: PictureView, thumbs: Thumbs, *, picked: bool = False) -> Html:
    """One picture with its place on the scale below it; a missing face or file is said."""
    under: list[Html] = []
    if view.state == "none" or (view.points is None and view.state not in ("ok", "")):
        under.append(tag("span", _state(view.state), class_="noface"))
    elif view.points is not None:
        class_, style = warm(view.points)
        under.append(tag("i", class_=class_, style=style))
        under.append(tag("b", number(view.points)))
    elif view.cosine is not None:
        under.append(tag("b", number(view.cosine, 2)))
    if view.note:
        under.append(tag("span", view.note))
    caption = [tag("figcaption", *under)] if under else []
    image = _image(view, thumbs)
    return tag("figure", image, *caption, class_="tile picked" if picked else "tile")


def _image(view: PictureView, thumbs: Thumbs) -> Html:
    made = thumbs.uri(view.path, generated=view.generated)
    if made is None:
        return tag("span", "picture is gone", class_="gone")
    uri, width, height = made
    kind = "render" if view.generated else "picture"
    words = ", ".join(part for part in (f"{kind} {view.name}".strip(), view.note) if part)
    return tag("img", src=uri, width=width, height=height, alt=words)


def _state(state: str) -> str:
    words = {
        "none": "no face",
        "too_small": "face too small",
        "several": "several faces",
        "uncertain_landmarks": "face unclear",
        "blurred": "blurred",
    }
    return words.get(state, state.replace("_", " "))


def cells(report: RunReport) -> Html:
    """The heat map over everything that was rendered, the strength curve, and the best squares."""
    if not report.cells:
        return join(())
    beside: list[Html] = []
    if report.chosen is not None and len({cell.strength for cell in report.cells}) > 1:
        words = (
            "The chosen checkpoint with its interval; the other bases with their best one."
            + _open(report.cells)
        )
        drawing = strength_chart(report.cells, report.chosen)
        beside.append(_chart("More LoRA is not always more likeness", words, drawing))
    if len(report.cells) > 3:
        words = "Their own figures; the chosen one was then measured again."
        beside.append(_chart("The best squares", words, ranking(report.cells)))
    return join((heat_maps(report.cells), tag("div", *beside, class_="charts")))


def _open(cells: Sequence[CellView]) -> str:
    thin = any(not cell.m10.telling for cell in cells)
    return " Open dots: too few renders for an interval." if thin else ""


def training(report: RunReport) -> Html:
    """What the saved checkpoints are worth, beside the loss that led to them."""
    drawn: list[Html] = []
    steps = sorted({cell.checkpoint for cell in report.cells if cell.strength > 0})
    if report.chosen is not None and len(steps) > 1:
        words = "m10 of every saved checkpoint at the chosen strength." + _open(report.cells)
        drawing = checkpoint_chart(report.cells, report.chosen)
        drawn.append(_chart("When it had learnt the face", words, drawing))
    if len(report.ticks) > 1:
        words = "A few blocks of every checkpoint before the training went on; lines are intervals."
        drawn.append(_chart("While it learnt", words, clock_chart(report.ticks)))
    if any(len(curve.points) > 1 for curve in report.losses):
        words = "It says that training works, not when to stop. Dashed: saved checkpoints."
        drawn.append(_chart("Training loss", words, loss_chart(report.losses, steps)))
    return tag("div", *drawn, class_="charts") if drawn else join(())


def _chart(title: str, words: str, drawing: Html) -> Html:
    return tag("figure", tag("figcaption", tag("b", title), " ", words), drawing, class_="chart")


def scales(yardsticks: Sequence[YardstickView]) -> Html:
    """Where 0 and 10 come from: strangers, renders and references on one axis.

    The yardstick of the reported number comes first; those that nothing was read from are folded.
    """
    told = [view for view in yardsticks if view.renders or view.refused][::-1]
    told = told or list(yardsticks[:1])
    rest = [_scale(view) for view in yardsticks if all(view is not other for other in told)]
    folded = [tag("details", tag("summary", "The other yardsticks"), *rest)] if rest else []
    return join((*(_scale(view) for view in told), *folded))


def _scale(view: YardstickView) -> Html:
    health = []
    if view.cllr is not None:
        judged = "sound" if view.cllr <= 0.25 else "usable" if view.cllr <= 0.5 else "too weak"
        health.append(("Cllr (0 perfect, above 0.5 refused)", f"{view.cllr:.2f}, {judged}"))
    if view.cllr_min is not None:
        health.append(("Cllr after recalibration", f"{view.cllr_min:.2f}"))
    held = "references, left out of training" if view.renders_are == "renders" else "references"
    health.append((held, f"{len(view.references)}"))
    if view.impostors:
        health.append((view.impostors_are, f"{len(view.impostors)}"))
    if view.pack:
        health.append(("face pack", view.pack))
    if view.digest:
        health.append(("yardstick", view.digest.removeprefix("sha256:")[:12]))
    rows = (tag("div", tag("dt", k), tag("dd", v)) for k, v in health)
    facts = tag("dl", *rows, class_="inline")
    said = [tag("p", view.refused, class_="refused")] if view.refused else []
    said += [tag("p", warning, class_="warning") for warning in view.warnings]
    some = view.references or view.impostors or view.renders
    drawing = tag("div", scale_chart(view), class_="wide") if some else raw("")
    body = tag("div", drawing, facts, class_="scale-body" if some else None)
    return tag("div", tag("h3", view.label), *said, body, class_="scale")
