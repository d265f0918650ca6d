"""Do intervals cover, does the gate certify what it should, is nothing called nothing? `make bench-truth`.

    python -m bench.truth.measure [--worlds 1000]

Notation
    coverage     share of worlds whose 95 % interval holds the truth; its own 95 % interval by Wilson
    certified    share of worlds that the gate certifies when the true m10 lies `gap` above the bar
    told apart   share of worlds in which equal arms are called different: a false alarm
Truth: m10 with endless references, prompts and seeds of the same persona (`bench.truth.worlds`). The bar is moved to
the truth, not the truth to the bar: every world then says something at every gap.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.record import record
from bench.truth.worlds import World
from vultus.core.seeds import stream
from vultus.scoring.gate import judge
from vultus.scoring.panel import difference, score_cell
from vultus.scoring.records import CellScore, GateSpec
from vultus.stats.compare import paired_difference
from vultus.stats.estimate import Estimate, wilson
from vultus.sweeps.cells import Cell
from vultus.sweeps.choose import Shown, choose

PERSONAS = 10
TRUTH_DRAWS = 1500
SHIFTS = (0.0, 0.5, 0.8, 1.2)
GAPS = (-1.0, -0.4, 0.0, 0.4, 1.0, 1.5)


@dataclass(frozen=True)
class Setting:
    """References, prompts, seeds per prompt, and whether faces look aside."""

    references: int
    prompts: int
    seeds: int
    turned: bool

    @property
    def words(self) -> str:
        """The setting in words."""
        turned = ", three poses" if self.turned else ""
        return f"{self.references} references, {self.prompts} prompts x {self.seeds} seeds{turned}"


SETTINGS = (
    Setting(36, 12, 4, False),
    Setting(36, 24, 2, False),
    Setting(20, 12, 4, False),
    Setting(36, 12, 4, True),
)


@dataclass(frozen=True)
class Measured:
    """One world: two arms scored on one yardstick, and the gap of the first to a twin that is as good."""

    first: CellScore
    second: CellScore
    twin: Estimate
    truth: float
    other: float


def main() -> None:
    """Measure and write bench/results/truth.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=1000, help="worlds in all")
    args = parser.parse_args()
    began = time.perf_counter()
    figures: dict[str, Any] = {"worlds": args.worlds, "settings": {}}
    whole: list[Measured] = []
    for setting in SETTINGS:
        worlds = list(measure(setting, args.worlds // len(SETTINGS)))
        figures["settings"][setting.words] = tell(setting.words, worlds)
        whole += worlds
    figures["all"] = tell("all settings", whole)
    figures["power"] = power(whole)
    figures["three equal finalists"] = equal_finalists(args.worlds)
    if args.worlds >= 1000:
        print(record("truth", figures, seconds=time.perf_counter() - began))


def measure(setting: Setting, worlds: int) -> Iterator[Measured]:
    """Worlds of one setting; personas and qualities take turns."""
    truths: dict[int, dict[float, float]] = {}
    for number in range(worlds):
        persona = number % PERSONAS
        shift, other = SHIFTS[number // PERSONAS % 4], SHIFTS[(number // PERSONAS + 1) % 4]
        if persona not in truths:
            fresh = World(persona, setting.turned, stream("truth", persona, str(setting.turned)))
            truths[persona] = fresh.truths(SHIFTS, TRUTH_DRAWS)
        world = World(persona, setting.turned, stream("bench truth", setting.words, number))
        prompts = world.prompts(setting.prompts)
        yardstick = world.yardstick(prompts, setting.references, 60 // setting.prompts)
        moved = np.repeat(prompts, setting.seeds, axis=0)
        poses = world.poses(len(moved))
        rows = [
            world.rows(arm, poses, setting.seeds)
            for arm in world.arms((shift, other, shift), moved, poses)
        ]
        scores = [score_cell(yardstick, one) for one in rows[:2]]
        twin = yardstick.points(
            yardstick.cosines(np.array([r.emb for r in rows[2]]), [r.pose for r in rows[2]])
        )
        points = np.array([render.points for render in scores[0].renders])
        gap = paired_difference(points, twin, [row.prompt_id for row in rows[2]], "m10")
        yield Measured(scores[0], scores[1], gap, truths[persona][shift], truths[persona][other])


def tell(title: str, worlds: list[Measured]) -> dict[str, Any]:
    """Coverage and width of m10 and of paired differences."""
    gaps = [(difference(w.first, w.second), w.truth - w.other) for w in worlds]
    twins = [w.twin for w in worlds]
    rows = {
        "m10": _coverage([(w.first.m10, w.truth) for w in worlds]),
        "paired difference": _coverage(gaps),
        "equal arms told apart": _share(sum(not t.low <= 0.0 <= t.high for t in twins), len(twins)),
    }
    print(f"\n{title}: {len(worlds)} worlds")
    for name in ("m10", "paired difference"):
        row = rows[name]
        print(
            f"  {name:22s} covers {row['share']:.3f} ({row['low']:.3f} to {row['high']:.3f}),"
            f" half width {row['half_width']:.2f}, asked for {row['asked']:.2f}, bias {row['bias']:+.3f}"
        )
    told = rows["equal arms told apart"]
    print(
        f"  equal arms told apart  {told['share']:.3f} ({told['low']:.3f} to {told['high']:.3f})",
        flush=True,
    )
    return rows


def power(worlds: list[Measured]) -> dict[str, Any]:
    """How often the gate certifies, by how far the true m10 lies above the bar."""
    rows = {}
    print("\n  true m10 - bar   certified              provisional  undecided  refused")
    for gap in GAPS:
        said = [
            judge(GateSpec(m10=w.truth - gap, worst_group_m10=-99.0), w.first).answer
            for w in worlds
        ]
        row = _share(said.count("certified"), len(said))
        others = {
            name: said.count(name) / len(said) for name in ("provisional", "undecided", "refused")
        }
        rows[f"{gap:+.1f}"] = {**row, **others}
        print(
            f"  {gap:+14.1f}   {row['share']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
            f" {others['provisional']:10.3f} {others['undecided']:10.3f} {others['refused']:8.3f}"
        )
    return rows


def equal_finalists(worlds: int) -> dict[str, float]:
    """Three equal cells on 48 fresh blocks of 12 prompts: how often is the winner called settled?"""
    settled = 0
    cells = [Cell("one", 100, s) for s in (0.6, 0.8, 1.0)]
    prompts = [f"p{i % 12}" for i in range(48)]
    for number in range(worlds):
        rng = stream("three equal", number)
        own = rng.normal(0.0, 0.4, (12, 3))
        table = 8.0 + rng.normal(0.0, 1.7, 12)[:, None][np.arange(48) % 12]
        table = table + own[np.arange(48) % 12] + rng.normal(0.0, 1.2, (48, 3))
        finalists = [Shown(c, (), tuple(table[:, i].tolist())) for i, c in enumerate(cells)]
        choice = choose(finalists, prompts, 0.0, number)
        settled += any(rival.told_apart for rival in choice.rivals)
    row = _share(settled, worlds)
    print(
        f"\nthree equal finalists: one told apart in {row['share']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
    )
    return row


def _coverage(pairs: list[tuple[Estimate, float]]) -> dict[str, float]:
    errors = np.array([estimate.value - truth for estimate, truth in pairs])
    hits = sum(estimate.low <= truth <= estimate.high for estimate, truth in pairs)
    return {
        **_share(hits, len(pairs)),
        "half_width": float(np.mean([estimate.half_width for estimate, _ in pairs])),
        "asked": float(1.96 * errors.std()),
        "bias": float(errors.mean()),
    }


def _share(hits: int, of: int) -> dict[str, float]:
    found = wilson(hits, of)
    return {"share": found.value, "low": found.low, "high": found.high, "worlds": of}


if __name__ == "__main__":
    main()
