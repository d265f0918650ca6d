"""The stand-in's oracle asked about renders: how far a face is from a persona's true geometry."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import onnxruntime

from bench.standin.generated import WEIGHTS
from vultus.faces.align import align
from vultus.faces.records import FaceEngine, Rgb
from vultus.standin.build.faces import FACE_PX, TEMPLATE_PX
from vultus.standin.identity import COLOURED
from vultus.standin.personas import persona

__all__ = ["distances"]


@lru_cache(maxsize=1)
def _session() -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = WEIGHTS / "oracle" / "oracle.onnx"
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def distances(engine: FaceEngine, rgbs: list[Rgb], who: int) -> list[float | None]:
    """Mean distance of each render's face to the persona's geometry in z units; None without a face."""
    truth = persona(who).z[~COLOURED]
    found: list[float | None] = []
    for rgb, read in zip(rgbs, engine.read_many(rgbs), strict=True):
        if read.face is None:
            found.append(None)
            continue
        points = read.face.points_px
        face = align(rgb, points, TEMPLATE_PX, FACE_PX, origin="corner", fill=128)
        x = face.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1
        (z,) = _session().run(["z"], {"face": x})
        found.append(float(np.abs(z[0][~COLOURED] - truth).mean()))
    return found
