"""Two judges side by side: the same renders scored by a second recogniser, and whether that changes the decision.

Notation
    a, b        scores of the same cells by the first and the second judge       one `CellScore` per finalist
    spearman    rank correlation of the renders' cosines under both              float in -1..1
A recogniser has blind spots of its own: a LoRA can be good at pleasing one. The second judge chooses nothing and its
number is never averaged with the first one's. What it can do is take a "yes" back: where it says that the bar is missed
beyond luck, the answer is undecided, because two judges that disagree have decided nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vultus.scoring.gate import judge
from vultus.scoring.records import CellScore, GateSpec, GateVerdict, Guard

__all__ = ["SECOND_JUDGE", "SecondOpinion", "decide", "second_guard", "second_opinion"]

SECOND_JUDGE = "second judge"


@dataclass(frozen=True)
class SecondOpinion:
    """What a second recogniser says. `refused` says why it can say nothing; the scores are None then.

    `best` are the positions of the best finalist under each judge, by fresh blocks.
    """

    pack_name: str
    pack_digest: str
    first: CellScore
    second: CellScore | None
    spearman: float | None = None
    best: tuple[int, int] = (0, 0)
    refused: tuple[str, ...] = ()

    @property
    def same_best(self) -> bool:
        """True when both judges put the same finalist first."""
        return self.best[0] == self.best[1]

    def to_json(self) -> dict[str, Any]:
        """A JSON-safe dictionary without the single renders."""
        found = self.second
        return {
            "pack": self.pack_name,
            "digest": self.pack_digest,
            "m10": None if found is None else found.m10.to_json(),
            "first_m10": self.first.m10.to_json(),
            "misses": None if found is None else found.misses,
            "yardstick": None if found is None else found.yardstick_digest,
            "spearman": self.spearman,
            "same_best": self.same_best,
            "refused": list(self.refused),
        }


def second_opinion(
    pack: tuple[str, str],
    first: Sequence[CellScore],
    second: Sequence[CellScore],
    chosen: int,
) -> SecondOpinion:
    """Put two judges' scores of the same cells side by side; `pack` is the second's name and digest."""
    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} cells of one judge, {len(second)} of the other")
    means = [[score.m10.value for score in scores] for scores in (first, second)]
    best = (int(np.argmax(means[0])), int(np.argmax(means[1])))
    return SecondOpinion(
        pack[0], pack[1], first[chosen], second[chosen], _spearman(first, second), best
    )


def second_guard(spec: GateSpec, found: SecondOpinion) -> Guard:
    """What the second judge's number means for the gate: nothing, or that a yes is taken back."""
    if found.second is None:
        words = f"the second judge ({found.pack_name}) cannot say: {'; '.join(found.refused)}"
        return Guard(SECOND_JUDGE, None, words, measured=False)
    bare = GateSpec(spec.m10, spec.worst_group_m10, spec.miss_rate_max, spec.confidence)
    own, other = judge(bare, found.first), judge(bare, found.second)
    said = f"the second judge ({found.pack_name}) gives m10 {found.second.m10.words()}"
    if own.passed and other.answer == "refused":
        return Guard(SECOND_JUDGE, None, f"{said} and would refuse: {other.reasons[0]}")
    if own.answer == "certified" and other.answer == "undecided":
        return Guard(SECOND_JUDGE, None, f"{said} and leaves it open: {other.reasons[0]}")
    if other.passed and own.answer == "refused":
        return Guard(SECOND_JUDGE, True, f"{said} and would let it pass; the first judge counts")
    return Guard(SECOND_JUDGE, True, f"{said} and decides alike")


def decide(
    spec: GateSpec, score: CellScore, guards: Sequence[Guard], second: SecondOpinion | None
) -> GateVerdict:
    """The gate with everything that stands beside the number."""
    others = [] if second is None else [second_guard(spec, second)]
    return judge(spec, score, [*guards, *others])


def _spearman(first: Sequence[CellScore], second: Sequence[CellScore]) -> float | None:
    """Rank correlation over the renders in which both judges found a face; None below 4 of them."""
    a, b = [], []
    for one, other in zip(first, second, strict=True):
        there = {(r.prompt_id, r.seed): r.cosine for r in other.renders}
        for render in one.renders:
            twin = there.get((render.prompt_id, render.seed))
            if render.cosine is not None and twin is not None:
                a.append(render.cosine)
                b.append(twin)
    if len(a) < 4 or len(set(a)) < 2 or len(set(b)) < 2:
        return None
    ranks = [np.argsort(np.argsort(values)).astype(np.float64) for values in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
