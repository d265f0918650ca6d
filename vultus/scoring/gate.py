"""The bar before anything downstream: certified, provisional or refused, with reasons in words.

Notation
    m10          score of the chosen cell on fresh prompts and seeds     Estimate, unit "m10"
    lower bound  one-sided, at the gate's confidence                      float, m10
Provisional = the point clears the bar. Certified = the one-sided lower bound does. Both also need
the worst part of the panel and the rate of missing faces in order. Passing is permission to look,
not proof: a person signs the gate (reference "measuring", section 5).
"""

from __future__ import annotations

import math
from statistics import NormalDist

from vultus.scoring.records import CellScore, GateSpec, GateVerdict
from vultus.stats.estimate import Estimate, wilson
from vultus.stats.jackknife import student_quantile

__all__ = ["certified_chance", "judge", "lower_bound"]


def judge(spec: GateSpec, score: CellScore) -> GateVerdict:
    """What the gate says about a cell that was measured on fresh blocks."""
    prompts = len({render.prompt_id for render in score.renders})
    bound = lower_bound(score.m10, spec.confidence, prompts)
    blockers: list[str] = []
    if score.m10.value < spec.m10:
        blockers.append(f"m10 {score.m10.words()} is below the bar of {spec.m10:g}")
    blockers.extend(
        f"{group.name} scores {group.m10.words()}, below the floor of "
        f"{spec.worst_group_m10:g} for any part of the panel"
        for group in score.groups
        if group.m10.value < spec.worst_group_m10
    )
    # A dozen renders without a single miss leave an upper bound near 20 %: the rule looks at
    # the bound only when it could be met, and at the observed share always.
    misses = wilson(score.misses, score.n_renders, confidence=0.80)
    reachable = wilson(0, score.n_renders, confidence=0.80).high <= spec.miss_rate_max
    rate = misses.high if reachable else misses.value
    if rate > spec.miss_rate_max:
        blockers.append(
            f"no face in {score.misses} of {score.n_renders} renders; "
            f"at most {spec.miss_rate_max:.0%} may miss"
        )
    blockers.extend(flag for flag in score.flags if flag.startswith("closer"))
    if blockers:
        return GateVerdict("refused", tuple(blockers), bound)
    if bound >= spec.m10:
        text = f"the lower bound {bound:.1f} clears the bar of {spec.m10:g}"
        return GateVerdict("certified", (text,), bound)
    text = f"m10 {score.m10.value:.1f} clears {spec.m10:g}, its lower bound {bound:.1f} does not"
    return GateVerdict("provisional", (text,), bound)


def lower_bound(estimate: Estimate, confidence: float, n_clusters: int) -> float:
    """One-sided lower bound, from the estimate's own lower half-width rescaled in Student's t."""
    if not math.isfinite(estimate.low) or n_clusters < 2:
        return -math.inf
    free = n_clusters - 1
    two_sided = student_quantile(0.5 + estimate.confidence / 2.0, free)
    return estimate.value - (estimate.value - estimate.low) * (
        student_quantile(confidence, free) / two_sided
    )


def certified_chance(true_m10: float, bar: float, sd_m10: float, confidence: float = 0.90) -> float:
    """How often a cell of this true score would be certified: look at it before the run."""
    z = NormalDist().inv_cdf(confidence)
    return NormalDist().cdf((true_m10 - bar) / sd_m10 - z)
