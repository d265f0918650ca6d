"""OpenVINO's IR becomes an ONNX graph that answers the same, layer by layer and as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from vultus.core.errors import PackError
from vultus.faces.engines.openvino_ir import onnx_of_ir
from vultus.faces.engines.session import Net

X = np.random.Generator(np.random.PCG64(5)).standard_normal((2, 3, 6, 6)).astype(np.float32)


class Ir:
    """Writes an .xml and its .bin layer by layer."""

    def __init__(self) -> None:
        self.layers: list[str] = []
        self.edges: list[str] = []
        self.store = b""

    def add(
        self, kind: str, size: tuple[int, ...], sources: tuple[int, ...] = (), /, **data: object
    ) -> int:
        key = len(self.layers)
        given = " ".join(f'{name}="{value}"' for name, value in data.items())
        dims = "".join(f"<dim>{n}</dim>" for n in size)
        ports = "".join(f'<port id="{i}"/>' for i in range(len(sources)))
        self.layers.append(
            f'<layer id="{key}" name="l{key}" type="{kind}" version="opset1"><data {given}/>'
            f'<input>{ports}</input><output><port id="9">{dims}</port></output></layer>'
        )
        for port, source in enumerate(sources):
            self.edges.append(
                f'<edge from-layer="{source}" from-port="9" to-layer="{key}" to-port="{port}"/>'
            )
        return key

    def const(self, value: npt.NDArray[np.float32]) -> int:
        half = value.astype(np.float16).tobytes()
        shape = ", ".join(str(n) for n in value.shape)
        where = {
            "element_type": "f16",
            "shape": shape,
            "offset": len(self.store),
            "size": len(half),
        }
        self.store += half
        raw = self.add("Const", value.shape, (), **where)
        return self.add("Convert", value.shape, (raw,), destination_type="f32")

    def save(self, path: Path, *, backwards: bool = False) -> Path:
        layers = self.layers[::-1] if backwards else self.layers
        path.write_text(
            f'<net name="n" version="11"><layers>{"".join(layers)}</layers>'
            f"<edges>{''.join(self.edges)}</edges></net>"
        )
        path.with_suffix(".bin").write_bytes(self.store)
        return path


WINDOW = {"strides": "2, 2", "dilations": "1, 1", "pads_begin": "1, 1", "pads_end": "1, 1"}


def small_ir() -> tuple[Ir, dict[str, npt.NDArray[np.float32]]]:
    rng = np.random.Generator(np.random.PCG64(6))
    values = {
        "w": rng.standard_normal((4, 3, 3, 3)).astype(np.float16).astype(np.float32),
        "b": rng.standard_normal((1, 4, 1, 1)).astype(np.float16).astype(np.float32),
        "g": rng.standard_normal((4, 1, 1, 3, 3)).astype(np.float16).astype(np.float32),
        "s": np.array([0.25], np.float32),
        "m": np.array([0.5, 0.25, -1, 2], np.float32).reshape(1, 4, 1, 1),
    }
    ir = Ir()
    image = ir.add("Parameter", (1, 3, 6, 6), shape="1,3,6,6", element_type="f32")
    conv = ir.add("Convolution", (1, 4, 3, 3), (image, ir.const(values["w"])), **WINDOW)
    added = ir.add("Add", (1, 4, 3, 3), (conv, ir.const(values["b"])))
    leaky = ir.add("PReLU", (1, 4, 3, 3), (added, ir.const(values["s"])))
    grouped = ir.add(
        "GroupConvolution",
        (1, 4, 3, 3),
        (leaky, ir.const(values["g"])),
        **{**WINDOW, "strides": "1, 1"},
    )
    many = ir.add("PReLU", (1, 4, 3, 3), (grouped, ir.const(values["m"].reshape(4))))
    scaled = ir.add("Multiply", (1, 4, 3, 3), (many, ir.const(values["m"])))
    pads = {"pads_begin": "0, 0", "pads_end": "0, 0"}
    pooled = ir.add("AvgPool", (1, 4, 1, 1), (scaled,), kernel="3, 3", strides="3, 3", **pads)
    last = ir.add("Sigmoid", (1, 4, 1, 1), (pooled,))
    ir.add("Result", (1, 4, 1, 1), (last,))
    return ir, values


def by_hand(
    x: npt.NDArray[np.float32], v: dict[str, npt.NDArray[np.float32]]
) -> npt.NDArray[np.float64]:
    """The same layers in numpy."""

    def windows(a: npt.NDArray[np.float64], stride: int) -> npt.NDArray[np.float64]:
        padded = np.pad(a, ((0, 0), (0, 0), (1, 1), (1, 1)))
        view = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        return np.asarray(view[:, :, ::stride, ::stride])

    a = np.einsum("nchwij,ocij->nohw", windows(x.astype(np.float64), 2), v["w"]) + v["b"]
    a = np.where(a > 0, a, 0.25 * a)
    a = np.einsum("nchwij,cij->nchw", windows(a, 1), v["g"].reshape(4, 3, 3))
    a = np.where(a > 0, a, v["m"] * a) * v["m"]
    return np.asarray(1 / (1 + np.exp(-a.mean(axis=(2, 3)))))


@pytest.mark.parametrize("backwards", [False, True])
def test_every_kind_of_layer_answers_as_numpy_does(tmp_path: Path, backwards: bool) -> None:
    ir, values = small_ir()
    path = ir.save(tmp_path / "net.xml", backwards=backwards)
    model = onnx.load_from_string(onnx_of_ir(path))
    onnx.checker.check_model(model, full_check=True)
    kinds = [node.op_type for node in model.graph.node]
    # The bias joined its convolution, the single slope became a LeakyRelu, nothing else is left.
    assert sorted(kinds) == sorted(
        ["Conv", "LeakyRelu", "Conv", "PRelu", "Mul", "AveragePool", "Sigmoid"]
    )
    net = Net(path)
    found = net.run(X)[net.outputs[0]].reshape(2, 4)  # a batch, though the file says one
    assert np.abs(found - by_hand(X, values)).max() < 1e-5


def test_what_cannot_be_translated_is_named(tmp_path: Path) -> None:
    ir, _ = small_ir()
    odd = Ir()
    image = odd.add("Parameter", (1, 3, 6, 6))
    odd.add("Result", (1, 3, 6, 6), (odd.add("Swish", (1, 3, 6, 6), (image,)),))
    with pytest.raises(PackError, match="of kind Swish"):
        onnx_of_ir(odd.save(tmp_path / "odd.xml"))
    path = ir.save(tmp_path / "short.xml")
    path.with_suffix(".bin").write_bytes(b"1234")
    with pytest.raises(PackError, match="cannot be read from the"):
        onnx_of_ir(path)
    path.with_suffix(".bin").unlink()
    with pytest.raises(PackError, match="cannot be read as an OpenVINO model"):
        onnx_of_ir(path)
    (tmp_path / "words.xml").write_text("<net")
    with pytest.raises(PackError, match="cannot be read as an OpenVINO model"):
        onnx_of_ir(tmp_path / "words.xml")
