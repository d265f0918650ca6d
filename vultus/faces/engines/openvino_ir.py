"""OpenVINO's IR files (.xml + .bin) as an ONNX graph, so that official files run in ONNX Runtime.

Open Model Zoo publishes its networks as IR only. OpenVINO itself would be one more runtime of 150
MB; these feed-forward graphs need eleven kinds of layers, so they are written anew, in memory and
in milliseconds. Three rewrites make the result as fast as OpenVINO's own (`make bench-faces` says
how fast): half-precision weights become single once, a bias joins its convolution, and a PReLU
with one slope becomes a LeakyRelu, which ONNX Runtime computes inside the convolution.

**Notation**
    layer     one element of the .xml: type, attributes, ports   weights lie in the .bin by offset
    wire      the name of a tensor in the new graph              one a layer, `t<layer id>`
    field     one number of a protobuf message                   onnx.proto3, opset 13
The wire format of protobuf (varints and length-prefixed blocks) is written here in twenty lines:
the `onnx` package is a tool for tests, not a part of the product.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from vultus.core.errors import PackError

__all__ = ["onnx_of_ir"]

OPSET: Final = 13
IR_VERSION: Final = 8
_FLOAT, _INTS, _INT = 1, 7, 2  # AttributeProto.type
_KINDS: Final[Mapping[str, type[np.generic]]] = {
    "f16": np.float16,
    "f32": np.float32,
    "i64": np.int64,
}
# Layers that are one node of the same inputs.
_PLAIN: Final[Mapping[str, str]] = {
    "Add": "Add",
    "Multiply": "Mul",
    "Sigmoid": "Sigmoid",
    "ReLU": "Relu",
}
Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Layer:
    """One element of the .xml with the layers that feed it, in the order of its ports."""

    id: str
    kind: str
    name: str
    given: Mapping[str, str]
    shape: tuple[int, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class _Node:
    """A NodeProto and the wires it reads."""

    inputs: tuple[str, ...]
    message: bytes


def onnx_of_ir(path: Path) -> bytes:
    """The ONNX file of `path` (.xml, its .bin beside it), batch left open. PackError says what it
    cannot read."""
    layers, store = _read(path)
    values: dict[str, Array] = {}
    nodes: list[_Node] = []
    graph_in, graph_out = b"", b""
    readers: dict[str, int] = {}
    for layer in layers:
        for source in layer.sources:
            readers[source] = readers.get(source, 0) + 1
        if layer.kind == "Const":
            values[layer.id] = _constant(layer, store, path)
        elif layer.kind == "Convert" and layer.sources[0] in values:
            values[layer.id] = values[layer.sources[0]].astype(np.float32)
    joined = _biases(layers, readers)
    for layer in layers:
        if layer.id in values:
            continue
        if layer.kind == "Parameter":
            graph_in = _value(_wire(layer.id), ("n", *layer.shape[1:]))
        elif layer.kind == "Result":
            graph_out = _value(_wire(layer.sources[0]), ("n", *layer.shape[1:]))
        elif layer.id not in joined:
            nodes.append(_node(layer, values, joined, path))
    used = {_wire(key) for key in values} & {name for node in nodes for name in node.inputs}
    stored = [_tensor(_wire(key), value) for key, value in values.items() if _wire(key) in used]
    graph = b"".join(_block(1, node.message) for node in nodes) + _text(2, path.stem)
    graph += b"".join(_block(5, tensor) for tensor in stored)
    graph += _block(11, graph_in) + _block(12, graph_out)
    return _number(1, IR_VERSION) + _block(7, graph) + _block(8, _number(2, OPSET))


def _read(path: Path) -> tuple[list[_Layer], bytes]:
    try:
        root = ElementTree.parse(path).getroot()
        store = path.with_suffix(".bin").read_bytes()
    except (OSError, ElementTree.ParseError) as fault:
        raise PackError(
            f"cannot be read as an OpenVINO model ({fault})",
            where=str(path),
            expected="an .xml of OpenVINO's IR with its .bin beside it",
        ) from fault
    feeds: dict[str, dict[int, str]] = {}
    for edge in root.iterfind("edges/edge"):
        port = int(edge.attrib["to-port"])
        feeds.setdefault(edge.attrib["to-layer"], {})[port] = edge.attrib["from-layer"]
    layers = []
    for element in root.iterfind("layers/layer"):
        data = element.find("data")
        ports = element.findall("output/port") or element.findall("input/port")
        shape = tuple(int(dim.text or 0) for dim in ports[0].findall("dim")) if ports else ()
        key = element.attrib["id"]
        layers.append(
            _Layer(
                id=key,
                kind=element.attrib["type"],
                name=element.attrib["name"],
                given=dict(data.attrib) if data is not None else {},
                shape=shape,
                sources=tuple(source for _, source in sorted(feeds.get(key, {}).items())),
            )
        )
    return _in_order(layers), store


def _in_order(layers: Sequence[_Layer]) -> list[_Layer]:
    """Sources before readers, as ONNX wants its nodes; the .xml promises no order."""
    by_id = {layer.id: layer for layer in layers}
    done: dict[str, _Layer] = {}
    for layer in layers:
        waiting = [layer]
        while waiting:
            missing = [s for s in waiting[-1].sources if s not in done]
            if not missing:
                ready = waiting.pop()
                done[ready.id] = ready
            else:
                waiting.append(by_id[missing[0]])
    return list(done.values())


def _biases(layers: Sequence[_Layer], readers: Mapping[str, int]) -> dict[str, tuple[str, str]]:
    """Additions that join the convolution before them: layer id -> (convolution, bias)."""
    kinds = {layer.id: layer for layer in layers}
    joined: dict[str, tuple[str, str]] = {}
    for layer in layers:
        if layer.kind != "Add" or len(layer.sources) != 2:
            continue
        before, bias = kinds[layer.sources[0]], kinds[layer.sources[1]]
        per_channel = len(bias.shape) == 4 and bias.shape[0] == bias.shape[2] == bias.shape[3] == 1
        if (
            before.kind in ("Convolution", "GroupConvolution")
            and bias.kind in ("Const", "Convert")
            and per_channel
            and readers[before.id] == 1
        ):
            joined[layer.id] = (before.id, bias.id)
    return joined


def _node(
    layer: _Layer,
    values: dict[str, Array],
    joined: Mapping[str, tuple[str, str]],
    path: Path,
) -> _Node:
    """One node of the new graph. A joined addition gives its name to its convolution's output."""
    inputs = [_wire(source) for source in layer.sources]
    out = _wire(layer.id)
    if layer.kind in _PLAIN:
        return _op(_PLAIN[layer.kind], inputs, out)
    if layer.kind == "PReLU":
        slope = values[layer.sources[1]]
        if slope.size == 1:
            return _op("LeakyRelu", inputs[:1], out, [_attr("alpha", float(slope.reshape(-1)[0]))])
        values[layer.sources[1]] = slope.reshape(-1, 1, 1)
        return _op("PRelu", inputs, out)
    if layer.kind in ("Convolution", "GroupConvolution"):
        weights = values[layer.sources[1]]
        groups = 1
        if (
            layer.kind == "GroupConvolution"
        ):  # (groups, out, in, kh, kw) here, (groups*out, ...) there
            groups = weights.shape[0]
            values[layer.sources[1]] = weights.reshape(-1, *weights.shape[2:])
        after = next((add for add, (conv, _) in joined.items() if conv == layer.id), None)
        if after is not None:
            bias = joined[after][1]
            values[bias] = values[bias].reshape(-1)
            inputs, out = [*inputs, _wire(bias)], _wire(after)
        return _op("Conv", inputs, out, [*_window(layer), _attr("group", groups)])
    if layer.kind == "AvgPool":
        kernel = _attr("kernel_shape", _numbers(layer.given["kernel"]))
        return _op("AveragePool", inputs, out, [kernel, *_window(layer, dilated=False)])
    raise PackError(
        f"layer {layer.name!r} is of kind {layer.kind}, which is not translated",
        where=str(path),
        expected=f"Convolution, GroupConvolution, PReLU, AvgPool, {', '.join(_PLAIN)}",
        next_command="convert the network to ONNX with OpenVINO's tools and name that file",
    )


