"""A pack's recogniser as a torch function, so that a gradient finds its way back to the picture.

ONNX Runtime gives no gradient. Recognisers are plain feed-forward networks of a dozen operations; these are run
here with torch, straight from the pack's own file, so that no second set of weights has to be trusted. Whoever has a
network with other operations registers a function for it (`RECOGNISERS`).

Notation
    face        (b, 3, S, S) float32, RGB, 0..255: aligned to the pack's template
    emb         (b, d) float32, rows of unit length
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional

from vultus.core.errors import PackError
from vultus.core.registry import Registry
from vultus.faces.packs import Pack
from vultus.training.native.onnx_file import Node, OnnxFile, read_onnx

__all__ = ["RECOGNISERS", "Embed", "open_recogniser"]

Embed = Callable[[torch.Tensor], torch.Tensor]
Tensors = Mapping[str, torch.Tensor]

RECOGNISERS: Registry[Callable[[Pack, torch.device], Embed]] = Registry("differentiable recogniser")
"""Own implementations, by the name of the pack or "PACK:RECOGNISER"; all others are run from their ONNX file."""


def _conv(node: Node, x: Any, weight: Any, bias: Any = None) -> torch.Tensor:
    given = node.attributes
    pads = given.get("pads") or [0, 0, 0, 0]
    if given.get("auto_pad", "NOTSET") != "NOTSET":
        raise NotImplementedError("Conv with auto_pad")
    if pads[:2] != pads[2:]:
        x, pads = functional.pad(x, (pads[1], pads[3], pads[0], pads[2])), [0, 0]
    return functional.conv2d(
        x,
        weight,
        bias,
        stride=given.get("strides") or 1,
        padding=pads[:2],
        dilation=given.get("dilations") or 1,
        groups=given.get("group", 1),
    )


def _norm(node: Node, x: Any, scale: Any, shift: Any, mean: Any, variance: Any) -> torch.Tensor:
    eps = node.attributes.get("epsilon", 1e-5)
    return functional.batch_norm(x, mean, variance, scale, shift, False, 0.0, eps)


def _gemm(node: Node, a: Any, b: Any, c: Any = None) -> torch.Tensor:
    given = node.attributes
    a = a.T if given.get("transA", 0) else a
    b = b.T if given.get("transB", 0) else b
    product: torch.Tensor = given.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + given.get("beta", 1.0) * c


def _prelu(node: Node, x: Any, slope: Any) -> torch.Tensor:
    return torch.where(x >= 0, x, x * slope)


def _cast(node: Node, x: Any) -> torch.Tensor:
    # floats of any width are computed in float32 here
    kinds = {1: torch.float32, 10: torch.float32, 11: torch.float32, 6: torch.int32, 7: torch.int64}
    found: torch.Tensor = x.to(kinds[node.attributes["to"]])
    return found


def _pool(node: Node, x: Any) -> torch.Tensor:
    given = node.attributes
    pads = given.get("pads") or [0, 0, 0, 0]
    if pads[:2] != pads[2:] or given.get("ceil_mode", 0):
        raise NotImplementedError(f"{node.op} with uneven pads")
    size, stride = given["kernel_shape"], given.get("strides") or 1
    if node.op == "MaxPool":
        return functional.max_pool2d(x, size, stride, pads[:2])
    inside = bool(given.get("count_include_pad", 0))
    return functional.avg_pool2d(x, size, stride, pads[:2], count_include_pad=inside)


def _reshape(node: Node, x: Any, shape: Any) -> torch.Tensor:
    sizes = [int(n) for n in shape]
    found: torch.Tensor = x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(sizes)])
    return found


_OPS: dict[str, Callable[..., torch.Tensor]] = {
    "Add": lambda node, a, b: a + b,
    "AveragePool": _pool,
    "BatchNormalization": _norm,
    "Cast": _cast,
    "Concat": lambda node, *parts: torch.cat(parts, dim=node.attributes["axis"]),
    "Conv": _conv,
    "Div": lambda node, a, b: a / b,
    "Dropout": lambda node, x, *rest: x,
    "Flatten": lambda node, x: x.flatten(node.attributes.get("axis", 1)),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda node, x: x.mean(dim=(2, 3), keepdim=True),
    "Identity": lambda node, x: x,
    "LeakyRelu": lambda node, x: functional.leaky_relu(x, node.attributes.get("alpha", 0.01)),
    "MatMul": lambda node, a, b: a @ b,
    "MaxPool": _pool,
    "Mul": lambda node, a, b: a * b,
    "PRelu": _prelu,
    "Relu": lambda node, x: x.clamp(min=0),
    "Reshape": _reshape,
    "Sigmoid": lambda node, x: x.sigmoid(),
    "Sub": lambda node, a, b: a - b,
    "Transpose": lambda node, x: x.permute(node.attributes["perm"]),
}


class _Graph:
    """A network run node by node; constants that depend on constants only are computed once."""

    def __init__(self, file: OnnxFile, device: torch.device) -> None:
        self._input, self._output = file.input, file.output
        self._known: dict[str, torch.Tensor] = {}
        for name, numbers in file.constants.items():
            values = torch.from_numpy(numbers.copy()).to(device)
            # int8 and fp16 are how weights are kept, not how they are computed with
            self._known[name] = values.float() if values.is_floating_point() else values
        self._live: list[Node] = []
        for node in file.nodes:
            if node.op == "Constant":
                constant = torch.as_tensor(node.attributes["value"].copy(), device=device)
                floats = constant.is_floating_point()
                self._known[node.outputs[0]] = constant.float() if floats else constant
            elif all(name in self._known for name in node.inputs if name):
                self._known[node.outputs[0]] = self._run(node, self._known)
            else:
                self._live.append(node)

    @staticmethod
    def _run(node: Node, at: Tensors) -> torch.Tensor:
        return _OPS[node.op](node, *(at[name] if name else None for name in node.inputs))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        known = self._known
        if x.dtype != torch.float32:  # for checks of gradients in float64
            known = {k: v.to(x.dtype) if v.is_floating_point() else v for k, v in known.items()}
        at = {**known, self._input: x}
        for node in self._live:
            at[node.outputs[0]] = self._run(node, at)
        return at[self._output]


def open_recogniser(pack: Pack, device: torch.device) -> Embed:
    """The pack's chosen recogniser. Raises PackError that names the operations it has and nobody here can run."""
    for name in (f"{pack.spec.name}:{pack.recogniser_name}", pack.spec.name):
        if name in RECOGNISERS.names():
            return RECOGNISERS.get(name)(pack, device)
    spec = pack.recogniser
    path = pack.file(spec.file)
    if path.suffix != ".onnx":
        raise PackError(
            f"the recogniser of {pack.name} is no ONNX file, and there is no gradient through it",
            where=str(path),
            expected="a pack with an ONNX recogniser, or an entry in RECOGNISERS for this one",
            next_command='set train.identity_recogniser = "standin:b", or identity_weight = 0',
        )
    file = read_onnx(path)
    missing = sorted({node.op for node in file.nodes} - {*_OPS, "Constant"})
    if missing:
        raise PackError(
            f"there is no gradient through the recogniser of {pack.name}: nothing here computes {', '.join(missing)}",
            where=str(path),
            expected=f"a network of {', '.join(_OPS)}, or an entry in RECOGNISERS for this one",
            next_command="choose another train.identity_recogniser, or identity_weight = 0",
        )
    graph = _Graph(file, device)

    def one(face: torch.Tensor) -> torch.Tensor:
        channels = face if spec.channels == "rgb" else face.flip(1)
        found = graph((channels - spec.subtract) / spec.divide).flatten(1)
        return functional.normalize(found, dim=1)

    def embed(face: torch.Tensor) -> torch.Tensor:
        emb = one(face)
        return functional.normalize(emb + one(face.flip(3)), dim=1) if spec.flip else emb

    return embed
