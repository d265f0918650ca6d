"""Optuna on the same tables, in an environment of its own: `python -m bench.allocation.peers OUT WORLDS NAME`.

Each trial is a cell; its running mean is reported block by block (WilcoxonPruner: the single values), as Optuna's
documentation has it for pruners. A render counts once even if a trial repeats a cell. Every game is
appended to OUT as one JSON line, so a killed bench goes on where it was.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.allocation.worlds import CHECKPOINTS, STRENGTHS, World, draw
from vultus.sweeps.cells import Cell
from vultus.sweeps.optuna_peer import open_optuna
from vultus.testing.allocators import check_allocator

BLOCKS = 24
SETTING = "rho 0.5"


def main() -> None:
    """Play the peers whose name contains NAME on every world that OUT does not hold yet."""
    import optuna

    warnings.simplefilter("ignore")  # experimental features, every trial anew
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if sys.argv[1:] == ["exam"]:
        check_allocator(open_optuna, worlds=2)
        return
    out, count, part = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {(line["peer"], line["world"]) for line in lines}
    for number in range(count):
        for name, play in peers(number).items():
            if part not in name or (name, number) in done:
                continue
            began = time.process_time()
            row = {"peer": name, "world": number, "optuna": optuna.__version__}
            row["regret"], row["renders"], row["bias"] = play(draw("judge", SETTING, number))
            row["seconds"] = round(time.process_time() - began, 3)
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def peers(seed: int) -> dict[str, Callable[[World], list[float]]]:
    """Name -> a player that returns [regret, renders, winner's bias]."""
    from optuna.pruners import HyperbandPruner, NopPruner, SuccessiveHalvingPruner, WilcoxonPruner
    from optuna.samplers import GridSampler, TPESampler

    def tpe() -> Any:
        return TPESampler(seed=seed, multivariate=False, constant_liar=False)

    def grid() -> Any:
        return GridSampler(
            {"base": [0, 1, 2], "c": list(CHECKPOINTS), "s": list(range(5))}, seed=seed
        )

    def hyperband() -> Any:
        return HyperbandPruner(min_resource=2, max_resource=BLOCKS, reduction_factor=3)

    def asha() -> Any:
        return SuccessiveHalvingPruner(min_resource=2, reduction_factor=3)

    def player(sampler: Any, pruner: Any, trials: int, single: bool = False) -> Any:
        return lambda world: _play(world, sampler(), pruner(), trials, single)

    return {
        "Optuna TPE, 60 trials": player(tpe, NopPruner, 60),
        "Optuna TPE + Hyperband, 60 trials": player(tpe, hyperband, 60),
        "Optuna Grid + ASHA": player(grid, asha, 120),
        "Optuna Grid + WilcoxonPruner": player(
            grid, lambda: WilcoxonPruner(p_threshold=0.1), 120, True
        ),
    }


def _play(world: World, sampler: Any, pruner: Any, trials: int, single: bool) -> list[float]:
    import optuna

    column = {cell: i for i, cell in enumerate(world.cells)}
    bases = sorted({cell.base for cell in world.cells})
    met: set[tuple[int, int]] = set()

    def objective(trial: Any) -> float:
        base = bases[trial.suggest_categorical("base", [0, 1, 2])]
        step = trial.suggest_int("c", CHECKPOINTS[0], CHECKPOINTS[-1])
        strength = STRENGTHS[trial.suggest_int("s", 0, len(STRENGTHS) - 1)]
        i = column[Cell(base, step, strength)]
        seen = world.screen[:BLOCKS, i]
        for block in range(BLOCKS):
            met.add((i, block))
            trial.report(float(seen[block] if single else seen[: block + 1].mean()), block + 1)
            if trial.should_prune():
                if single:  # the documented way: a pruned trial still returns what it knows
                    return float(seen[: block + 1].mean())
                raise optuna.TrialPruned
        return float(seen.mean())

    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    study.optimize(objective, n_trials=trials)
    best = study.best_trial
    chosen = column[Cell(bases[best.params["base"]], best.params["c"], STRENGTHS[best.params["s"]])]
    truth = float(world.truth[chosen])
    return [world.best - truth, float(len(met)), float(best.value) - truth]


if __name__ == "__main__":
    main()

__all__ = ["BLOCKS", "main", "peers"]
