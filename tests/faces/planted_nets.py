"""Tiny ONNX nets with planted answers, and the pictures that they read.

The planted detector sees five marks of pure colour (red, green, blue, yellow, magenta = the five points in order) as a
1 x 1 convolution and answers with their centres of mass: a real detector whose error is far below a pixel. Its score
is how much mark there is. The planted recogniser averages 7 x 7 cells of the aligned face, so its vector is the face's
own colours: it changes when alignment, colour order or template is wrong.

**Notation**
    frame     float32 (N, 3, 128, 128) RGB 0..1     points    float32 (N, 5, 2) shares     score    float32 (N,)
    face      float32 (N, 3, 56, 56) RGB -1..1      emb       float32 (N, 192)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from vultus.core.seeds import stream
from vultus.faces.packs import DetectorSpec, LimitSpec, Pack, PackSpec, RecogniserSpec, write_pack

__all__ = ["FACE_POINTS", "constant_net", "face_picture", "planted_pack", "save_net"]

Rgb = npt.NDArray[np.uint8]
# Five points of a face of size 1 around its middle, and the same as a template of 56 px.
FACE_POINTS = np.array([[-0.2, -0.2], [0.2, -0.18], [0.02, 0.05], [-0.17, 0.24], [0.16, 0.25]])
TEMPLATE = tuple((float(28 + 40 * x), float(28 + 40 * y)) for x, y in FACE_POINTS)
_MARKS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
# r - g - b - 0.5 and so on: positive for one mark and for nothing else that these pictures hold.
_WEIGHTS = np.array([[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1], [1, -1, 1]], np.float32)
_BIAS = np.array([-0.5, -0.5, -0.5, -1.5, -1.5], np.float32)


def save_net(
    path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], **consts: Any
) -> None:
    """Writes a graph."""
    stored = [numpy_helper.from_array(np.asarray(v), name=k) for k, v in consts.items()]
    graph = helper.make_graph(nodes, "planted", inputs, outputs, initializer=stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _info(name: str, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def detector_net(path: Path) -> None:
    """The planted detector."""
    node = helper.make_node
    cells = (np.arange(128, dtype=np.float32) + 0.5) / 128
    nodes = [
        node("Conv", ["image", "weights", "bias"], ["drive"]),
        node("Relu", ["drive"], ["mask"]),
        node("ReduceSum", ["mask", "hw"], ["mass"], keepdims=0),
        node("Add", ["mass", "tiny"], ["safe"]),
        node("Mul", ["mask", "columns"], ["mx"]),
        node("Mul", ["mask", "rows"], ["my"]),
        node("ReduceSum", ["mx", "hw"], ["sx"], keepdims=0),
        node("ReduceSum", ["my", "hw"], ["sy"], keepdims=0),
        node("Div", ["sx", "safe"], ["x"]),
        node("Div", ["sy", "safe"], ["y"]),
        node("Unsqueeze", ["x", "last"], ["x1"]),
        node("Unsqueeze", ["y", "last"], ["y1"]),
        node("Concat", ["x1", "y1"], ["points"], axis=2),
        node("ReduceMin", ["mass"], ["least"], axes=[1], keepdims=0),
        node("Clip", ["least", "zero", "one"], ["score"]),
    ]
    save_net(
        path,
        nodes,
        [_info("image", "n", 3, 128, 128)],
        [_info("points", "n", 5, 2), _info("score", "n")],
        weights=_WEIGHTS.reshape(5, 3, 1, 1),
        bias=_BIAS,
        hw=np.array([2, 3]),
        last=np.array([2]),
        tiny=np.float32(1e-6),
        zero=np.float32(0),
        one=np.float32(1),
        columns=cells.reshape(1, 1, 1, 128),
        rows=cells.reshape(1, 1, 128, 1),
    )


def recogniser_net(path: Path, cell: int = 7) -> None:
    """The planted recogniser: mean colours of `cell` px squares."""
    node = helper.make_node
    nodes = [
        node("AveragePool", ["face"], ["cells"], kernel_shape=[cell, cell], strides=[cell, cell]),
        node("Flatten", ["cells"], ["emb"], axis=1),
    ]
    n = 3 * (56 // cell) ** 2
    save_net(path, nodes, [_info("face", "n", 3, 56, 56)], [_info("emb", "n", n)])


def constant_net(path: Path, side: int, outputs: list[npt.NDArray[np.float32]]) -> None:
    """A net of one picture whose outputs are given: what a detector says, whatever it sees."""
    node = helper.make_node
    nodes = [
        node("ReduceMean", ["input"], ["mean"], keepdims=0),
        node("Mul", ["mean", "zero"], ["nil"]),
    ]
    consts: dict[str, Any] = {"zero": np.float32(0)}
    for i, value in enumerate(outputs):
        consts[f"value{i}"] = value.astype(np.float32)
        nodes.append(node("Add", [f"value{i}", "nil"], [f"out{i}"]))
    infos = [_info(f"out{i}", *value.shape) for i, value in enumerate(outputs)]
    save_net(path, nodes, [_info("input", 1, 3, side, side)], infos, **consts)


def planted_pack(folder: Path, **limits: float) -> Pack:
    """A pack of the stand-in's kind made of the planted nets, with two recognisers."""
    folder.mkdir(parents=True, exist_ok=True)
    detector_net(folder / "landmarks.onnx")
    recogniser_net(folder / "recogniser_a.onnx")
    recogniser_net(folder / "recogniser_b.onnx", cell=14)
    common = {"size_px": 56, "template_px": TEMPLATE, "origin": "corner", "fill": 128}
    spec = PackSpec(
        name="planted",
        licence="Apache-2.0",
        judge="a",
        detector=DetectorSpec(kind="standin", file="landmarks.onnx", min_score=0.5),
        recognisers={
            "a": RecogniserSpec(file="recogniser_a.onnx", **common),  # type: ignore[arg-type]
            "b": RecogniserSpec(file="recogniser_b.onnx", **common),  # type: ignore[arg-type]
        },
        limits=LimitSpec(**{"min_face_px": 8.0, **limits}),
    )
    return write_pack(folder, spec)


