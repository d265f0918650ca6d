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

__all__ = ["face_mask"]

_EDGE = 0.15
"""Width of the soft edge as a share of the face; at least one latent, the smallest thing there is."""


def _along(start: float, end: float, count: int) -> torch.Tensor:
    """(count,): 1 for cells whose middle is in [start, end], falling to 0 outside; in latents."""
    middle = torch.arange(count, dtype=torch.float32) + 0.5
    outside = torch.maximum(start - middle, middle - end).clamp(min=0)
    return (1 - outside / max(1.0, _EDGE * (end - start))).clamp(min=0)


def face_mask(
    faces: Sequence[tuple[int, int, int, int]],
    *,
    left: float,
    top: float,
    scale: float,
    size: tuple[int, int],
    factor_px: int,
) -> torch.Tensor:
    """(1, h, w): the faces that the view of `size` (w, h) latents shows; ones where it shows none.

    A picture without a face in sight is trained as a whole: nothing in it deserves less.
    """
    width, height = size
    mask = torch.zeros(height, width)
    for x0, y0, x1, y1 in faces:
        across = _along((x0 - left) * scale / factor_px, (x1 - left) * scale / factor_px, width)
        down = _along((y0 - top) * scale / factor_px, (y1 - top) * scale / factor_px, height)
        mask = torch.maximum(mask, down[:, None] * across[None, :])
    return mask[None] if bool((mask > 0.5).any()) else torch.ones(1, height, width)