def _window(layer: _Layer, *, dilated: bool = True) -> list[bytes]:
    given = layer.given
    pads = (*_numbers(given["pads_begin"]), *_numbers(given["pads_end"]))
    found = [_attr("strides", _numbers(given["strides"])), _attr("pads", pads)]
    return [*found, _attr("dilations", _numbers(given["dilations"]))] if dilated else found


def _constant(layer: _Layer, store: bytes, path: Path) -> Array:
    kind = _KINDS.get(layer.given["element_type"])
    start, size = int(layer.given["offset"]), int(layer.given["size"])
    if kind is None or start + size > len(store):
        raise PackError(
            f"constant {layer.name!r} ({layer.given['element_type']}) cannot be read from the .bin",
            where=str(path),
            expected="the .bin that belongs to this .xml",
        )
    flat = np.frombuffer(store, dtype=kind, count=size // np.dtype(kind).itemsize, offset=start)
    shape = _numbers(layer.given.get("shape", "")) if layer.given.get("shape") else ()
    return flat.astype(np.float32).reshape(shape)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.replace(" ", "").split(",") if part)


def _wire(layer_id: str) -> str:
    return f"t{layer_id}"


# The messages of onnx.proto3, as far as they are needed.


def _op(kind: str, inputs: Sequence[str], out: str, attributes: Iterable[bytes] = ()) -> _Node:
    body = b"".join(_text(1, name) for name in inputs) + _text(2, out) + _text(3, out)
    body += _text(4, kind) + b"".join(_block(5, attribute) for attribute in attributes)
    return _Node(tuple(inputs), body)


def _attr(name: str, value: float | int | Sequence[int]) -> bytes:
    if isinstance(value, float):
        return _text(1, name) + b"\x15" + struct.pack("<f", value) + _number(20, _FLOAT)
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, _INT)
    return _text(1, name) + b"".join(_number(8, one) for one in value) + _number(20, _INTS)


def _tensor(name: str, value: Array) -> bytes:
    dims = b"".join(_number(1, n) for n in value.shape)
    return dims + _number(2, 1) + _text(8, name) + _block(9, value.astype("<f4").tobytes())


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(_block(1, _number(1, n) if isinstance(n, int) else _text(2, n)) for n in shape)
    return _text(1, name) + _block(2, _block(1, _number(1, 1) + _block(2, dims)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _block(field, value.encode())


def _block(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
