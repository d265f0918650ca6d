"""How a set spreads over direction, distance, light, mouth, background and outfit, and what it lacks.

Notation
    yaw, pitch     bins of `datasets.pose`
    framing        by the height of the face in the picture that the trainer sees (after bucketing), as a share of the
                   square root of its area: close-up >= close, half body >= half, else full body
    occupancy      pictures per cell (yaw, pitch, framing)
    evenness       entropy of the occupancy of yaw x framing over the cells that a set should fill, 0..1
    share          of the pictures, 0..1; every share carries its n

The framing cuts for photographs follow from bodies: a detector's box is about 0.8 of a head and a body 7.5 heads, so a
standing body fills the picture from 0.11 down (0.14 with margins) and head and shoulders begin near 0.36. The stand-in
draws its people closer (a "full body" is three heads high), so its pack has cuts of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus.datasets.pose import PITCH_BINS, YAW_BINS, pitch_bin, yaw_bin
from vultus.datasets.readings import Reading
from vultus.datasets.records import Member
from vultus.datasets.scenes import Palette
from vultus.faces.packs import Pack

FACE_SIZES = ("large", "medium", "small")
FACINGS = ("left", "ahead", "right")
FRAMINGS = ("close-up", "half body", "full body")
LIGHTS = ("from the left", "from the right", "dim", "bright", "even")
MOUTHS = ("narrow", "usual", "wide")
FRAMING_CUTS = (0.36, 0.14)
STANDIN_FRAMING_CUTS = (0.44, 0.325)
SIDE_CUT = 0.06
DIM_CUT = 0.30
BRIGHT_CUT = 0.80
MOUTH_CUT = 0.08
SAME_PALETTE = 0.90
"""Bhattacharyya coefficient from which two backgrounds or outfits are one."""
WANTED_YAW = {"ahead": 0.40, "three-quarter left": 0.25, "three-quarter right": 0.25}
WANTED_PROFILE = {"profile left": 0.05, "profile right": 0.05}
WANTED_FRAMING = {"close-up": 0.45, "half body": 0.30, "full body": 0.25}
"""A starting mix, from published advice (close-ups first, some bodies): practice, not measurement."""


@dataclass(frozen=True)
class Cell:
    """Where one picture stands on the grid."""

    name: str
    yaw: str
    pitch: str
    framing: str
    light: str
    mouth: str
    background: int
    outfit: int


@dataclass(frozen=True)
class Hole:
    """A cell with fewer pictures than wanted."""

    yaw: str
    framing: str
    have: int
    want: int

    @property
    def missing(self) -> int:
        """How many pictures it lacks."""
        return self.want - self.have


@dataclass(frozen=True)
class Coverage:
    """The spread of a set. Cluster numbers in `cells` count from 0, the largest first; -1 = not to be seen."""

    cells: tuple[Cell, ...]
    unposed: tuple[str, ...]
    holes: tuple[Hole, ...]
    evenness: float
    lights: Mapping[str, int]
    mouths: Mapping[str, int]
    backgrounds: tuple[int, ...]
    outfits: tuple[int, ...]
    accessories: Mapping[str, int]

    @property
    def occupancy(self) -> dict[tuple[str, str, str], int]:
        """Pictures per (yaw, pitch, framing); empty cells are there too, because they are the news."""
        counts = {(y, p, f): 0 for f in FRAMINGS for p in PITCH_BINS for y in YAW_BINS}
        for cell in self.cells:
            counts[cell.yaw, cell.pitch, cell.framing] += 1
        return counts


def count_coverage(members: Sequence[Member]) -> dict[tuple[str, str], int]:
    """Count members by size of the face and facing, for the short report of a whole run."""
    counts = {(size, facing): 0 for size in FACE_SIZES for facing in FACINGS}
    for member in members:
        counts[member.face_size, member.facing] += 1
    return counts


def framing_of(reading: Reading, cuts: tuple[float, float] = FRAMING_CUTS) -> str:
    """The framing of one picture: bucketing keeps the area, so the share is of the square root of the area."""
    share = reading.face_height_px / max(1.0, (reading.width_px * reading.height_px) ** 0.5)
    return FRAMINGS[(share < cuts[0]) + (share < cuts[1])]


def framing_cuts(pack: Pack) -> tuple[float, float]:
    """Where close-up ends and where full body begins for the pictures of this pack's world."""
    return STANDIN_FRAMING_CUTS if pack.detector.kind == "standin" else FRAMING_CUTS


