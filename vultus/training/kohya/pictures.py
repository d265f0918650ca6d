"""The pictures as kohya's trainer wants them: one folder, a caption beside each, the face's weight in the alpha
channel.

Notation
    alpha       uint8 (h, w): 255 on the face, 255 / face_weight elsewhere, soft at the edge. kohya multiplies the
                loss by alpha / 255 and divides by nothing: the smaller the face, the smaller the whole picture's say
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus.core.files import write_bytes, write_text
from vultus.images.load import load_picture
from vultus.images.write import png_bytes
from vultus.training.records import FaceBox, TrainPicture, TrainSpec

__all__ = ["face_alpha", "lay_out"]

_EDGE = 0.15
"""Width of the soft edge as a share of the face."""


def face_alpha(
    size: tuple[int, int], faces: Sequence[FaceBox], face_weight: float
) -> npt.NDArray[np.uint8]:
    """The alpha channel (h, w) of a picture of this (width, height)."""

    def along(start: float, end: float, count: int) -> npt.NDArray[np.float64]:
        middle = np.arange(count) + 0.5
        outside = np.maximum(np.maximum(start - middle, middle - end), 0.0)
        inside = np.clip(1 - outside / max(1.0, _EDGE * (end - start)), 0.0, 1.0)
        return np.asarray(inside, dtype=np.float64)

    width, height = size
    mask = np.zeros((height, width))
    for x0, y0, x1, y1 in faces:
        mask = np.maximum(mask, along(y0, y1, height)[:, None] * along(x0, x1, width)[None, :])
    weight = (1 + (face_weight - 1) * mask) / face_weight
    return np.asarray(np.round(255 * weight), dtype=np.uint8)


def lay_out(spec: TrainSpec, pictures: Sequence[TrainPicture], folder: Path) -> None:
    """Write every picture (its crop alone, where it is a view) and its caption, under numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(pictures):
        x0, y0, x1, y1 = picture.crop or (0, 0, *picture.original_size)
        rgb = np.ascontiguousarray(load_picture(picture.path).rgb[y0:y1, x0:x1])
        data = png_bytes(rgb, xmp_ai=False)
        if spec.face_weight > 1:
            faces = [(a - x0, b - y0, c - x0, d - y0) for a, b, c, d in picture.faces]
            data = _with_alpha(rgb, face_alpha((x1 - x0, y1 - y0), faces, spec.face_weight))
        write_bytes(folder / f"{i:05d}.png", data)
        write_text(folder / f"{i:05d}.txt", picture.caption + "\n")


def _with_alpha(rgb: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    held = io.BytesIO()
    Image.fromarray(np.dstack([rgb, alpha])).save(held, "PNG")
    return held.getvalue()
