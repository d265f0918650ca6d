"""What a run will cost, said before it starts: renders exactly, time where something was timed.

Notation
    screening   renders that choose the finalists               at most; an early tie spends less
    row         renders that complete the chosen checkpoint's row of strengths on the panel, after the choice
    confirm     renders of the finalists, their bases alone and impostors, on fresh blocks
    price       seconds per render, from attempts that are done in this workspace
A budget covers screening and confirmation together; the row is declared beside it, because it decides nothing. What a
trained LoRA shares with every sweep (training, impostors of the panel) is not part of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vultus.core.errors import ScoreError
from vultus.core.progress import seconds_text
from vultus.scoring.gate import certified_chance
from vultus.store.ledger import Ledger
from vultus.store.records import AttemptState, StepRecord
from vultus.studies.given import Given
from vultus.sweeps.allocate import Budget
from vultus.sweeps.budget import Amount, Price, parse_amount, renders_for

SD_M10 = 0.43
"""Standard deviation of m10 at 36 references and 48 renders: reference "measuring", section 5 (simulated)."""

POWER_AT = (7.5, 8.0, 8.4, 9.0, 9.5)


@dataclass(frozen=True)
class Preview:
    """The cost of a run before it starts. Times are None where nothing was timed yet.

    `power` is how often a cell of this true m10 would be certified: look at it before spending anything.
    """

    cells: int
    screening: int
    confirm: int
    row: int
    beside: int
    budget: str
    price: Price | None
    power: tuple[tuple[float, float], ...]

    @property
    def renders(self) -> int:
        """Every render of the run."""
        return self.screening + self.confirm + self.row + self.beside

    @property
    def seconds(self) -> float | None:
        """Seconds on the wall for all renders, training not counted."""
        return None if self.price is None else self.price.seconds(self.renders)

    def lines(self) -> tuple[str, ...]:
        """The preview for people."""
        timed = "no render of this size was timed in this workspace yet: the first ones tell"
        if self.price is not None:
            wall = seconds_text(self.price.seconds(self.renders))
            device = seconds_text(self.price.device_seconds(self.renders))
            timed = (
                f"about {wall}, {device} of the device"
                f" ({self.price.render_s:.2f} s per render, from {self.price.renders} renders)"
            )
        power = ", ".join(f"{m10:g}: {chance:.0%}" for m10, chance in self.power)
        return (
            f"sweep    {self.cells} cells, at most {self.screening} renders"
            + (f" (budget {self.budget})" if self.budget else ""),
            f"confirm  {self.confirm} renders on fresh blocks",
            f"row      at most {self.row} renders: every strength of the chosen checkpoint",
            f"beside   {self.beside} renders without the LoRA",
            f"time     {timed}",
            f"power    chance to be certified by true m10, sd {SD_M10}: {power}",
        )


def preview(given: Given, lanes: int) -> Preview:
    """What this run will cost, before anything is started."""
    price = measured_price(given, lanes)
    return Preview(
        cells=len(given.cells),
        screening=planned_renders(given, price),
        confirm=confirm_renders(given),
        row=row_renders(given),
        beside=2 * len(given.plan.bases) * len(given.panel),
        budget=given.plan.sweep.budget,
        price=price,
        power=tuple(
            (m10, certified_chance(m10, given.plan.gate.m10, SD_M10, given.plan.gate.confidence))
            for m10 in POWER_AT
        ),
    )


def planned_renders(given: Given, price: Price | None = None) -> int:
    """The most renders that the screening will make, as far as that is known."""
    cells, blocks = len(given.cells), len(given.panel)
    amount = parse_amount(given.plan.sweep.budget)
    bought = None if amount is None else renders_for(amount, price)
    whole = cells * blocks
    if bought is not None:
        return max(0, min(whole, bought - confirm_renders(given)))
    if given.plan.sweep.allocator != "halving":
        return whole
    return Budget(blocks).screening(cells)


def confirm_renders(given: Given, finalists: int | None = None) -> int:
    """The most renders of a confirmation: finalists, impostors and the base alone for each base, and the leak."""
    count = min(len(given.cells), finalists or given.plan.sweep.finalists)
    fresh = len(given.fresh) * (count + 2 * min(count, len(given.plan.bases)))
    return fresh + len(given.leak_blocks)


def row_renders(given: Given) -> int:
    """The most renders that the chosen checkpoint's row of strengths can still lack; a grid has no holes."""
    if given.plan.sweep.allocator == "grid" and not given.plan.sweep.budget:
        return 0
    strengths = {strength for strength in given.plan.sweep.strengths if strength > 0}
    return (len(strengths) - 1) * len(given.panel)


