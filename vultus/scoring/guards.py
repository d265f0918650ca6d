"""Guard-rails: what a good face score may have been bought with, each beside the base at the same prompt and seed.

None of them enters m10, and none is averaged with another: a guard-rail is kept, broken, or open. Each is a pure
function of what was seen of the chosen cell's renders, of the base's own renders on the same blocks, and of the
persona's pictures. Source of the list: reference "measuring", section 10.

Notation
    chosen, base   renders with and without the LoRA, the same blocks in the same order    n `Seen` each
    gap            chosen minus base per block, averaged; interval clustered by prompt      `Estimate`
    margin         how far the gap may go the bad way before the guard-rail is broken       in the gap's unit
    kept           the point is within the margin                                           True
    open           the point is beyond it, its interval is not                              None
    broken         the whole interval is beyond the margin                                  False
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vultus.images.geometry import luma
from vultus.images.hashing import Bits, Hashes, hamming_matrix, hash_picture
from vultus.images.records import Rgb
from vultus.scoring.records import Guard, Vector
from vultus.stats.jackknife import cluster_mean

__all__ = [
    "FRAMING_MARGIN",
    "LEAK_MARGIN_M10",
    "Light",
    "Seen",
    "adherence",
    "diversity",
    "flat_pictures",
    "framing",
    "leakage",
    "light_of",
    "not_measured",
    "paired",
    "quality",
]

FLAT_SD = 4.0
"""Standard deviation of a picture's luma, in grey levels, below which it shows nothing (a black frame has 0)."""

FRAMING_MARGIN = 1.25
"""A face this many times as high as the base's at the same prompt is another framing than was asked for."""

DIVERSITY_SHARE = 0.7
"""Pictures of one prompt may differ from seed to seed this share of what the base's do."""

SHARPNESS_MARGIN = 0.08
"""Sharpness 0..1 of the face (images.quality) that may be lost."""

CLIPPED_MARGIN = 0.05
"""Share of burnt pixels (black or white in every channel) that may be gained."""

OBEYED_MARGINS = {"share": 0.10, "cosine": 0.02}
"""How much less of the prompt may be seen: share of what was asked for, or CLIP's cosine of picture and text (PuLID
without its counter-measures loses 0.064: reference "measuring", section 3)."""

LEAK_MARGIN_M10 = 2.0
"""m10 that strangers (class words, no trigger) may gain from the LoRA."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Seen:
    """One render as the guard-rails see it; None where there is no face, or nobody looked."""

    prompt_id: str
    seed: int
    emb: Vector | None
    face_share: float | None
    """height of the face / height of the picture"""
    sharpness: float | None
    bits: Bits
    structure: float
    """0..100: how much the fingerprint stands on (images.hashing)"""
    luma_mean: float
    luma_sd: float
    clipped: float
    obeyed: float | None = None
    """how much of the prompt is in the picture, in the unit of the eye that looked"""


@dataclass(frozen=True, eq=False)
class Light:
    """Fingerprint and brightness of one picture."""

    hashes: Hashes
    mean: float
    sd: float
    clipped: float
    """share of pixels that are all black or all white"""


def light_of(rgb: Rgb) -> Light:
    """Look at a picture without looking for anybody."""
    grey = luma(rgb)
    burnt = (rgb >= 254).all(axis=2) | (rgb <= 1).all(axis=2)
    return Light(hash_picture(rgb), float(grey.mean()), float(grey.std()), float(burnt.mean()))


def paired(
    name: str,
    pairs: Sequence[tuple[str, float]],
    unit: str,
    margin: float,
    words: Callable[[str], str],
    *,
    bad: int = -1,
    advisory: bool = False,
) -> Guard:
    """Judge the mean gap over (prompt, gap) pairs; `bad` is the sign of a gap that is worse than the base."""
    if len({prompt for prompt, _ in pairs}) < 2:
        return not_measured(name, f"{name}: {len(pairs)} comparable renders are too few")
    gap = cluster_mean(
        np.array([value for _, value in pairs]), [prompt for prompt, _ in pairs], unit
    )
    worst, nearest = bad * gap.value, bad * gap.high if bad < 0 else gap.low
    kept = True if worst <= margin else None if nearest <= margin else False
    return Guard(name, kept, words(gap.words(2)), gap=gap, margin=margin, advisory=advisory)


def not_measured(name: str, words: str, *, advisory: bool = False) -> Guard:
    """A guard-rail that nobody could look at: it holds nothing back unless the gate asks for it by name."""
    return Guard(name, None, words, measured=False, advisory=advisory)


def flat_pictures(chosen: Sequence[Seen], base: Sequence[Seen]) -> Guard:
    """Black, white or empty pictures that the base does not draw from the same noise."""
    own = sum(_is_flat(one) for one in chosen)
    there = sum(_is_flat(one) for one in base)
    words = f"{own} of {len(chosen)} renders are flat (black, white or empty), {there} of the base's own"
    more = own - there
    kept = True if more <= 0 else None if more == 1 else False
    return Guard("flat pictures", kept, words)


def adherence(chosen: Sequence[Seen], base: Sequence[Seen], unit: str, eye: str) -> Guard:
    """How much less of the prompt is in the picture than the base puts there. `unit` is share or cosine."""
    pairs = [
        (a.prompt_id, a.obeyed - b.obeyed)
        for a, b in _blocks(chosen, base)
        if a.obeyed is not None and b.obeyed is not None
    ]
    return paired(
        "adherence",
        pairs,
        unit,
        OBEYED_MARGINS[unit],
        lambda gap: f"what the prompt asks for, against the base: {gap} {unit} ({eye})",
    )


def framing(chosen: Sequence[Seen], base: Sequence[Seen]) -> Guard:
    """Whether the face grows beyond the framing that the prompt gets from the base."""
    pairs = [
        (a.prompt_id, math.log(a.face_share / b.face_share))
        for a, b in _blocks(chosen, base)
        if a.face_share and b.face_share
    ]
    found = paired("framing", pairs, "log ratio", math.log(FRAMING_MARGIN), str, bad=1)
    if found.gap is None:
        return found
    times = math.exp(found.gap.value)
    low, high = math.exp(found.gap.low), math.exp(found.gap.high)
    said = f"faces are {times:.2f} times as high as the base's ({low:.2f} to {high:.2f})"
    return _said(found, said)


def diversity(chosen: Sequence[Seen], base: Sequence[Seen]) -> Guard:
    """Whether the seeds of one prompt still give different pictures: fingerprint distance over the base's."""
    own, there = _spread(chosen), _spread(base)
    both = [p for p in own if p in there and own[p] > 0 and there[p] > 0]
    same = [p for p in own if p in there and own[p] == 0 and there[p] > 0]
    pairs = [(p, math.log(own[p] / there[p])) for p in both] + [
        (p, math.log(1 / 256)) for p in same
    ]
    found = paired("diversity", pairs, "log ratio", -math.log(DIVERSITY_SHARE), str)
    if found.gap is None:
        return not_measured("diversity", "diversity: it takes two seeds of a prompt")
    times = math.exp(found.gap.value)
    low, high = math.exp(found.gap.low), math.exp(found.gap.high)
    said = f"from seed to seed pictures differ {times:.2f} times as much as the base's"
    return _said(found, f"{said} ({low:.2f} to {high:.2f})")


