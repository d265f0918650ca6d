"""The contact sheets of a run: what a person looks at before believing any number.

Along a row everything but one thing is the same, prompt and starting noise included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vultus.reports.records import ContactRow, ContactSheet, PictureView
from vultus.studies.outcome import CellOutcome, Outcome
from vultus.sweeps.cells import Block, Cell

__all__ = ["contact_sheets"]

SHEET_ROWS = 6
FRESH_ROWS = 12
EXTREMES = 3
"""Renders of each kind that the sheet of the best and the worst shows at most."""


def contact_sheets(outcome: Outcome) -> tuple[ContactSheet, ...]:
    """The sheets of a run; the last one is what nobody picked."""
    return (
        _strengths(outcome),
        *_bases(outcome),
        *_extremes(outcome),
        _fresh(outcome),
    )


def _strengths(outcome: Outcome) -> ContactSheet:
    """The chosen base and checkpoint at every strength, the base alone first."""
    chosen = outcome.choice.chosen
    trained = sorted(
        one.cell for one in outcome.cells if replace(one.cell, strength=chosen.strength) == chosen
    )
    shown = [Cell(chosen.base, 0, 0.0), *trained]
    words = ["base alone", *(f"strength {cell.strength:g}" for cell in trained)]
    title = f"Strength, on {chosen.place} {_after(outcome)}"
    return _sheet(outcome, title, shown, words, shown.index(chosen))


def _after(outcome: Outcome) -> str:
    """Which checkpoint it is, as the end of a title."""
    chosen = outcome.chosen_checkpoint
    if chosen.averaged:
        return f"with the average of {', '.join(map(str, chosen.averaged))}"
    return f"after {chosen.step} steps"


def _bases(outcome: Outcome) -> tuple[ContactSheet, ...]:
    """The chosen checkpoint and strength on every base."""
    chosen = outcome.choice.chosen
    shown = [
        one.cell
        for one in outcome.cells  # in the order of the plan
        if one.cell.checkpoint == chosen.checkpoint and one.cell.strength == chosen.strength
    ]
    if len(shown) < 2:
        return ()
    title = f"Base model, strength {chosen.strength:g} {_after(outcome)}"
    return (_sheet(outcome, title, shown, [cell.place for cell in shown], shown.index(chosen)),)


def _sheet(
    outcome: Outcome, title: str, shown: Sequence[Cell], words: Sequence[str], column: int
) -> ContactSheet:
    cells = [outcome.cell(cell) for cell in shown]
    blocks = _spread(list(outcome.cell(outcome.choice.chosen).renders), SHEET_ROWS)
    rows = tuple(
        ContactRow(_label(outcome, block), tuple(_render(one, block) for one in cells))
        for block in blocks
    )
    note = "The same prompt and starting noise along a row."
    return ContactSheet(title, tuple(words), rows, note, column)


def _extremes(outcome: Outcome) -> tuple[ContactSheet, ...]:
    """The best, middling and worst of the fresh renders, and failures, each beside the base at the same noise."""
    fresh = outcome.fresh
    faces = [row for row in fresh.score.renders if row.cosine is not None]
    scored = [(row.points, (row.prompt_id, row.seed)) for row in faces]
    n = min(EXTREMES, len(scored) // 3)
    if not n:
        return ()
    order = [key for _, key in sorted(scored, reverse=True)]
    middle = (len(order) - n) // 2
    parts = {
        "best": order[:n],
        "middling": order[middle : middle + n],
        "worst": order[-n:],
        "no face": [(row.prompt_id, row.seed) for row in fresh.score.renders if row.cosine is None],
    }
    blocks = {(block.template, block.seed): block for block in fresh.renders}
    rows = []
    for name, keys in parts.items():
        mine = [blocks[key] for key in keys[:n] if key in blocks]
        pairs = [(_render(fresh, one), _render(outcome.fresh_alone, one)) for one in mine]
        views = [view for pair in pairs for view in pair]
        if views:
            filler: list[PictureView | None] = [None] * (2 * n - len(views))
            rows.append(ContactRow(name, (*views, *filler)))
    heads = ("with the LoRA", "base alone") * n
    note = "Picked by score, and shown for what they teach; each beside the base alone at the same prompt and noise."
    return (
        ContactSheet("Best, middling and worst of the fresh renders", heads, tuple(rows), note),
    )


def _fresh(outcome: Outcome) -> ContactSheet:
    """The chosen cell on prompts and seeds that chose nothing: rows are prompts, columns seeds."""
    seeds = outcome.plan.confirm.seeds
    templates = list(dict.fromkeys(block.template for block in outcome.fresh.renders))
    rows: list[ContactRow] = []
    for template in templates[:FRESH_ROWS]:
        blocks = {b.seed: b for b in outcome.fresh.renders if b.template == template}
        views = tuple(
            _render(outcome.fresh, blocks[seed]) if seed in blocks else None for seed in seeds
        )
        rows.append(ContactRow(_words(outcome, template), views))
    return ContactSheet(
        "Fresh prompts and seeds, as they came",
        tuple(f"seed {seed}" for seed in seeds),
        tuple(rows),
        f"{outcome.choice.chosen.words}. Nothing was left out.",
    )


def _spread(blocks: Sequence[Block], most: int) -> list[Block]:
    """At most so many blocks, in turn from each part of the panel, in the order of the plan."""
    groups: dict[str, list[Block]] = {}
    for block in blocks:
        groups.setdefault(block.group, []).append(block)
    taken: set[Block] = set()
    for position in range(max((len(group) for group in groups.values()), default=0)):
        for group in groups.values():
            if position < len(group) and len(taken) < most:
                taken.add(group[position])
    return [block for block in blocks if block in taken]


def _render(one: CellOutcome, block: Block) -> PictureView | None:
    path = one.renders.get(block)
    if path is None:
        return None
    for render in one.score.renders:
        if (render.prompt_id, render.seed) == (block.template, block.seed):
            return PictureView(
                path,
                name=f"{block.group}, seed {block.seed}",
                cosine=render.cosine,
                points=render.points,
                state=render.state,
                generated=True,
            )
    return PictureView(path, generated=True)


def _label(outcome: Outcome, block: Block) -> str:
    return f"{_words(outcome, block.template)} (seed {block.seed})"


def _words(outcome: Outcome, template: str) -> str:
    return template.replace("{persona}", outcome.persona.with_trigger)
