"""The deck of a blind vote: renders of a finished run in pairs, chosen to span the scale and dealt by a named stream.

Nobody who looks at the deck can tell which cell a render is from; the deck is dealt again from the run whenever votes
are read, and its digest says whether they belong to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vultus.core.errors import ScoreError
from vultus.core.keys import canonical, content_id, file_content_id
from vultus.core.seeds import stream
from vultus.scoring.votes import Pair
from vultus.studies.outcome import Outcome

PAIRS = 20
AGAIN = 4
"""Pairs that are shown a second time with their sides changed."""


@dataclass(frozen=True, eq=False)
class Deck:
    """Pairs of renders by content id, where each lies, its points, and the references to show beside them."""

    digest: str
    pairs: tuple[Pair, ...]
    paths: Mapping[str, Path]
    m10: Mapping[str, float]
    references: tuple[Path, ...]


def deal(outcome: Outcome, pairs: int = PAIRS) -> Deck:
    """Deal a deck. Raises ScoreError when the run has too few renders with a face."""
    points: dict[str, float] = {}
    paths: dict[str, Path] = {}
    cells = (*outcome.finalists, outcome.fresh_alone, *outcome.cells)
    for cell in cells:
        told = {(r.prompt_id, r.seed): r for r in cell.score.renders}
        for block, path in cell.renders.items():
            render = told.get((block.template, block.seed))
            if render is not None and render.cosine is not None:
                name = file_content_id(path)
                points.setdefault(name, render.points)
                paths.setdefault(name, path)
    if len(points) < 2 * pairs:
        raise ScoreError(
            f"{len(points)} renders with a face cannot be dealt into {pairs} pairs",
            expected=f"{2 * pairs} renders",
            next_command=f"ask for fewer: --pairs {len(points) // 2}",
        )
    ranked = sorted(points, key=lambda name: (points[name], name))
    spots = np.linspace(0, len(ranked) - 1, 2 * pairs).round().astype(int)
    chosen = [ranked[i] for i in spots]
    rng = stream("votes", outcome.fresh_scale.yardstick.digest, pairs)
    order = [chosen[i] for i in rng.permutation(len(chosen))]
    dealt = [Pair(order[2 * i], order[2 * i + 1]) for i in range(pairs)]
    for i in rng.choice(pairs, size=min(AGAIN, pairs), replace=False):
        dealt.append(Pair(dealt[int(i)].right, dealt[int(i)].left, int(i)))
    members = outcome.dataset.references[:3]
    digest = content_id(canonical([[p.left, p.right, p.again] for p in dealt]).encode())
    return Deck(
        digest,
        tuple(dealt),
        {name: paths[name] for name in chosen},
        {name: points[name] for name in chosen},
        tuple(outcome.dataset_folder / member.picture for member in members),
    )


__all__ = ["AGAIN", "PAIRS", "Deck", "deal"]
