"""Reading an ONNX file without the onnx package: its nodes and its numbers.

Only what a feed-forward network needs. The format is protobuf (varints and length-prefixed blocks), read here
in forty lines; field numbers are those of onnx.proto3 (ONNX 1.x, IR versions 3 to 10).

Notation
    field       (number, value): an int of a varint, or the bytes of a fixed or length-prefixed field
    wire        the name of a tensor between two nodes
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vultus.core.errors import PackError

__all__ = ["Node", "OnnxFile", "read_onnx"]

Array = npt.NDArray[Any]

_KINDS: dict[int, str] = {
    1: "<f4", 2: "u1", 3: "i1", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"
}  # fmt: skip
"""TensorProto.DataType -> numpy"""


@dataclass(frozen=True)
class Node:
    """One operation: its kind, the wires it reads and writes, its attributes."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class OnnxFile:
    """A graph: nodes in the order they run, constants, and its first input and output."""

    nodes: tuple[Node, ...]
    constants: dict[str, Array]
    input: str
    output: str


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value: Any
            value, at = _varint(data, at)
        else:
            size = 8 if wire == 1 else 4
            if wire == 2:
                size, at = _varint(data, at)
            if wire not in (1, 2, 5) or at + size > len(data):
                raise ValueError("not a protobuf message")
            value, at = data[at : at + size], at + size
        yield number, value


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _ints(value: Any) -> list[int]:
    """One int of a repeated field, or all of them where they are packed."""
    if isinstance(value, int):
        return [_signed(value)]
    found, at = [], 0
    while at < len(value):
        one, at = _varint(value, at)
        found.append(_signed(one))
    return found


def _tensor(data: bytes) -> tuple[str, Array]:
    dims: list[int] = []
    kind, name = 1, ""
    raw = b""
    floats: list[bytes] = []
    ints: list[int] = []
    for number, value in _fields(data):
        if number == 1:
            dims += _ints(value)
        elif number == 2:
            kind = int(value)
        elif number == 4:
            floats.append(value)
        elif number in (5, 7):
            ints += _ints(value)
        elif number == 8:
            name = value.decode()
        elif number == 9:
            raw = value
        elif number == 14 and value == 1:
            raise ValueError("its numbers lie in another file")
    if kind not in _KINDS:
        raise ValueError(f"it holds numbers of kind {kind}")
    if not raw and floats:
        raw = b"".join(floats)
    if not raw and ints:
        return name, np.asarray(ints).astype(_KINDS[kind]).reshape(dims)
    return name, np.frombuffer(raw, dtype=_KINDS[kind]).reshape(dims)


def _attribute(data: bytes) -> tuple[str, Any]:
    name, found = "", None
    floats: list[float] = []
    ints: list[int] = []
    for number, value in _fields(data):
        if number == 1:
            name = value.decode()
        elif number == 2:
            found = struct.unpack("<f", value)[0]
        elif number == 3:
            found = _signed(value)
        elif number == 4:
            found = value.decode("utf-8", "replace")
        elif number == 5:
            found = _tensor(value)[1]
        elif number == 7:
            floats += struct.unpack(f"<{len(value) // 4}f", value)
        elif number == 8:
            ints += _ints(value)
    return name, floats or ints or found


def _node(data: bytes) -> Node:
    inputs: list[str] = []
    outputs: list[str] = []
    op, attributes = "", {}
    for number, value in _fields(data):
        if number == 1:
            inputs.append(value.decode())
        elif number == 2:
            outputs.append(value.decode())
        elif number == 4:
            op = value.decode()
        elif number == 5:
            name, found = _attribute(value)
            attributes[name] = found
    return Node(op, tuple(inputs), tuple(outputs), attributes)


def _name(data: bytes) -> str:
    return next(bytes(value).decode() for number, value in _fields(data) if number == 1)


def _graph(data: bytes) -> OnnxFile:
    nodes: list[Node] = []
    constants: dict[str, Array] = {}
    inputs: list[str] = []
    outputs: list[str] = []
    for number, value in _fields(data):
        if number == 1:
            nodes.append(_node(value))
        elif number == 5:
            name, numbers = _tensor(value)
            constants[name] = numbers
        elif number == 11:
            inputs.append(_name(value))
        elif number == 12:
            outputs.append(_name(value))
    # old files list their constants among the inputs
    real = [name for name in inputs if name not in constants]
    if len(real) != 1 or not outputs:
        raise ValueError(f"it has {len(real)} inputs and {len(outputs)} outputs")
    return OnnxFile(tuple(nodes), constants, real[0], outputs[0])


def read_onnx(path: Path) -> OnnxFile:
    """The graph of a file. Raises PackError when it is none, or keeps its numbers elsewhere."""
    try:
        graph = next(value for number, value in _fields(path.read_bytes()) if number == 7)
        return _graph(graph)
    except (OSError, ValueError, IndexError, StopIteration, struct.error, AttributeError) as fault:
        raise PackError(
            f"cannot be read as a network ({str(fault) or 'no graph in it'})",
            where=str(path),
            expected="a whole ONNX file with one input and its weights inside",
        ) from fault