def screening_renders(given: Given, keys: Iterable[str], lanes: int) -> int | None:
    """The renders that the budget leaves for the screening; None when no budget was given.

    Time is turned into renders by the price of the renders among `keys`, those of this run so far: they are in the
    ledger, so the answer is the same when the run is resumed. Raises ScoreError when not every cell can be shown once.
    """
    amount = parse_amount(given.plan.sweep.budget)
    if amount is None:
        return None
    with Ledger.open(given.workspace.memory) as ledger:
        price = _price(ledger, sorted(set(keys)), lanes)
    bought = renders_for(amount, price)
    if bought is None:
        raise ScoreError(
            f"the budget of {amount.words} cannot be turned into renders: none was timed",
            expected="a budget in renders",
            next_command='say [sweep] budget = "600 renders"',
        )
    _refuse_small(given, amount, bought)
    return bought - confirm_renders(given)


def refuse_small_budget(given: Given) -> None:
    """Raise ScoreError where a budget in renders cannot show every cell once; one in time has no price yet."""
    amount = parse_amount(given.plan.sweep.budget)
    if amount is not None and amount.unit == "renders":
        _refuse_small(given, amount, int(amount.value))


def _refuse_small(given: Given, amount: Amount, bought: int) -> None:
    confirm, cells = confirm_renders(given), len(given.cells)
    if bought - confirm < cells:
        raise ScoreError(
            f"the budget of {amount.words} buys {bought} renders; the confirmation takes {confirm} of them,"
            f" and {cells} cells want one each",
            expected=f"a budget of {cells + confirm} renders or more",
            next_command="raise [sweep] budget, or name fewer strengths, bases, checkpoints or finalists",
        )


def measured_price(given: Given, lanes: int) -> Price | None:
    """What a render of this plan's size has cost in this workspace; None when none was made."""
    if not given.workspace.was_begun:
        return None
    spec = given.plan.render
    size = {"steps": spec.steps, "width_px": spec.width_px, "height_px": spec.height_px}
    with Ledger.open(given.workspace.memory) as ledger:
        keys = [
            step.key
            for step in ledger.steps("render")
            if all(_inputs(step)["spec"].get(name) == value for name, value in size.items())
        ]
        return _price(ledger, [*keys, *(step.key for step in ledger.steps("read"))], lanes)


def _price(ledger: Ledger, keys: Iterable[str], lanes: int) -> Price | None:
    """Seconds per render over these steps, as far as they were finished."""
    seconds = {"render": 0.0, "read": 0.0}
    counts = {"render": 0, "read": 0}
    for key in keys:
        for attempt in ledger.attempts(key):
            if attempt.kind in counts and attempt.state is AttemptState.DONE and attempt.seconds:
                step = ledger.step(key)
                asked = {} if step is None else _inputs(step)
                seconds[attempt.kind] += attempt.seconds
                counts[attempt.kind] += len(asked.get("blocks") or asked.get("renders") or ())
    if not counts["render"]:
        return None
    read_s = seconds["read"] / counts["read"] if counts["read"] else 0.0
    return Price(seconds["render"] / counts["render"], read_s, lanes, counts["render"])


def _inputs(step: StepRecord) -> dict[str, Any]:
    table: dict[str, Any] = json.loads(step.inputs_json)
    return table


__all__ = [
    "POWER_AT",
    "SD_M10",
    "Preview",
    "confirm_renders",
    "measured_price",
    "planned_renders",
    "preview",
    "refuse_small_budget",
    "row_renders",
    "screening_renders",
]
