"""Aligned faces with jitter: what recognisers and the oracle learn from.

Notation
    wide    faces aligned by their true points with a margin   uint8 (n, 80, 80, 3); 1 template px = 1 px
    face    a batch at the recogniser's size                    float32 (B, 3, 56, 56), RGB, -1..1
    TEMPLATE_PX  the five points of a frontal average face in the 56 px square; one head unit = 24 px
Jitter models what a detector and a latent space do to a face: shift and turn by a few per cent, blur, small size,
light and colour. No mirror: identities are asymmetric.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate

from vultus.faces.align import align
from vultus.standin.build.data import Shards

__all__ = ["FACE_PX", "TEMPLATE_PX", "WIDE_PX", "aligned", "jittered", "plain"]

FACE_PX: Final = 56
WIDE_PX: Final = 80
_UNIT: Final = 24.0
TEMPLATE_PX: Final = np.array(
    [
        [28 - 0.335 * _UNIT, 27 - 0.08 * _UNIT],
        [28 + 0.335 * _UNIT, 27 - 0.08 * _UNIT],
        [28.0, 27 + 0.32 * _UNIT],
        [28 - 0.245 * _UNIT, 27 + 0.60 * _UNIT],
        [28 + 0.245 * _UNIT, 27 + 0.60 * _UNIT],
    ],
    np.float32,
)
_MARGIN: Final = (WIDE_PX - FACE_PX) / 2


def aligned(world: Shards, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Faces of these pictures on the template, with a margin of 12 px on every side."""
    cv2.setNumThreads(1)
    out = np.empty((len(rows), WIDE_PX, WIDE_PX, 3), np.uint8)
    for j, i in enumerate(rows):
        picture = world.rgb([i])[0]
        out[j] = align(
            picture,
            world.facts["points"][i],
            TEMPLATE_PX + _MARGIN,
            WIDE_PX,
            origin="corner",
            fill=128,
        )
    return out


def plain(wide: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Faces without jitter: float32 (n, 3, 56, 56), -1..1."""
    m = int(_MARGIN)
    cut = torch.from_numpy(wide[:, m : m + FACE_PX, m : m + FACE_PX])
    return cut.permute(0, 3, 1, 2).float().div(127.5).sub(1)


def jittered(
    wide: npt.NDArray[np.uint8], rng: np.random.Generator, *, colour: float = 1.0
) -> torch.Tensor:
    """The same faces as a detector and a camera would deliver them."""
    n = len(wide)
    x = torch.from_numpy(wide).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    turn, grow = rng.normal(0, 0.05, n), np.exp(rng.normal(0, 0.05, n)) * FACE_PX / WIDE_PX
    shift = rng.normal(0, 0.032, (n, 2))
    theta = np.stack(
        [
            np.stack([grow * np.cos(turn), -grow * np.sin(turn), shift[:, 0]], 1),
            np.stack([grow * np.sin(turn), grow * np.cos(turn), shift[:, 1]], 1),
        ],
        1,
    ).astype(np.float32)
    grid = affine_grid(torch.from_numpy(theta), [n, 3, FACE_PX, FACE_PX], align_corners=False)
    y = grid_sample(x, grid, align_corners=False, padding_mode="border")
    y = _degraded(y, rng)
    gain = torch.from_numpy(np.exp(rng.normal(0, 0.10 * colour, (n, 3, 1, 1))).astype(np.float32))
    bright = torch.from_numpy(rng.normal(0, 0.10, (n, 1, 1, 1)).astype(np.float32))
    y = (y + 1) * gain - 1 + bright
    grey = y.mean(1, keepdim=True)
    keep = torch.from_numpy(
        np.where(
            rng.random((n, 1, 1, 1)) < 0.15 * colour,
            rng.random((n, 1, 1, 1)),
            rng.uniform(0.7, 1.2, (n, 1, 1, 1)),
        ).astype(np.float32)
    )
    y = grey + keep * (y - grey)
    return (y + 0.03 * torch.randn_like(y)).clamp(-1, 1)


def _degraded(y: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Half of the faces lose detail: seen small and enlarged, or blurred."""
    n = len(y)
    kind = rng.random(n)
    for low, high, side in ((0.0, 0.15, 20), (0.15, 0.35, 28), (0.35, 0.45, 36)):
        mask = torch.from_numpy((kind >= low) & (kind < high))
        if bool(mask.any()):
            small = interpolate(y[mask], size=(side, side), mode="area")
            y[mask] = interpolate(
                small, size=(FACE_PX, FACE_PX), mode="bilinear", align_corners=False
            )
    mask = torch.from_numpy((kind >= 0.45) & (kind < 0.55))
    if bool(mask.any()):
        y[mask] = avg_pool2d(y[mask], 3, 1, 1, count_include_pad=False)
    return y
