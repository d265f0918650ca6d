"""Stand-in personas with planted strangers, read once for the audit's and the coverage's figures.

Notation
    own         pictures of the persona, framings in turn, accessories as in real sets (15 % hat, 15 % glasses, 8 % dye)
    strangers   one picture each of other people, so many that they are a tenth of the set
    twin        somebody with the persona's colours and another face: the hardest stranger that can be planted
No model has seen any of these people. Every fourth persona lies 20 % outside the training range.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus.core.seeds import stream
from vultus.datasets.readings import Reading, read_picture
from vultus.faces.engines import open_engine
from vultus.faces.packs import find_pack
from vultus.standin.identity import Identity, sample_identity, twin_of
from vultus.standin.nuisance import FRAMINGS, Nuisance, sample_nuisance, without_accessories
from vultus.standin.personas import clean_pictures, persona
from vultus.standin.render import render

__all__ = ["FIRST", "PERSONAS", "Planted", "read_personas"]

FIRST = 400
"""Personas before this one are used by tests, the demo and other benchmarks."""
OWN, STRANGERS, TWINS = 36, 4, 2
PERSONAS = 30


@dataclass(frozen=True, eq=False)
class Planted:
    """One persona's readings and what is true of them."""

    index: int
    own: tuple[Reading, ...]
    scenes: tuple[Nuisance, ...]
    strangers: tuple[Reading, ...]
    twins: tuple[Reading, ...]


@functools.cache
def read_personas(count: int) -> list[Planted]:
    """Draw and read `count` personas, once per process; who cannot be drawn is passed over and told."""
    engine = open_engine(find_pack("standin"))
    found: list[Planted] = []
    index = FIRST
    while len(found) < count:
        try:
            drawn = list(_own(index))
        except TypeError:
            # Outside the training range a skin depth below 0 has no colour: a known fault of the renderer.
            print(f"persona {index} cannot be drawn, passed over", flush=True)
            index += 1
            continue
        others = [
            _of(sample_identity(stream("bench stranger", index, k)), index, k)
            for k in range(STRANGERS)
        ]
        rng = stream("bench twin", index)
        twins = [_of(twin_of(persona(index), rng), index, 100 + k) for k in range(TWINS)]
        pictures = [rgb for rgb, _ in drawn] + others + twins
        results = engine.read_many(pictures)
        readings = [
            read_picture(f"{index}-{i:02d}", "", rgb, result, engine.pack)
            for i, (rgb, result) in enumerate(zip(pictures, results, strict=True))
        ]
        found.append(
            Planted(
                index,
                tuple(readings[:OWN]),
                tuple(scene for _, scene in drawn),
                tuple(readings[OWN : OWN + STRANGERS]),
                tuple(readings[OWN + STRANGERS :]),
            )
        )
        if len(found) % 10 == 0:
            print(f"{len(found)} personas read", flush=True)
        index += 1
    return found


def _own(index: int) -> list[tuple[npt.NDArray[np.uint8], Nuisance]]:
    """The persona's pictures; every third one keeps what it wears."""
    clean = list(clean_pictures(index, OWN, name="bench curation"))
    who = persona(index)
    drawn = []
    for k, (rgb, scene) in enumerate(clean):
        if k % 3 == 0:
            rng = stream("bench worn", index, k)
            worn = sample_nuisance(rng, framing=FRAMINGS[(k // 3) % 3])
            rgb, scene = render(who, worn).rgb, worn
        drawn.append((rgb, scene))
    return drawn


def _of(who: Identity, index: int, k: int) -> npt.NDArray[np.uint8]:
    rng = stream("bench stranger scene", index, k)
    scene = without_accessories(sample_nuisance(rng, framing=FRAMINGS[k % 3]))
    return render(who, scene).rgb
