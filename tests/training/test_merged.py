"""A file loaded elsewhere gives the weights that were trained, module by module."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.tiny_base import write_tiny_base
from vultus.core.weights import read_header, read_tensors
from vultus.training.lora_file import write_lora
from vultus.training.native.export import kohya_tensors
from vultus.training.native.lora import Lora, attach_lora
from vultus.training.native.parts import Parts, load_parts
from vultus.training.records import TrainSpec
from vultus.training.targets import tensor_shapes

# whole pipelines are loaded and merged; `make bench-training` does all of SETS
pytestmark = pytest.mark.slow

SPEC = TrainSpec(rank=4, alpha=2.0, resolution_px=64)
CPU = torch.device("cpu")
Weights = dict[str, torch.Tensor]

SETS = {
    "unet": SPEC,
    "unet+te": replace(SPEC, text_encoders=True),
    "conv": replace(SPEC, conv_rank=4),
    "conv, own rank and alpha": replace(SPEC, conv_rank=2, conv_alpha=0.5),
    "everything": replace(SPEC, text_encoders=True, conv_rank=8, conv_alpha=1.0),
    "rslora": replace(SPEC, rslora=True, rank=3),
}
DORA = replace(SPEC, text_encoders=True, conv_rank=2, conv_alpha=0.5, dora=True)


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
        for name, parameter in lora.named_parameters():
            noise = torch.randn(parameter.shape, generator=draw) * 0.3
            length = name.endswith(".dora_scale")
            parameter.copy_(parameter * (1 + noise.abs()) if length else noise.half().float())
    return parts, lora


def _pipe(base: Path) -> Any:
    from diffusers import StableDiffusionXLPipeline

    return StableDiffusionXLPipeline.from_pretrained(
        str(base), local_files_only=True, add_watermarker=False
    )


def _weights(pipe: Any, lora: Lora) -> Weights:
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
    """alpha / rank * B A, written out: a 3x3 pair is a 1x1 after a 3x3 convolution.

    Read from the parameters and the scale that was asked for, not from what was exported.
    """
    down, up = (p.detach().double() for p in lora.pairs[prefix])
    rank, alpha = lora.scales[prefix]
    product = up.flatten(1) @ down.flatten(1)
    return alpha / rank * product.reshape(up.shape[0], *down.shape[1:])


def relative_differences(base: Path, spec: TrainSpec, path: Path) -> dict[str, float]:
    """|merged - trained| / |trained| of every module: a random LoRA, exported, loaded, fused.

    Plain LoRAs go through diffusers' own loader; DoRA through the renderer's.
    """
    from vultus.generation.backends.adapters import Adapters

    _, lora = random_lora(base, spec)
    write_lora(path, kohya_tensors(lora, "fp32"), {})
    pipe = _pipe(base)
    before = _weights(pipe, lora)
    if spec.dora:
        Adapters(pipe, torch.device("cpu")).switch(path, 1.0)
    else:
        pipe.load_lora_weights(str(path))
    return _compare(pipe, lora, before)


def _compare(pipe: Any, lora: Lora, before: Weights) -> dict[str, float]:
    pipe.fuse_lora(components=["unet", "text_encoder", "text_encoder_2"])
    after = _weights(pipe, lora)
    wrong = {}
    for prefix in lora.pairs:
        wanted = before[prefix].double() + _change(lora, prefix)
        if prefix in lora.magnitudes:
            flat = wanted.flatten(1)
            length = lora.magnitudes[prefix].detach().double().flatten()
            wanted = (length[:, None] * flat / flat.norm(dim=1, keepdim=True)).view_as(wanted)
        wrong[prefix] = float((after[prefix] - wanted).norm() / wanted.norm())
        moved = float((after[prefix] - before[prefix]).norm() / wanted.norm())
        assert moved > 1e-2, prefix
    assert len(wrong) >= 48
    return wrong


def _hold(wrong: dict[str, float]) -> None:
    assert max(wrong.values()) < 1e-6, sorted(wrong.items(), key=lambda one: -one[1])[:5]


@pytest.mark.parametrize(
    ("base", "name"),
    [("attending_base", "everything"), ("tiny_base", "unet"), ("tiny_base", "rslora")],
)
def test_diffusers_merges_what_was_trained(
    base: str, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(base)
    _hold(relative_differences(folder, SETS[name], tmp_path / "lora.safetensors"))


def test_the_renderer_merges_dora(tiny_base: Path, tmp_path: Path) -> None:
    """Through kohya's names diffusers drops every magnitude; the renderer's own door does not."""
    _hold(relative_differences(tiny_base, DORA, tmp_path / "dora.safetensors"))


@pytest.fixture(scope="module")
def dora(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lora, Path]:
    """A DoRA on everything, its lengths changed too, saved in fp32."""
    _, lora = random_lora(tiny_base, DORA)
    path = tmp_path_factory.mktemp("dora") / "dora.safetensors"
    write_lora(path, kohya_tensors(lora, "fp32"), {})
    return lora, path


def test_dora_has_the_tables_names_and_shapes(dora: tuple[Lora, Path]) -> None:
    lora, path = dora
    wanted = {}
    for row in lora.modules.values():
        for end, shape in tensor_shapes(row, DORA):
            wanted[f"{row.kohya_prefix}.{end}"] = shape
        wanted[f"{row.kohya_prefix}.alpha"] = ()
    assert {k: v.shape for k, v in read_header(path).tensors.items()} == wanted
    assert len(wanted) == 4 * len(lora.pairs) >= 4 * 79


def test_a_converted_dora_loads_in_diffusers_and_comes_back(
    dora: tuple[Lora, Path], tiny_base: Path, tmp_path: Path
) -> None:
    from vultus.training.lora_tools import convert_lora

    lora, path = dora
    given: dict[str, Any] = {"precision": "fp32", "private": False, "base": tiny_base}
    converted, back = tmp_path / "peft.safetensors", tmp_path / "back.safetensors"
    convert_lora(path, converted, to="diffusers", **given)
    pipe = _pipe(tiny_base)
    before = _weights(pipe, lora)
    pipe.load_lora_weights(str(converted))
    _hold(_compare(pipe, lora, before))
    convert_lora(converted, back, to="kohya", **given)
    one, two = read_tensors(path), read_tensors(back)
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_rslora_divides_by_the_root_of_the_rank(tiny_base: Path) -> None:
    """A file knows only alpha / rank: its alpha says the same."""
    _, lora = random_lora(tiny_base, SETS["rslora"])
    shares = [alpha / rank for rank, alpha in lora.scales.values()]
    assert shares == pytest.approx([2.0 / 3**0.5] * len(shares))
    scalings = [layer.scaling["vultus"] for layer in lora.layers]
    assert scalings == pytest.approx(shares)
