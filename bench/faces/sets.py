"""The photographs of the benchmark: where they lie, who is on them.

They are team data, never part of the project: `../shared/photos` of a checkout, or $VULTUS_SHARED.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus.faces.packs import Pack, PoseSpec, QualitySpec, find_pack
from vultus.faces.records import Rgb
from vultus.images.geometry import resize
from vultus.images.load import load_picture

__all__ = [
    "GLASSES",
    "SHARED",
    "free_pack",
    "generated",
    "glasses_of",
    "orl",
    "with_long_side",
    "without_gauges",
]

SHARED = Path(os.environ.get("VULTUS_SHARED", Path(__file__).resolve().parents[3] / "shared"))
PEOPLE, EACH = 30, 10

ALL = tuple(range(1, 11))
GLASSES: dict[int, Sequence[int]] = {
    4: (1, 2, 3, 8, 9),
    6: ALL,
    7: (4, 5, 10),
    13: (1, 2, 5, 6, 7, 8, 9, 10),
    14: ALL,
    17: (1, 2, 5, 6, 7, 8, 9, 10),
    19: (1, 2, 3, 6, 10),
    20: ALL,
    27: ALL,
    28: ALL,
}
"""Pictures of ORL with glasses, by person, as seen by eye (79 of 300)."""


def free_pack() -> Pack:
    """The free pack from the team's models."""
    return find_pack("free", folder=SHARED / "models")


def without_gauges(pack: Pack) -> Pack:
    """The pack with detection, landmarks and recognition only."""
    return replace(
        pack, spec=replace(pack.spec, pose=PoseSpec(), quality=QualitySpec(), sources={})
    )


def orl() -> tuple[list[Rgb], list[str]]:
    """300 photographs of 30 people, and who is on each."""
    paths = [
        SHARED / "photos" / "orl" / f"s{person}" / f"{i}.pgm"
        for person in range(1, PEOPLE + 1)
        for i in range(1, EACH + 1)
    ]
    return [load_picture(path).rgb for path in paths], [path.parent.name for path in paths]


def glasses_of() -> npt.NDArray[np.bool_]:
    """Which of `orl`'s pictures show glasses."""
    return np.array(
        [i in GLASSES.get(p, ()) for p in range(1, PEOPLE + 1) for i in range(1, EACH + 1)]
    )


def generated() -> tuple[list[Rgb], npt.NDArray[np.float32]]:
    """45 generated pictures of 512 px with faces of 47-90 px, and their InsightFace vectors."""
    folder = SHARED / "photos" / "gyro_lora_sweep"
    stored = np.load(folder / "insightface_embeddings.npz")
    rgbs = [load_picture(folder / str(name)).rgb for name in stored["names"]]
    return rgbs, np.asarray(stored["embedding"], np.float32)


def with_long_side(rgb: Rgb, side_px: int) -> Rgb:
    """The picture enlarged (cubic) to this longer side."""
    k = side_px / max(rgb.shape[:2])
    return resize(rgb, round(rgb.shape[1] * k), round(rgb.shape[0] * k))
