"""The pictures of the curation benchmark, in two halves: what thresholds were tuned on, and what is reported.

Every second picture of the shared photographs and every second ORL person belongs to the tuning half (half 0), the
rest to the reporting half (half 1); so do stand-in personas of two ranges of numbers. Nothing of half 1 was looked
at while cuts were chosen.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus.images.load import load_picture
from vultus.standin.personas import clean_pictures

__all__ = ["Base", "bases", "negatives", "shared_photos"]

Rgb = npt.NDArray[np.uint8]
STANDIN_PERSONAS = 4
STANDIN_PICTURES = 30


@dataclass(frozen=True, eq=False)
class Base:
    """One photograph: where it comes from, whose it is, its name, its pixels."""

    source: str
    person: str
    name: str
    rgb: Rgb


def shared_photos() -> Path:
    """The team's photographs; VULTUS_SHARED overrides the place beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / ".." / "shared"
    return Path(os.environ.get("VULTUS_SHARED", beside)) / "photos"


def bases(half: int, every: int = 1) -> list[Base]:
    """Photographs to make edited copies of: all of gyro and the single photographs, a part of ORL and stand-in."""
    orl, standin = [*_orl(half)][3 :: 13 * every], [*_standin(half)][3 :: 12 * every]
    return [*[*_gyro(half)][::every], *_single(half), *orl, *standin]


def negatives(half: int) -> dict[str, list[Base]]:
    """Different photographs of the same people, by source."""
    return {"orl": [*_orl(half)], "gyro": [*_gyro(half)], "standin": [*_standin(half)]}


def _gyro(half: int) -> Iterator[Base]:
    for path in sorted((shared_photos() / "gyro_lora_sweep").glob("*.png"))[half::2]:
        yield Base("gyro", "gyro", path.stem, load_picture(path).rgb)


def _single(half: int) -> Iterator[Base]:
    root = shared_photos()
    paths = [*(root / "us_gov_public_domain").iterdir(), *(root / "newton_paintings").iterdir()]
    for path in sorted(paths)[half::2]:
        yield Base("photo", path.stem, path.stem, load_picture(path).rgb)


def _orl(half: int) -> Iterator[Base]:
    for person in range(1 + half, 31, 2):
        for n in range(1, 11):
            path = shared_photos() / "orl" / f"s{person}" / f"{n}.pgm"
            yield Base("orl", f"s{person}", f"s{person}/{n}", load_picture(path).rgb)


def _standin(half: int) -> Iterator[Base]:
    for number in range(STANDIN_PERSONAS):
        index = 100 + 10 * half + number
        for k, (rgb, _) in enumerate(clean_pictures(index, STANDIN_PICTURES)):
            yield Base("standin", f"p{index}", f"p{index}/{k}", rgb)
