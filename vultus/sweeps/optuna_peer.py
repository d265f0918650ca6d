"""A baseline, not a recommendation: Optuna's TPE sampler chooses the cells, each renders the whole panel.

Optuna keeps a study in memory; an allocator here may keep nothing. So every question plays the conversation again from
its first word: the sampler is seeded, the answers are in what was seen, and the same words come out. Optuna knows no
blocks, prompts or faces; `make bench-allocation` shows how its samplers and pruners fare beside ours.
Needs the extra: `VULTUS_EXTRAS=optuna make setup`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from vultus.core.errors import MissingExtraError
from vultus.core.seeds import seed_of
from vultus.sweeps.allocate import Batch, Budget, CellSeen, Rules, Stop, finalists_of
from vultus.sweeps.cells import Cell

REPEATS_MAX = 200
"""A sampler that has settled proposes known cells for ever: after so many in a row it is done."""


class OptunaTpe:
    """Optuna's multivariate TPE over base, checkpoint and strength.

    Without a budget it goes on until it proposes nothing new: it has no rule of its own for when to stop.
    """

    def __init__(self, rules: Rules | None = None) -> None:
        self._rules = rules or Rules()

    def ask(self, seen: Sequence[CellSeen], budget: Budget) -> Sequence[Batch] | Stop:
        """Ask for the panel of the next cell that the sampler proposes and nobody has rendered."""
        optuna = _optuna()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        known = {one.cell: one for one in seen}
        axes = _axes(list(known))
        whole_panels = len(seen) if budget.renders is None else budget.renders // budget.blocks
        affordable = max(1, whole_panels)
        sampler = optuna.samplers.TPESampler(
            seed=seed_of("optuna", self._rules.seed) % 2**32,
            multivariate=True,
            warn_independent_sampling=False,
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        whole: set[Cell] = set()
        repeats = 0
        while len(whole) < min(affordable, len(known)) and repeats < REPEATS_MAX:
            trial = study.ask()
            cell = _cell(trial, axes)
            if cell not in known:  # a base may lack a checkpoint or a strength
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                repeats += 1
                continue
            one = known[cell]
            missing = tuple(i for i in range(budget.blocks) if i not in one.points)
            if missing:
                return [Batch(cell, missing)]
            repeats = 0 if cell not in whole else repeats + 1
            whole.add(cell)
            study.tell(trial, one.mean)
        rendered = [known[cell] for cell in whole]
        return Stop(
            f"TPE has looked at {len(whole)} of {len(seen)} cells",
            finalists_of(rendered, budget.blocks, self._rules.finalists),
        )


def open_optuna(rules: Rules | None = None) -> OptunaTpe:
    """The allocator. Raises MissingExtraError where Optuna is not installed, before anything is rendered."""
    _optuna()
    return OptunaTpe(rules)


def _optuna() -> Any:
    """Optuna, imported when it is needed: it is heavy, and an extra."""
    try:
        return importlib.import_module("optuna")
    except ModuleNotFoundError as fault:
        raise MissingExtraError(
            "the allocator 'optuna-tpe' needs the package 'optuna', which is not installed",
            next_command="VULTUS_EXTRAS=optuna make setup",
        ) from fault


def _axes(cells: Sequence[Cell]) -> dict[str, list[Any]]:
    return {
        "base": sorted({cell.base for cell in cells}),
        "checkpoint": sorted({cell.checkpoint for cell in cells}),
        "strength": sorted({cell.strength for cell in cells}),
    }


def _cell(trial: Any, axes: dict[str, list[Any]]) -> Cell:
    """Base as a category, checkpoint and strength as places on their axes."""
    base = trial.suggest_categorical("base", axes["base"])
    checkpoint = trial.suggest_int("checkpoint", 0, len(axes["checkpoint"]) - 1)
    strength = trial.suggest_int("strength", 0, len(axes["strength"]) - 1)
    return Cell(str(base), axes["checkpoint"][checkpoint], axes["strength"][strength])


__all__ = ["REPEATS_MAX", "OptunaTpe", "open_optuna"]