def measure_coverage(
    readings: Sequence[Reading],
    captions: Mapping[str, str],
    *,
    wanted: int,
    cuts: tuple[float, float] = FRAMING_CUTS,
    profiles: bool = True,
) -> Coverage:
    """Measure the spread of the pictures with a face; `wanted` is the size the set should reach."""
    seen = [r for r in readings if r.pose is not None and r.scene is not None]
    if not seen:
        return Coverage((), tuple(r.name for r in readings), (), 0.0, {}, {}, (), (), {})
    scenes = [r.scene for r in seen if r.scene is not None]
    mouth = float(np.median([scene.mouth for scene in scenes]))
    backgrounds = _clusters([scene.background for scene in scenes])
    outfits = _clusters([scene.outfit for scene in scenes])
    cells = tuple(
        Cell(
            r.name,
            yaw_bin(r.pose.yaw_deg),
            pitch_bin(r.pose.pitch_deg),
            framing_of(r, cuts),
            _light(r.scene.level, r.scene.side),
            MOUTHS[
                1
                + int(np.sign(r.scene.mouth / mouth - 1))
                * (abs(r.scene.mouth / mouth - 1) > MOUTH_CUT)
            ],
            backgrounds[i],
            outfits[i],
        )
        for i, r in enumerate(seen)
        if r.pose is not None and r.scene is not None
    )
    grid = _wanted(wanted, profiles)
    have = Counter((cell.yaw, cell.framing) for cell in cells)
    holes = [Hole(y, f, have[y, f], n) for (y, f), n in grid.items() if have[y, f] < n]
    return Coverage(
        cells=cells,
        unposed=tuple(r.name for r in readings if r.pose is None or r.scene is None),
        holes=tuple(
            sorted(holes, key=lambda hole: (-hole.missing, hole.have, hole.yaw, hole.framing))
        ),
        evenness=_evenness([have[cell] for cell in grid]),
        lights=_counts(LIGHTS, [cell.light for cell in cells]),
        mouths=_counts(MOUTHS, [cell.mouth for cell in cells]),
        backgrounds=_sizes(backgrounds),
        outfits=_sizes(outfits),
        accessories=count_accessories(captions.get(r.name, "") for r in seen),
    )


ACCESSORIES: dict[str, tuple[str, ...]] = {
    "glasses": ("glasses", "sunglasses", "eyeglasses", "spectacles", "eyewear"),
    "hat": ("hat", "cap", "beanie", "beret", "helmet", "hood"),
    "earrings": ("earring", "earrings"),
    "necklace": ("necklace", "choker", "pendant"),
    "mask": ("mask", "face mask"),
    "scarf": ("scarf",),
    "headphones": ("headphones", "earbuds"),
    "beard": ("beard", "moustache", "mustache"),
}


def accessories_in(caption: str) -> tuple[str, ...]:
    """The accessories that a caption names."""
    words = set(caption.lower().replace(",", " ").replace("_", " ").split())
    return tuple(name for name, forms in ACCESSORIES.items() if words & set(forms))


def count_accessories(captions: Iterable[str]) -> dict[str, int]:
    """How many captions name each accessory; those that none names are left out."""
    counts = Counter(name for caption in captions for name in accessories_in(caption))
    return {name: counts[name] for name in ACCESSORIES if counts[name]}


def _wanted(total: int, profiles: bool) -> dict[tuple[str, str], int]:
    """How many pictures each cell of yaw x framing should hold, at least one each."""
    yaws = {**WANTED_YAW, **(WANTED_PROFILE if profiles else {})}
    whole = sum(yaws.values())
    return {
        (y, f): max(1, round(total * share / whole * part))
        for y, share in yaws.items()
        for f, part in WANTED_FRAMING.items()
        if not (y in WANTED_PROFILE and f == "full body")
    }


def _light(level: float, side: float) -> str:
    if side > SIDE_CUT:
        return "from the left"
    if side < -SIDE_CUT:
        return "from the right"
    return "dim" if level < DIM_CUT else "bright" if level > BRIGHT_CUT else "even"


def _clusters(palettes: Sequence[Palette]) -> list[int]:
    """Cluster number of each palette: groups by mean likeness, largest first; -1 where nothing was to be seen."""
    rows = np.stack(palettes).astype(np.float64)
    alike = rows @ rows.T
    groups: list[list[int]] = []
    for i in range(len(rows)):
        if not rows[i].any():
            continue
        best = max(groups, key=lambda g: float(alike[i, g].mean()), default=None)
        if best is not None and float(alike[i, best].mean()) >= SAME_PALETTE:
            best.append(i)
        else:
            groups.append([i])
    groups.sort(key=lambda group: (-len(group), group[0]))
    number = {i: k for k, group in enumerate(groups) for i in group}
    return [number.get(i, -1) for i in range(len(rows))]


def _evenness(counts: Sequence[int]) -> float:
    """Entropy over its largest value: 1 when all wanted cells are equally full."""
    n: npt.NDArray[np.float64] = np.asarray(counts, dtype=np.float64)
    if n.sum() == 0 or len(n) < 2:
        return 0.0
    share = n[n > 0] / n.sum()
    return float(-(share * np.log(share)).sum() / np.log(len(n)))


def _counts(names: Sequence[str], seen: Sequence[str]) -> dict[str, int]:
    counts = Counter(seen)
    return {name: counts[name] for name in names}


def _sizes(numbers: Sequence[int]) -> tuple[int, ...]:
    return tuple(count for group, count in sorted(Counter(numbers).items()) if group >= 0)


__all__ = [
    "ACCESSORIES",
    "FACE_SIZES",
    "FACINGS",
    "FRAMINGS",
    "LIGHTS",
    "MOUTHS",
    "Cell",
    "Coverage",
    "Hole",
    "accessories_in",
    "count_accessories",
    "count_coverage",
    "framing_cuts",
    "framing_of",
    "measure_coverage",
]
