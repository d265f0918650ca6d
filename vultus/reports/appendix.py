"""The parts of a report that tell how the outcome came about: pictures, times, small print.

What was dropped from the dataset is shown, not only counted: a person can disagree with a reason
only when the picture and its twin are side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

from vultus.reports.html import Html, join, number, tag
from vultus.reports.records import DroppedPicture, Fact, PictureView, RunReport, Timing
from vultus.reports.sections import picture
from vultus.reports.thumbs import Thumbs

__all__ = ["dataset", "method", "small_print", "strip", "timings"]


def dataset(report: RunReport, thumbs: Thumbs) -> Html:
    """Where every picture of the folder went: reference, trained on, or dropped and why."""
    parts: list[Html] = []
    if report.n_pictures:
        parts.append(_flow(report))
    if report.dropped:
        cards = [_card(dropped, thumbs) for dropped in report.dropped]
        parts.append(tag("h3", f"Dropped: {len(report.dropped)}"))
        parts.append(tag("div", *cards, class_="cards"))
    if report.references:
        words = "Held out. The figure is the cosine to all the other references."
        parts.append(
            strip(f"References: {len(report.references)}", words, report.references, thumbs)
        )
    if report.trained:
        parts.append(strip(f"Trained on: {len(report.trained)}", "", report.trained, thumbs))
    return join(parts)


def strip(title: str, words: str, views: Sequence[PictureView], thumbs: Thumbs) -> Html:
    """A row of small pictures that wraps."""
    note = [tag("p", words, class_="note")] if words else []
    tiles = [picture(view, thumbs) for view in views]
    return tag("div", tag("h3", title), *note, tag("div", *tiles, class_="tiles"))


def _flow(report: RunReport) -> Html:
    counts = [
        ("in the folder", report.n_pictures),
        ("dropped", len(report.dropped)),
        ("references", len(report.references)),
        ("trained on", len(report.trained)),
    ]
    items = [tag("li", tag("b", str(n)), tag("span", words)) for words, n in counts if n]
    return tag("ul", *items, class_="flow")


def _card(dropped: DroppedPicture, thumbs: Thumbs) -> Html:
    pair = [picture(dropped.picture, thumbs)]
    if dropped.partner is not None:
        pair.append(tag("span", "repeats", class_="repeats"))
        pair.append(picture(dropped.partner, thumbs))
    said = [tag("b", dropped.reason)]
    if dropped.words:
        said.append(tag("span", dropped.words))
    names = dropped.picture.name
    if dropped.partner is not None and dropped.partner.name:
        names += f", kept: {dropped.partner.name}"
    said.append(tag("span", names, class_="file"))
    return tag("div", tag("div", *pair, class_="pair"), tag("p", *said), class_="card")


def timings(found: Sequence[Timing]) -> Html:
    """Where the time went."""
    total = sum(timing.seconds for timing in found)
    if total <= 0:
        return join(())
    rows = []
    for timing in found:
        share = timing.seconds / total * 100
        bar = tag("td", tag("i", style=f"width:{max(0.5, share):.1f}%"), class_="bar")
        rows.append(
            tag(
                "tr",
                tag("th", timing.stage, scope="row"),
                bar,
                tag("td", _seconds(timing.seconds), class_="num"),
                tag("td", timing.made),
            )
        )
    last = tag(
        "tr",
        tag("th", "together", scope="row"),
        tag("td"),
        tag("td", _seconds(total), class_="num"),
        tag("td"),
        class_="total",
    )
    return tag("table", tag("tbody", *rows, last), class_="times")


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{number(seconds, 1 if seconds < 10 else 0)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def small_print(report: RunReport) -> Html:
    """Everything needed to make the same numbers again."""
    facts = [*report.facts, *(Fact(k, v) for k, v in report.environment.items())]
    rows = [join((tag("dt", fact.label), tag("dd", fact.value))) for fact in facts]
    limits = [tag("li", words) for words in report.limits]
    parts = []
    if limits:
        parts.append(tag("div", tag("h3", "What this cannot say"), tag("ul", *limits)))
    if rows:
        parts.append(tag("div", tag("h3", "Made with"), tag("dl", *rows, class_="facts")))
    return tag("div", *parts, class_="columns") if parts else join(())


def method() -> Html:
    """How to read the score, in one paragraph each, folded away on the screen."""
    said = (
        "0 is the stranger that the base model draws when it is asked for the class words alone, "
        "with the same prompts and starting noises. 10 is as close as the persona's own pictures, "
        "never trained on, are to each other. In between the scale is even.",
        "A render without a usable face counts as 0 points. It is never left out: leaving it out "
        "would reward a LoRA for failing.",
        "The interval holds the true value 95 times in 100. It knows that renders of one prompt "
        "resemble each other and that the references are only a sample, so it does not shrink when "
        "the same prompts are rendered again and again.",
        "The number of the chosen cell comes from prompts and starting noises that chose nothing: "
        "the winner of many noisy measurements always looks better than it is.",
    )
    body = [tag("p", words) for words in said]
    return tag("details", tag("summary", "How to read the score"), *body, class_="method")