def face_picture(
    who: str,
    size_px: float = 64.0,
    centre: tuple[float, float] = (64.0, 64.0),
    width: int = 128,
    height: int = 128,
    turn: float = 0.0,
) -> tuple[Rgb, npt.NDArray[np.float64]]:
    """A face of muted colours (the identity) with the five marks on it, and where the marks are.

    Drawn eight times larger than needed and averaged, so that positions hold to a hundredth of a pixel.
    """
    k = 8
    rng = stream("tests.faces.planted", who)
    cells = rng.integers(70, 180, (6, 6, 3)).astype(np.uint8)
    # Muted: no channel stands out by more than 0.43, so the marks' filters stay silent.
    skin = cv2.resize(cells, (80 * k, 80 * k), interpolation=cv2.INTER_CUBIC)
    scale = size_px / 80.0
    c, s = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.array([[c, -s], [s, c]])
    shift = np.array(centre) - linear @ np.array([40.0, 40.0])
    affine = np.column_stack([linear, shift * k + 0.5 * linear.sum(axis=1) - 0.5])
    canvas = np.full((height * k, width * k, 3), 128, np.uint8)
    cv2.warpAffine(
        skin, affine, (width * k, height * k), dst=canvas, borderMode=cv2.BORDER_TRANSPARENT
    )
    points = (FACE_POINTS * 80.0 + 40.0) @ linear.T + shift
    radius = max(2, round(0.045 * size_px * k))
    for (x, y), colour in zip(points, _MARKS, strict=True):
        cv2.circle(canvas, (round(x * k - 0.5), round(y * k - 0.5)), radius, colour, -1)
    small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8), points
