"""Where the face is in a picture's latents, from boxes in the picture's own pixels.

Notation
    box         (x0, y0, x1, y1) px of the upright picture
    left, top   where the trained view begins in that picture, px (not whole)
    scale       trained px per picture px
    mask        (1, h, w) float32: 1 on the face, falling to 0 around it over a soft edge
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vultus.training.records import FaceBox

__all__ = ["face_mask", "faces_in_view"]

_EDGE = 0.15
"""Width of the soft edge as a share of the face; at least one latent, the smallest thing there is."""


def _along(start: float, end: float, count: int) -> torch.Tensor:
    """(count,): 1 for cells whose middle is in [start, end], falling to 0 outside; in latents."""
    middle = torch.arange(count, dtype=torch.float32) + 0.5
    outside = torch.maximum(start - middle, middle - end).clamp(min=0)
    return (1 - outside / max(1.0, _EDGE * (end - start))).clamp(min=0)


def faces_in_view(
    faces: Sequence[FaceBox], frame: tuple[float, float, float], size: tuple[int, int]
) -> bool:
    """Whether a view of `size` (w, h) px at `frame` (left, top, scale) shows the middle of a face."""
    left, top, scale = frame
    return any(
        0 <= ((x0 + x1) / 2 - left) * scale < size[0]
        and 0 <= ((y0 + y1) / 2 - top) * scale < size[1]
        for x0, y0, x1, y1 in faces
    )


def face_mask(
    faces: Sequence[FaceBox],
    *,
    left: float,
    top: float,
    scale: float,
    size: tuple[int, int],
    factor_px: int,
) -> torch.Tensor:
    """(1, h, w): the faces that the view of `size` (w, h) latents shows; ones where none is known.

    Losses that look at faces refuse a picture without one before they get here (`checks`).
    """
    if not faces:
        return torch.ones(1, size[1], size[0])
    width, height = size
    mask = torch.zeros(height, width)
    for x0, y0, x1, y1 in faces:
        across = _along((x0 - left) * scale / factor_px, (x1 - left) * scale / factor_px, width)
        down = _along((y0 - top) * scale / factor_px, (y1 - top) * scale / factor_px, height)
        mask = torch.maximum(mask, down[:, None] * across[None, :])
    return mask[None]
