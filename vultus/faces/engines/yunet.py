"""YuNet, OpenCV's small face detector: one look at one picture.

OpenCV's class pads to a multiple of 32 and decodes; it wants BGR and the exact size before each
call. OpenCV's own thread pool is switched off for the process: pictures are read side by side
instead (`reader`), and one process per core is how runs are spread.

**Notation**
    row     one detection     float32 (15,): x, y, w, h, five (x, y) in our order, score
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from vultus.core.errors import PackError
from vultus.faces.records import Face, Rgb

__all__ = ["YuNet"]

_NMS: Final = 0.3
_TOP_K: Final = 5000


class YuNet:
    """A `SinglePass` over `cv2.FaceDetectorYN`."""

    def __init__(self, path: Path) -> None:
        # OpenCV 5 warns at every size change that its graph engine ignores targets: harmless.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        cv2.setNumThreads(1)
        try:
            self._net: Any = cv2.FaceDetectorYN.create(str(path), "", (320, 320), 0.6, _NMS, _TOP_K)
        except cv2.error as fault:
            words = " ".join(str(fault).split())[:160]
            raise PackError(
                f"OpenCV cannot open it ({words})", where=str(path), expected="a YuNet ONNX file"
            ) from fault

    def detect(self, rgb: Rgb, min_score: float) -> list[Face]:
        """See `detection.SinglePass`."""
        height, width = rgb.shape[:2]
        self._net.setInputSize((width, height))
        self._net.setScoreThreshold(min_score)
        _, rows = self._net.detect(np.ascontiguousarray(rgb[:, :, ::-1]))
        return [] if rows is None else [_face(row) for row in np.asarray(rows, dtype=np.float32)]


def _face(row: np.ndarray[Any, np.dtype[np.float32]]) -> Face:
    x, y, w, h = (float(v) for v in row[:4])
    return Face((x, y, x + w, y + h), row[4:14].reshape(5, 2).copy(), float(row[14]))
