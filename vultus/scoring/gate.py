"""The bar before anything downstream: certified, provisional, undecided or refused, with reasons in words.

Notation
    m10          score of the chosen cell on fresh prompts and seeds     Estimate, unit "m10"
    lower bound  one-sided, at the gate's confidence                      float, m10
    upper bound  likewise: below the bar, it fails beyond doubt           float, m10
Provisional = the point clears the bar. Certified = the one-sided lower bound does. Both also need the worst part of the
panel (framing or pose), the rate of missing faces, and every guard-rail in order. What neither clears nor fails beyond
its own luck is undecided, which is an answer: more fresh blocks decide. Passing is permission to look, not proof: a
person signs the gate (reference "measuring", section 5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from vultus.scoring.records import (
    Answer,
    CellScore,
    Condition,
    GateSpec,
    GateVerdict,
    GroupScore,
    Guard,
)
from vultus.stats.estimate import Estimate, wilson
from vultus.stats.jackknife import student_quantile

__all__ = [
    "GROUP_RENDERS_MIN",
    "GUARD_NAMES",
    "certified_chance",
    "judge",
    "lower_bound",
    "upper_bound",
]

GROUP_RENDERS_MIN = 4
"""A part of the panel with fewer renders is shown, not judged."""

COPYING = "copying"
"""The guard-rail that must have looked when renders are closer than the person's own pictures."""

GUARD_NAMES = (
    *(COPYING, "copied pictures", "black hole", "flat pictures", "adherence", "framing"),
    *("diversity", "sharpness", "burnt pixels", "leakage", "second judge"),
)
"""Every guard-rail that can stand beside the number: what [gate] guards may ask for."""


def judge(spec: GateSpec, score: CellScore, guards: Sequence[Guard] = ()) -> GateVerdict:
    """What the gate says about a cell that was measured on fresh blocks."""
    prompts = len({render.prompt_id for render in score.renders})
    low = lower_bound(score.m10, spec.confidence, prompts)
    high = upper_bound(score.m10, spec.confidence, prompts)
    others = [
        *(_part(spec, score, group) for group in (*score.groups, *score.poses)),
        _misses(spec, score),
        _closer(score, guards),
        *(
            Condition(guard.name, guard.kept, guard.words)
            for guard in guards
            if guard.name in spec.guards or (guard.measured and not guard.advisory)
        ),
        *_unmeasured(spec, guards),
    ]
    m10 = _bar(spec, score.m10, low, high)
    conditions = (m10, *(one for one in others if one is not None))
    answer = _answer(spec, score.m10.value, conditions)
    held_back = [one.words for one in conditions if one.kept is False]
    held_back = held_back or [one.words for one in conditions if one.kept is None] or [m10.words]
    return GateVerdict(answer, tuple(held_back), low, conditions)


def _answer(spec: GateSpec, value: float, conditions: Sequence[Condition]) -> Answer:
    if any(one.kept is False for one in conditions):
        return "refused"
    if all(one.kept for one in conditions):
        return "certified"
    if value >= spec.m10 and all(one.kept for one in conditions[1:]):
        return "provisional"
    return "undecided"


def _bar(spec: GateSpec, m10: Estimate, low: float, high: float) -> Condition:
    bar = f"{spec.m10:g}"
    if low >= spec.m10:
        return Condition(
            "m10", True, f"the one-sided lower bound {low:.1f} clears the bar of {bar}"
        )
    if m10.value >= spec.m10:
        words = f"m10 {m10.value:.1f} clears {bar}, its one-sided lower bound {low:.1f} does not"
        return Condition("m10", None, words)
    if high < spec.m10:
        return Condition("m10", False, f"m10 {m10.words()} is below the bar of {bar}")
    words = (
        f"m10 {m10.words()} is below the bar of {bar}, its one-sided upper bound {high:.1f} is not"
    )
    return Condition("m10", None, words)


def _part(spec: GateSpec, score: CellScore, group: GroupScore) -> Condition | None:
    """The floor for one framing or pose; a part of a few renders is not judged."""
    if group.n_renders < GROUP_RENDERS_MIN or not group.m10.bounded:
        return None
    looking = group in score.poses
    name = f"looking {group.name}" if looking else group.name
    if group.m10.value >= spec.worst_group_m10:
        return Condition(name, True, f"{name} scores {group.m10.words()}")
    own = [r for r in score.renders if (r.pose if looking else r.group) == group.name]
    prompts = len({r.prompt_id for r in own or score.renders})
    floor = f"the floor of {spec.worst_group_m10:g} for any part of the panel"
    reach = upper_bound(group.m10, spec.confidence, prompts)
    kept = None if reach >= spec.worst_group_m10 else False
    return Condition(name, kept, f"{name} scores {group.m10.words()}, below {floor}")


def _misses(spec: GateSpec, score: CellScore) -> Condition:
    """The upper bound of the share of missing faces, where so few renders could meet it at all."""
    # A dozen renders without a single miss leave an upper bound near 20 %: the rule looks at
    # the bound only when it could be met, and at the observed share always.
    misses = wilson(score.misses, score.n_renders, confidence=2.0 * spec.confidence - 1.0)
    reachable = (
        wilson(0, score.n_renders, confidence=2.0 * spec.confidence - 1.0).high
        <= spec.miss_rate_max
    )
    said = f"no face in {score.misses} of {score.n_renders} renders"
    if misses.value > spec.miss_rate_max:
        return Condition("misses", False, f"{said}; at most {spec.miss_rate_max:.0%} may miss")
    if reachable and misses.high > spec.miss_rate_max:
        words = f"{said}, hence up to {misses.high:.0%}; at most {spec.miss_rate_max:.0%} may miss"
        return Condition("misses", None, words)
    return Condition("misses", True, said)


def _closer(score: CellScore, guards: Sequence[Guard]) -> Condition | None:
    """Closer than real: only the copying guard can say that this is no copying."""
    flags = [flag for flag in score.flags if flag.startswith("closer")]
    if not flags:
        return None
    looked = any(guard.name == COPYING and guard.kept for guard in guards)
    return Condition("closer than real", True if looked else None, flags[0])


def _unmeasured(spec: GateSpec, guards: Sequence[Guard]) -> list[Condition]:
    known = {guard.name for guard in guards}
    return [
        Condition(name, None, f"{name} was not measured")
        for name in spec.guards
        if name not in known
    ]


def lower_bound(estimate: Estimate, confidence: float, n_clusters: int) -> float:
    """One-sided lower bound, from the estimate's own lower half-width rescaled in Student's t."""
    if not math.isfinite(estimate.low) or n_clusters < 2:
        return -math.inf
    free = n_clusters - 1
    two_sided = student_quantile(0.5 + estimate.confidence / 2.0, free)
    return estimate.value - (estimate.value - estimate.low) * (
        student_quantile(confidence, free) / two_sided
    )


def upper_bound(estimate: Estimate, confidence: float, n_clusters: int) -> float:
    """One-sided upper bound; see `lower_bound`."""
    if not math.isfinite(estimate.high) or n_clusters < 2:
        return math.inf
    return 2.0 * estimate.value - lower_bound(estimate, confidence, n_clusters)


def certified_chance(true_m10: float, bar: float, sd_m10: float, confidence: float = 0.90) -> float:
    """How often a cell of this true score would be certified: look at it before the run."""
    z = NormalDist().inv_cdf(confidence)
    return NormalDist().cdf((true_m10 - bar) / sd_m10 - z)
