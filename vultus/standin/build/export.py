"""From training checkpoints to what ships: ONNX nets of the face pack and oracle, diffusers folders of the bases.

Notation
    initialiser   a weight inside an ONNX file: int8 steps and a float32 scale a row, float32 when a session opens
The three bases share all but the UNet (5.9 MB in float16): the styled folders link to the plain one's parts, and keep
their largest weights, all far from the picture, as 8-bit floats (4.5 MB). The predicted noise moves by 5e-5 of its
variance or less; all weights in 8 bits would move it by 2e-3.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from diffusers import AutoencoderTiny, DDIMScheduler
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file, save_file
from torch import nn

from vultus.core.files import staged, write_bytes, write_text
from vultus.faces import packs
from vultus.standin.build.base import Base
from vultus.standin.build.faces import FACE_PX, TEMPLATE_PX
from vultus.standin.build.loop import rearranged

__all__ = ["export_base", "export_net", "write_pack"]

_OPSET: Final = 17
_SMALL: Final = 2048
_LARGE: Final = 70_000


class _Points(nn.Module):
    """The detector with its logit turned into a probability."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        points, score = self.net(image)
        return points, torch.sigmoid(score)


def _packed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store big float32 weights as int8 with a scale per row, behind Cast and Mul.

    Cast and Mul, and not DequantizeLinear: ONNX Runtime folds the former when a session opens and
    runs the latter on every call.
    """
    graph = model.graph
    nodes = []
    for tensor in list(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or int(np.prod(tensor.dims)) < _SMALL:
            continue
        name, weights = tensor.name, numpy_helper.to_array(tensor)
        rows = np.abs(weights).reshape(len(weights), -1).max(1)
        scale = np.maximum(rows, 1e-12).reshape(-1, *[1] * (weights.ndim - 1)) / 127
        steps = np.round(weights / scale).astype(np.int8)
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(steps, name + "_steps"))
        graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), name + "_scale"))
        nodes += [
            helper.make_node("Cast", [name + "_steps"], [name + "_cast"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [name + "_cast", name + "_scale"], [name]),
        ]
    for node in reversed(nodes):
        graph.node.insert(0, node)
    onnx.checker.check_model(model)
    return model


def export_net(
    net: nn.Module,
    path: Path,
    *,
    side_px: int,
    inputs: str,
    outputs: list[str],
    points: bool = False,
) -> None:
    """Write one net as ONNX with a free batch size."""
    net = rearranged((_Points(net) if points else net).eval().float(), torch.contiguous_format)
    beside = path.with_suffix(".raw.onnx")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        net,
        (torch.rand(2, 3, side_px, side_px),),
        str(beside),
        input_names=[inputs],
        output_names=outputs,
        dynamic_axes={name: {0: "batch"} for name in [inputs, *outputs]},
        opset_version=_OPSET,
        dynamo=False,
    )
    write_bytes(path, _packed(onnx.load(str(beside))).SerializeToString())
    beside.unlink()


def write_pack(folder: Path) -> None:
    """Write pack.toml beside the exported nets: judge `a`, second opinion `b`."""
    template = tuple((float(x), float(y)) for x, y in np.round(TEMPLATE_PX.astype(np.float64), 3))
    recognisers = {
        which: packs.RecogniserSpec(
            file=f"recogniser_{which}.onnx",
            size_px=FACE_PX,
            template_px=template,
            origin="corner",
            fill=128,
        )
        for which in ("a", "b")
    }
    spec = packs.PackSpec(
        name="standin",
        licence="Apache-2.0",
        judge="a",
        source="vultus.standin.build",
        terms="Trained on rendered people only: it knows nothing of real faces.",
        detector=packs.DetectorSpec(kind="standin", file="landmarks.onnx", min_score=0.5),
        recognisers=recognisers,
        limits=packs.LimitSpec(min_face_px=16.0, max_spread=0.08),
    )
    packs.write_pack(folder, spec)


def _narrowed(path: Path) -> None:
    """Store the large tensors of a safetensors file as float8_e4m3fn."""
    tensors = {
        name: value.to(torch.float8_e4m3fn) if value.numel() >= _LARGE else value
        for name, value in load_file(path).items()
    }
    with staged(path) as beside:
        save_file(tensors, beside, metadata={"format": "pt"})


def export_base(
    model: Base, vae: AutoencoderTiny, tokenizer: Path, folder: Path, *, like: Path | None = None
) -> None:
    """Write a base as a diffusers folder in float16, as SDXL checkpoints are shared.

    `like` is a base beside it with the same encoders and VAE: all but the UNet are links into it.
    """
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    parts: dict[str, Any] = {"unet": model.unet}
    if like is None:
        parts |= {
            "text_encoder": model.text_encoder,
            "text_encoder_2": model.text_encoder_2,
            "vae": vae,
        }
        for name in ("tokenizer", "tokenizer_2"):
            shutil.copytree(tokenizer, folder / name)
    else:
        for name in ("text_encoder", "text_encoder_2", "vae", "tokenizer", "tokenizer_2"):
            (folder / name).symlink_to(Path("..") / like.name / name)
    for name, part in parts.items():
        copy = part.to(memory_format=torch.contiguous_format).half()
        copy.save_pretrained(folder / name, safe_serialization=True)
        part.float()
    if like is not None:
        _narrowed(folder / "unet" / "diffusion_pytorch_model.safetensors")
    DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "_diffusers_version": "0.42.1",
        "force_zeros_for_empty_prompt": True,
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderTiny"],
    }
    write_text(folder / "model_index.json", json.dumps(index, indent=2) + "\n")
