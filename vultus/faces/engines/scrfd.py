"""SCRFD, the detector of InsightFace's packs, which a user brings (non-commercial weights).

**Notation**
    image     the net's input        float32 (1, 3, S, S) = (RGB - 127.5) / 128, picture top left,
                                     black elsewhere
    cell      (x, y) of an anchor    stride * (column, row); two anchors a cell, strides 8, 16, 32
    scores    9 outputs by stride    (n, 1) probabilities, then (n, 4) distances left, top, right,
                                     bottom of the cell in strides, then (n, 10) offsets of the
                                     five points in strides
Written from the graph's shapes and the public description of the format; `faces` tests decode a
graph of the same shape with planted answers. Real weights could not be had for a test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from vultus.core.errors import PackError
from vultus.faces.engines.detection import drop_overlaps
from vultus.faces.engines.session import Net, Tensor
from vultus.faces.records import Face, Rgb
from vultus.images.geometry import fit_within, resize

__all__ = ["Scrfd", "decode"]

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
        """See `detection.SinglePass`. InsightFace fits every picture to the input, enlarging small
        ones: so here."""
        height, width = rgb.shape[:2]
        k = self._side / max(height, width)
        small, _ = fit_within(rgb, self._side)
        if k > 1:
            small = resize(rgb, max(1, int(width * k)), max(1, int(height * k)))
        canvas = np.zeros((self._side, self._side, 3), dtype=np.uint8)
        canvas[: small.shape[0], : small.shape[1]] = small
        x = (canvas.astype(np.float32) - np.float32(127.5)) / np.float32(128.0)
        outputs = self._net.run(x.transpose(2, 0, 1)[None])
        found = decode([outputs[name] for name in self._net.outputs], self._side, min_score)
        back = np.array([small.shape[1] / width, small.shape[0] / height])
        return [_scaled(face, back) for face in drop_overlaps(found, NMS)]


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


def _cells(n: int, stride: int) -> npt.NDArray[np.float32]:
    """Anchor positions (n * n * ANCHORS, 2) as (x, y), row by row."""
    rows, columns = np.mgrid[:n, :n]
    cells = np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(np.float32) * stride
    return np.repeat(cells, ANCHORS, axis=0)


def _scaled(face: Face, back: npt.NDArray[np.float64]) -> Face:
    x0, y0, x1, y1 = face.box_px
    kx, ky = (float(v) for v in back)
    box = (x0 / kx, y0 / ky, x1 / kx, y1 / ky)
    return Face(box, (face.points_px / back).astype(np.float32), face.score)
