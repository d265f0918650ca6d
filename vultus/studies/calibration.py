"""Calibrate a workspace before anything trains: yardsticks, ceiling, and what a run would cost.

What is made here is what a run needs anyway: a later `vultus run` looks all of it up.
"""

from __future__ import annotations

from dataclasses import dataclass

from vultus.core.errors import CardBusyError, StepError
from vultus.core.progress import Progress
from vultus.datasets.manifest import read_manifest
from vultus.scoring.ceiling import CeilingRow
from vultus.steps.orders import Done, Pool, Task
from vultus.steps.pools import LookUpPool
from vultus.studies import requests
from vultus.studies.cost import Preview, preview
from vultus.studies.drive import count_lanes, lease, open_pool
from vultus.studies.given import Given, gather
from vultus.studies.looking import Look, Run, freeze, look, one
from vultus.studies.outcome import Scale, read_ceiling
from vultus.studies.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Calibrated:
    """The scales of all bases, the ceiling of the training base, and the cost of a run."""

    scales: tuple[Scale, ...]
    ceiling: tuple[CeilingRow, ...]
    cost: Preview

    @property
    def healthy(self) -> bool:
        """True when a score can be given on every base."""
        return all(not scale.refused for scale in self.scales)


def calibrate_workspace(
    workspace: Workspace, *, inline: bool = False, quiet: bool = False
) -> Calibrated:
    """Curate, render the impostors of the panel, freeze the scales and draw the ceiling."""
    given = gather(workspace)
    lanes = 1 if inline else count_lanes(given)
    curate = requests.curate_order(given)
    looks = len(given.plan.bases) * len(given.panel)
    cost = looks * (requests.render_cost(given) + requests.READ_COST)
    try:
        with (
            workspace.at_work(),
            lease(given, "calibrate", lanes),
            Progress(
                curate.units * curate.cost + cost / lanes, "calibrate", quiet=quiet
            ) as progress,
            open_pool(given, lanes, progress, inline=inline) as pool,
        ):
            found = _calibrated(given, pool, lanes)
            progress.retotal(progress.done)
            return found
    except CardBusyError:
        if not workspace.was_begun:
            raise
        pool = LookUpPool(workspace.memory)
        try:
            with workspace.at_work():
                return _calibrated(given, pool, lanes)  # all of it may be there already
        except StepError:
            pass
        finally:
            pool.close()
        raise


def _calibrated(given: Given, pool: Pool, lanes: int) -> Calibrated:
    at = Run(given, pool, lanes)
    bases = [given.bases[name] for name in given.plan.bases]
    frozen = pool.run([Task(one(at, requests.curate_order(given)))])[0]
    dataset = read_manifest(frozen.files["dataset"])
    ceiling: Done = pool.run([Task(one(at, requests.ceiling_order(given, dataset, frozen)))])[0]
    words = given.persona.class_words
    impostors: list[Look] = pool.run(
        [look(at, base, None, 0.0, given.panel, words) for base in bases]
    )
    scales = freeze(at, dataset, frozen, list(zip(bases, impostors, strict=True)), given.panel)
    return Calibrated(
        tuple(scale for scale, _ in scales),
        read_ceiling(ceiling.files["ceiling.json"]),
        preview(given, lanes),
    )


__all__ = ["Calibrated", "calibrate_workspace"]
