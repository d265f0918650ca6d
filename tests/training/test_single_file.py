"""A single-file checkpoint in the original layout loads to the same numbers as the folder.

The loader writes SDXL's configuration from constants; here a tiny one stands in for it, so that the
file of the field's own layout is read on every run and not only by `make check-models`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.models.sgm_layout import to_sgm
from vultus.core.errors import WeightsError
from vultus.generation.backends import pipeline
from vultus.generation.backends.diffusers_backend import open_renderer
from vultus.generation.records import RenderRequest, RenderSpec
from vultus.training.native import parts as parts_module
from vultus.training.native import recipe
from vultus.training.native.parts import load_parts
from vultus.training.records import TrainPicture, TrainSpec

CPU = torch.device("cpu")
PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")


@pytest.fixture(scope="module")
def single_file(kl_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = load_parts(kl_base, torch.float32, CPU)
    states: dict[str, Any] = {name: getattr(folder, name).state_dict() for name in PARTS}
    tensors = to_sgm(**states, layers_per_block=1)
    path = tmp_path_factory.mktemp("single") / "tiny.safetensors"
    save_file({name: t.contiguous() for name, t in tensors.items()}, path)
    return path


@pytest.fixture
def tiny_config(kl_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loaders write the tiny base's configuration where they would write SDXL's."""

    def write(folder: Path) -> None:
        shutil.copytree(
            kl_base, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors")
        )

    monkeypatch.setattr(parts_module, "write_config_folder", write)
    monkeypatch.setattr(pipeline, "write_config_folder", write)


@pytest.mark.usefixtures("tiny_config")
def test_every_weight_arrives(single_file: Path, kl_base: Path) -> None:
    folder, single = (load_parts(path, torch.float32, CPU) for path in (kl_base, single_file))
    checked = 0
    for part in PARTS:
        wanted = getattr(folder, part).state_dict()
        found = getattr(single, part).state_dict()
        assert set(found) == set(wanted), part
        for name, tensor in wanted.items():
            assert torch.equal(found[name], tensor), f"{part}: {name}"
            checked += 1
    assert checked > 300
    assert torch.equal(single.alphas_bar, folder.alphas_bar)
    assert single.zero_empty_prompt is True


@pytest.mark.usefixtures("tiny_config")
def test_training_and_rendering_from_it(
    single_file: Path, kl_base: Path, pictures: list[TrainPicture], tmp_path: Path
) -> None:
    """Same checkpoint and same render as from the folder."""
    spec = TrainSpec(rank=2, steps=2, batch=2, checkpoints=1, resolution_px=64)
    loras, renders = [], []
    for base in (kl_base, single_file):
        out = recipe.train(spec, base, pictures, tmp_path / base.name, 1)
        loras.append(out.losses)
        renderer = open_renderer(base, RenderSpec(steps=2, width_px=64, height_px=64), "cpu")
        request = RenderRequest("a photo of woman", 3, out.checkpoints[0].path, 1.0)
        renders.append(next(renderer.render([request])))
    assert loras[0] == loras[1]
    assert np.array_equal(renders[0], renders[1])


@pytest.mark.usefixtures("tiny_config")
@pytest.mark.parametrize("damage", ["lost", "shape"])
def test_incomplete_files_are_refused(single_file: Path, tmp_path: Path, damage: str) -> None:
    tensors = load_file(single_file)
    name = "model.diffusion_model.middle_block.1.proj_in.weight"
    tensor = tensors.pop(name)
    if damage == "shape":
        tensors[name] = tensor[:, :8].contiguous()
    path = tmp_path / "partial.safetensors"
    save_file(tensors, path)
    with pytest.raises(WeightsError, match="not all there or have other shapes"):
        load_parts(path, torch.float32, CPU)
    with pytest.raises(WeightsError, match="not all there or have other shapes"):
        open_renderer(path, RenderSpec(width_px=64, height_px=64), "cpu")


def test_a_torn_download_is_refused_before_anything_is_loaded(
    single_file: Path, tmp_path: Path
) -> None:
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(single_file.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="torn"):
        load_parts(torn, torch.float32, CPU)
