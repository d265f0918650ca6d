"""SCRFD, the detector of InsightFace's packs, which a user brings (non-commercial weights).

**Notation**
    image     the net's input        float32 (1, 3, S, S) = (RGB - 127.5) / 128, picture top left,
                                     black elsewhere
    cell      (x, y) of an anchor    stride * (column, row); two anchors a cell, strides 8, 16, 32
    scores    9 outputs by stride    (n, 1) probabilities, then (n, 4) distances left, top, right,
                                     bottom of the cell in strides, then (n, 10) offsets of the
                                     five points in strides
The weights could not be had, so equality is held against the `insightface` package (2.1) on graphs
of SCRFD's shape with random weights: `tests/faces/test_scrfd.py` has its recorded answers,
`bench/faces/insightface_golden.py` records them. Resizing (bilinear, enlarging small pictures),
rounding and the suppression of overlaps are therefore InsightFace's, not this room's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from vultus.core.errors import PackError
from vultus.faces.engines.session import Net, Tensor
from vultus.faces.records import Face, Rgb

__all__ = ["Scrfd", "decode", "suppress"]

STRIDES: Final = (8, 16, 32)
ANCHORS: Final = 2
INPUT_PX: Final = 640
NMS: Final = 0.4


class Scrfd:
    """A `SinglePass` over a nine-output SCRFD graph."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        self._net = Net(path, threads=threads)
        if len(self._net.outputs) != 3 * len(STRIDES):
            raise PackError(
                f"the detector has {len(self._net.outputs)} outputs",
                where=str(path),
                expected="nine: scores, boxes and points at strides 8, 16 and 32 (a `kps` model)",
            )
        side = self._net.input_shape[-1]
        self._side = side if side is not None else INPUT_PX

    def detect(self, rgb: Rgb, min_score: float) -> list[Face]:
        """See `detection.SinglePass`. Every picture is fitted to the input, small ones enlarged."""
        height, width = rgb.shape[:2]
        if height > width:
            new_height, new_width = self._side, int(self._side / (height / width))
        else:
            new_width, new_height = self._side, int(self._side * (height / width))
        new_width, new_height = max(1, new_width), max(1, new_height)
        canvas = np.zeros((self._side, self._side, 3), dtype=np.uint8)
        canvas[:new_height, :new_width] = cv2.resize(rgb, (new_width, new_height))
        x = (canvas.astype(np.float32) - np.float32(127.5)) * np.float32(1 / 128.0)
        outputs = self._net.run(x.transpose(2, 0, 1)[None])
        found = decode([outputs[name] for name in self._net.outputs], self._side, min_score)
        scale = new_height / height
        return [_scaled(face, scale) for face in suppress(found, NMS, scale)]


def decode(outputs: list[Tensor], side_px: int, min_score: float) -> list[Face]:
    """All anchors at or above the score, in pixels of the input; overlaps are still in."""
    found: list[Face] = []
    n = len(STRIDES)
    for level, stride in enumerate(STRIDES):
        scores = outputs[level].reshape(-1)
        boxes = outputs[level + n].reshape(-1, 4) * stride
        points = outputs[level + 2 * n].reshape(-1, 5, 2) * stride
        cells = _cells(side_px // stride, stride)
        if not len(scores) == len(boxes) == len(points) == len(cells):
            raise PackError(
                f"the detector has {len(scores)} anchors at stride {stride}, not {len(cells)}",
                expected="an SCRFD graph with two anchors a cell",
            )
        for i in np.flatnonzero(scores >= min_score):
            x, y = (float(v) for v in cells[i])
            left, top, right, bottom = (float(v) for v in boxes[i])
            five = (points[i] + cells[i]).astype(np.float32)
            found.append(Face((x - left, y - top, x + right, y + bottom), five, float(scores[i])))
    return found


def suppress(faces: Sequence[Face], share: float, scale: float = 1.0) -> list[Face]:
    """Best score first; a box whose intersection over union with a kept one exceeds `share` goes.

    Sides count one pixel of the *picture* more than their difference, as InsightFace counts them;
    `scale` is how much the picture was enlarged.
    """
    one = scale
    kept: list[Face] = []
    for face in sorted(faces, key=lambda f: -f.score):
        if all(_overlap(face, other, one) <= share for other in kept):
            kept.append(face)
    return kept


def _overlap(a: Face, b: Face, one: float) -> float:
    def area(face: Face) -> float:
        x0, y0, x1, y1 = face.box_px
        return (x1 - x0 + one) * (y1 - y0 + one)

    width = min(a.box_px[2], b.box_px[2]) - max(a.box_px[0], b.box_px[0]) + one
    height = min(a.box_px[3], b.box_px[3]) - max(a.box_px[1], b.box_px[1]) + one
    both = max(0.0, width) * max(0.0, height)
    return both / (area(a) + area(b) - both)


def _cells(n: int, stride: int) -> npt.NDArray[np.float32]:
    """Anchor positions (n * n * ANCHORS, 2) as (x, y), row by row."""
    rows, columns = np.mgrid[:n, :n]
    cells = np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(np.float32) * stride
    return np.repeat(cells, ANCHORS, axis=0)


def _scaled(face: Face, scale: float) -> Face:
    x0, y0, x1, y1 = (v / scale for v in face.box_px)
    return Face((x0, y0, x1, y1), (face.points_px / scale).astype(np.float32), face.score)
