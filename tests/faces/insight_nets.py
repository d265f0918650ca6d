"""Networks of InsightFace's shapes with random weights, and pictures to show them.

Weights of SCRFD and ArcFace may not be had for a test. What can be held against the `insightface`
package is everything around them: fitting, decoding, suppression, alignment, normalisation. Both
programs run these graphs; `golden/insightface.json` has what the package answered
(`bench/faces/insightface_golden.py` recorded it).

**Notation**
    detector      float32 (1, 3, H, W) -> nine outputs by stride, as a `bnkps` SCRFD has them
    recogniser    float32 (n, 3, 112, 112) -> (n, 512)
Everything is drawn from numpy's PCG64 by number, so that both programs build equal files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["PICTURE_SIZES", "pictures", "save_detector", "save_recogniser"]

PICTURE_SIZES: Final = ((640, 640), (500, 333), (333, 500), (1280, 720), (96, 128), (701, 640))
_STRIDES: Final = (8, 16, 32)


def pictures() -> list[npt.NDArray[np.uint8]]:
    """Soft coloured noise, RGB, one for each of PICTURE_SIZES (width, height)."""
    drawn = []
    for i, (width, height) in enumerate(PICTURE_SIZES):
        rng = np.random.Generator(np.random.PCG64(100 + i))
        small = rng.integers(0, 256, (12, 12, 3)).astype(np.uint8)
        grown = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
        drawn.append(np.asarray(grown, dtype=np.uint8))
    return drawn


class _Graph:
    """Nodes and weights of one graph; `conv` draws its weights from the graph's own generator."""

    def __init__(self, number: int) -> None:
        self.rng = np.random.Generator(np.random.PCG64(number))
        self.nodes: list[Any] = []
        self.stored: list[Any] = []

    def const(self, name: str, value: Any, kind: type = np.float32) -> str:
        self.stored.append(numpy_helper.from_array(np.asarray(value, dtype=kind), name=name))
        return name

    def add(self, kind: str, inputs: list[str], out: str, **given: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [out], **given))
        return out

    def conv(
        self, source: str, name: str, ins: int, outs: int, *, stride: int = 1, spread: float = 1.0
    ) -> str:
        weights = self.rng.standard_normal((outs, ins, 3, 3)) * spread / np.sqrt(9 * ins)
        inputs = [source, self.const(f"{name}_w", weights)]
        return self.add("Conv", inputs, name, strides=[stride, stride], pads=[1, 1, 1, 1])

    def save(self, path: Path, inputs: list[Any], outputs: list[Any]) -> None:
        graph = helper.make_graph(self.nodes, "random", inputs, outputs, initializer=self.stored)
        opset = [helper.make_opsetid("", 13)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=8)
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString())


def _info(name: str, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def save_detector(path: Path) -> None:
    """An SCRFD-shaped graph: three strides, two anchors a cell, scores, boxes and five points."""
    g = _Graph(1)
    wire, channels = "input.1", 3
    levels = {}
    for i, outs in enumerate((8, 8, 12, 12, 12)):
        wire = g.add("Relu", [g.conv(wire, f"c{i}", channels, outs, stride=2, spread=1.8)], f"r{i}")
        channels = outs
        if i >= 2:
            levels[_STRIDES[i - 2]] = wire
    scores: list[str] = []
    boxes: list[str] = []
    points: list[str] = []
    for stride, source in levels.items():
        for group, width, names in ((1, 1, scores), (4, 4, boxes), (10, 10, points)):
            name = f"s{stride}_{group}"
            head = g.conv(source, f"{name}_conv", 12, 2 * width, spread=2.5)
            turned = g.add("Transpose", [head], f"{name}_t", perm=[0, 2, 3, 1])
            shape = g.const(f"{name}_shape", [-1, width], np.int64)
            flat = g.add("Reshape", [turned, shape], f"{name}_flat")
            if group == 1:
                lower = g.add("Sub", [flat, g.const(f"{name}_bias", 1.2)], f"{name}_low")
                names.append(g.add("Sigmoid", [lower], f"{name}_out"))
            elif group == 4:
                wide = g.add("Abs", [flat], f"{name}_abs")
                names.append(g.add("Add", [wide, g.const(f"{name}_one", 1.0)], f"{name}_out"))
            else:
                names.append(flat)
    outputs = [_info(n, "n", w) for ns, w in ((scores, 1), (boxes, 4), (points, 10)) for n in ns]
    g.save(path, [_info("input.1", 1, 3, "h", "w")], outputs)


def save_recogniser(path: Path) -> None:
    """An ArcFace-shaped graph: 112 px in, 512 numbers out."""
    g = _Graph(2)
    wire, channels = "input.1", 3
    for i, outs in enumerate((8, 16, 32, 32)):
        wire = g.add("Relu", [g.conv(wire, f"c{i}", channels, outs, stride=2, spread=1.5)], f"r{i}")
        channels = outs
    flat = g.add("Flatten", [wire], "flat", axis=1)
    weights = g.const("w", g.rng.standard_normal((32 * 49, 512)) / 40)
    g.add("MatMul", [flat, weights], "683")
    g.save(path, [_info("input.1", "n", 3, 112, 112)], [_info("683", "n", 512)])
