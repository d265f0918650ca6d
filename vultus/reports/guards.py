"""Guard-rails and the second judge on the page: a line each, in words, with what it saw beside the base.

A mark is a word, not a colour: kept, open, broken, told only, not measured.
"""

from __future__ import annotations

from collections.abc import Sequence

from vultus.reports.html import Html, join, number, tag
from vultus.reports.records import GuardView, SecondView
from vultus.scoring.records import GateSpec
from vultus.scoring.second import second_guard
from vultus.studies.outcome import Outcome

__all__ = ["guard_table", "guard_views", "second_table", "second_view"]

MARKS = {True: ("kept", "good"), False: ("broken", "poor"), None: ("open", "fair")}


def guard_views(outcome: Outcome) -> tuple[GuardView, ...]:
    """The guard-rails of a run; advisory ones count only where the gate names them."""
    named = outcome.plan.gate.guards
    return tuple(
        GuardView(
            one.name,
            one.kept,
            one.words,
            one.measured,
            one.name in named or (one.measured and not one.advisory),
            one.gap,
            one.margin,
        )
        for one in outcome.guards
    )


def second_view(outcome: Outcome) -> SecondView | None:
    """The second judge's view of the chosen cell."""
    found = outcome.second
    if found is None:
        return None
    gate = outcome.plan.gate
    spec = GateSpec(gate.m10, gate.worst_group_m10, gate.miss_rate_max, gate.confidence)
    return SecondView(
        found.pack_name,
        found.first.m10,
        None if found.second is None else found.second.m10,
        second_guard(spec, found).words,
        found.spearman,
        found.same_best,
    )


def guard_table(found: Sequence[GuardView]) -> Html:
    """One row per guard-rail."""
    if not found:
        return join(())
    rows = [_row(one) for one in found]
    return tag("table", tag("tbody", *rows), class_="guards")


def _row(one: GuardView) -> Html:
    mark, class_ = MARKS[one.kept]
    if not one.measured:
        mark, class_ = "not measured", "quiet"
    elif not one.counted:
        mark, class_ = ("told only" if one.kept else f"told only: {mark}"), "quiet"
    return tag(
        "tr",
        tag("th", one.name, scope="row"),
        tag("td", tag("span", mark, class_=f"mark {class_}")),
        tag("td", one.words),
    )


def second_table(view: SecondView | None) -> Html:
    """Both judges' numbers of the same renders, and whether they put the same finalist first."""
    if view is None:
        return join(())
    said = [f"{view.words[:1].upper()}{view.words[1:]}."]
    if view.spearman is not None:
        said.append(f"Rank correlation of the renders under both: {number(view.spearman, 2)}.")
    if not view.same_best:
        said.append("It would have put another finalist first.")
    numbers: list[Html] = []
    if view.m10 is not None:
        numbers = [
            tag("div", tag("dt", label), tag("dd", m10.words()))
            for label, m10 in (("the judge", view.first), (f"second: {view.pack}", view.m10))
        ]
    body = [tag("dl", *numbers, class_="inline")] if numbers else []
    return tag("div", tag("h3", "A second judge"), tag("p", " ".join(said)), *body)
