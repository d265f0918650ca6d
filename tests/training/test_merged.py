"""A file loaded elsewhere gives the weights that were trained, module by module."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.tiny_base import write_tiny_base
from vultus.training.lora_file import write_lora
from vultus.training.native.export import kohya_tensors
from vultus.training.native.lora import Lora, attach_lora
from vultus.training.native.parts import Parts, load_parts
from vultus.training.records import TrainSpec

SPEC = TrainSpec(rank=4, alpha=2.0, resolution_px=64)
CPU = torch.device("cpu")

SETS = {
    "unet": SPEC,
    "unet+te": replace(SPEC, text_encoders=True),
    "conv": replace(SPEC, conv_rank=4),
    "conv, own rank and alpha": replace(SPEC, conv_rank=2, conv_alpha=0.5),
    "everything": replace(SPEC, text_encoders=True, conv_rank=8, conv_alpha=1.0),
}


@pytest.fixture(scope="module")
def attending_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Attention at every level, as in the stand-in's bases; SDXL has none at its first."""
    return write_tiny_base(
        tmp_path_factory.mktemp("bases") / "attending",
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        layers_per_block=2,
    )


def random_lora(base: Path, spec: TrainSpec) -> tuple[Parts, Lora]:
    """A LoRA with numbers that float16 holds exactly, so that the file loses nothing."""
    parts = load_parts(base, torch.float32, CPU)
    lora = attach_lora(parts, spec, seed=1)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, parameter in lora.named_parameters():
            parameter.copy_((torch.randn(parameter.shape, generator=draw) * 0.3).half().float())
    return parts, lora


def _pipe(base: Path) -> Any:
    from diffusers import StableDiffusionXLPipeline

    return StableDiffusionXLPipeline.from_pretrained(
        str(base), local_files_only=True, add_watermarker=False
    )


def _weights(pipe: Any, lora: Lora) -> dict[str, torch.Tensor]:
    found = {}
    for prefix, row in lora.modules.items():
        component = getattr(pipe, row.component)
        name = row.module
        if row.component == "text_encoder" and not hasattr(component, "text_model"):
            name = name.removeprefix("text_model.")
        layer = component.get_submodule(name)
        found[prefix] = getattr(layer, "base_layer", layer).weight.detach().clone()
    return found


def _change(lora: Lora, prefix: str) -> torch.Tensor:
    """alpha / rank * B A, written out: a 3x3 pair is a 1x1 after a 3x3 convolution."""
    down, up = (p.detach().double() for p in lora.pairs[prefix])
    rank, alpha = lora.scales[prefix]
    product = up.flatten(1) @ down.flatten(1)
    return alpha / rank * product.reshape(up.shape[0], *down.shape[1:])


@pytest.mark.parametrize(
    ("base", "name"), [("attending_base", "everything"), *(("tiny_base", name) for name in SETS)]
)
def test_diffusers_merges_what_was_trained(
    base: str, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(base)
    _, lora = random_lora(folder, SETS[name])
    path = tmp_path / "lora.safetensors"
    write_lora(path, kohya_tensors(lora), {})
    pipe = _pipe(folder)
    before = _weights(pipe, lora)
    pipe.load_lora_weights(str(path))
    pipe.fuse_lora(components=["unet", "text_encoder", "text_encoder_2"])
    after = _weights(pipe, lora)
    wrong = {}
    for prefix in lora.pairs:
        wanted = before[prefix].double() + _change(lora, prefix)
        wrong[prefix] = float((after[prefix] - wanted).norm() / wanted.norm())
        moved = float((after[prefix] - before[prefix]).norm() / wanted.norm())
        assert moved > 1e-2, prefix
    assert len(wrong) >= 48
    assert max(wrong.values()) < 1e-6, sorted(wrong.items(), key=lambda one: -one[1])[:5]