def quality(chosen: Sequence[Seen], base: Sequence[Seen]) -> tuple[Guard, Guard]:
    """Sharpness of the face that is lost, and burnt pixels that are gained."""
    blocks = _blocks(chosen, base)
    sharp = [
        (a.prompt_id, a.sharpness - b.sharpness)
        for a, b in blocks
        if a.sharpness is not None and b.sharpness is not None
    ]
    burnt = [(a.prompt_id, a.clipped - b.clipped) for a, b in blocks]
    return (
        paired(
            "sharpness",
            sharp,
            "sharpness",
            SHARPNESS_MARGIN,
            lambda gap: f"sharpness of the face (0..1), against the base: {gap}",
        ),
        paired(
            "burnt pixels",
            burnt,
            "share",
            CLIPPED_MARGIN,
            lambda gap: f"share of burnt pixels, against the base: {gap}",
            bad=1,
        ),
    )


def leakage(strangers: Sequence[tuple[str, float, float]], full_m10: float) -> Guard:
    """Whether the persona shows in pictures of somebody else: (prompt, m10 with the LoRA, m10 without) per block.

    Told, and held against the LoRA only where [gate] guards asks for it: a LoRA of one person that was trained
    without pictures of others leaks by construction.
    """
    pairs = [(prompt, with_lora - without) for prompt, with_lora, without in strangers]
    found = paired("leakage", pairs, "m10", LEAK_MARGIN_M10, str, bad=1, advisory=True)
    if found.gap is None:
        return found
    said = f"class words without the trigger gain {found.gap.words(1)} m10 from the LoRA"
    return _said(found, f"{said}; the persona itself has {full_m10:.1f}")


def _said(found: Guard, words: str) -> Guard:
    return Guard(
        found.name, found.kept, words, gap=found.gap, margin=found.margin, advisory=found.advisory
    )


def _is_flat(one: Seen) -> bool:
    return one.emb is None and one.luma_sd < FLAT_SD  # where a face was measured there is a picture


def _blocks(chosen: Sequence[Seen], base: Sequence[Seen]) -> list[tuple[Seen, Seen]]:
    """Renders of the same prompt and seed."""
    there = {(one.prompt_id, one.seed): one for one in base}
    return [
        (one, there[one.prompt_id, one.seed])
        for one in chosen
        if (one.prompt_id, one.seed) in there
    ]


def _spread(seen: Sequence[Seen]) -> dict[str, float]:
    """Mean share of fingerprint bits that differ between the seeds of a prompt."""
    found: dict[str, float] = {}
    for prompt in dict.fromkeys(one.prompt_id for one in seen):
        bits = np.stack([one.bits for one in seen if one.prompt_id == prompt])
        if len(bits) > 1:
            apart = hamming_matrix(bits, bits)[np.triu_indices(len(bits), 1)]
            found[prompt] = float(apart.mean()) / bits.shape[1]
    return found
