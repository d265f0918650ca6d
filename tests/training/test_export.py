"""Checkpoints are SDXL-kohya files: names, alpha, metadata, and the same weights after loading."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from vultus.core.errors import TrainingError
from vultus.core.sdxl.architecture import UNET
from vultus.core.sdxl.lora_keys import lora_modules
from vultus.core.weights import read_header
from vultus.training.lora_file import LoraFacts, lora_metadata, write_lora
from vultus.training.native import recipe
from vultus.training.native.export import is_full_size
from vultus.training.native.parts import load_parts
from vultus.training.records import TrainPicture, TrainSpec

SPEC = TrainSpec(
    rank=4,
    alpha=2.0,
    steps=3,
    batch=2,
    checkpoints=1,
    learning_rate=1e-2,
    resolution_px=64,
    text_encoders=True,
)


@pytest.fixture(scope="module")
def checkpoint(
    tiny_base: Path, pictures: list[TrainPicture], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A LoRA on the UNet and both text encoders, alpha half of the rank."""
    result = recipe.train(SPEC, tiny_base, pictures, tmp_path_factory.mktemp("run"), 3, name="ada")
    return result.checkpoints[0].path


def _configs(base: Path) -> tuple[Any, Any, Any]:
    parts = load_parts(base, torch.float32, torch.device("cpu"))
    return (
        dict(parts.unet.config),
        parts.text_encoder.config.to_dict(),
        parts.text_encoder_2.config.to_dict(),
    )


def test_names_shapes_and_alpha_follow_the_key_table(checkpoint: Path, tiny_base: Path) -> None:
    rows = lora_modules(*_configs(tiny_base))
    wanted: dict[str, tuple[int, ...]] = {}
    for row in rows:
        wanted[f"{row.kohya_prefix}.lora_down.weight"] = (4, row.in_features)
        wanted[f"{row.kohya_prefix}.lora_up.weight"] = (row.out_features, 4)
        wanted[f"{row.kohya_prefix}.alpha"] = ()
    found = read_header(checkpoint).tensors
    assert {name: info.shape for name, info in found.items()} == wanted
    assert len(wanted) == 3 * len(rows) >= 3 * 60
    assert {info.dtype for info in found.values()} == {"F16"}
    tensors = load_file(checkpoint)
    alphas = [float(t) for name, t in tensors.items() if name.endswith(".alpha")]
    assert alphas == [2.0] * len(rows)
    assert not [name for name in found if name.startswith("lora_te1_encoder")]


def test_every_module_learnt_except_the_one_sdxl_does_not_use(checkpoint: Path) -> None:
    """SDXL reads the first encoder before its last layer: that layer's LoRA stays exactly zero."""
    ups = {n: t for n, t in load_file(checkpoint).items() if n.endswith(".lora_up.weight")}
    zero = sorted(name for name, up in ups.items() if not up.any())
    assert len(zero) == 6
    assert all(name.startswith("lora_te1_text_model_encoder_layers_1_") for name in zero)


def test_file_is_the_same_for_the_same_training(
    checkpoint: Path, tiny_base: Path, pictures: list[TrainPicture], tmp_path: Path
) -> None:
    again = recipe.train(SPEC, tiny_base, pictures, tmp_path, 3, name="ada")
    assert again.checkpoints[0].path.read_bytes() == checkpoint.read_bytes()


def test_convolutions_have_kohyas_names_and_shapes(
    tiny_base: Path, pictures: list[TrainPicture], tmp_path: Path
) -> None:
    """LoCon: 3x3 pairs of their own rank; 1x1 shortcuts and time projections at the LoRA's."""
    spec = replace(SPEC, conv_rank=2, conv_alpha=0.5, text_encoders=False)
    path = recipe.train(spec, tiny_base, pictures, tmp_path, 3).checkpoints[0].path
    found = {name: info.shape for name, info in read_header(path).tensors.items()}
    rows = lora_modules(_configs(tiny_base)[0], convolutions=True)
    assert Counter(row.group for row in rows)["conv3x3"] >= 15
    assert Counter(row.group for row in rows)["res_lin_1x1"] >= 12
    for row in rows:
        rank = 2 if row.kind == "conv3" else 4
        kernel = {"linear": (), "conv1": (1, 1), "conv3": (3, 3)}[row.kind]
        one = () if row.kind == "linear" else (1, 1)
        down = found.pop(f"{row.kohya_prefix}.lora_down.weight")
        assert down == (rank, row.in_features, *kernel)
        assert found.pop(f"{row.kohya_prefix}.lora_up.weight") == (row.out_features, rank, *one)
        assert found.pop(f"{row.kohya_prefix}.alpha") == ()
    assert not found
    tensors = load_file(path)
    alphas = {row.kind: float(tensors[f"{row.kohya_prefix}.alpha"]) for row in rows}
    assert alphas == {"linear": 2.0, "conv1": 2.0, "conv3": 0.5}
    learnt = [row for row in rows if tensors[f"{row.kohya_prefix}.lora_up.weight"].any()]
    assert len(learnt) == len(rows)
    args = json.loads(read_header(path).metadata["ss_network_args"])
    assert args == {"conv_dim": "2", "conv_alpha": "0.5"}


def test_conv_alpha_keeps_the_ratio_when_it_is_not_written() -> None:
    assert replace(SPEC, conv_rank=8).scaled_conv_alpha == 4.0
    assert replace(SPEC, conv_rank=8, conv_alpha=1.0).scaled_conv_alpha == 1.0


def test_metadata_that_loaders_look_at(checkpoint: Path) -> None:
    about = read_header(checkpoint).metadata
    assert about["ss_base_model_version"].startswith("sdxl_")
    assert about["modelspec.architecture"].endswith("/lora")
    wanted = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": "4",
        "ss_network_alpha": "2.0",
        "ss_network_args": "{}",
        "ss_output_name": "ada-000003",
        "ss_v2": "False",
        "ss_steps": "3",
        "ss_seed": "3",
        "ss_num_train_images": "5",
        "ss_resolution": "(64, 64)",
    }
    assert {key: about[key] for key in wanted} == wanted
    # nothing of the user's dataset leaves the machine with the file
    text = " ".join(about.values())
    assert "zorblax" not in text
    assert "/" not in text.replace("https://github.com/Stability-AI/generative-models", "").replace(
        about["modelspec.architecture"], ""
    )


def test_hashes_are_those_a1111_computes(checkpoint: Path) -> None:
    """sshs_model_hash: sha256 of everything behind the header, as the UI reads it from disk."""
    raw = checkpoint.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    about = read_header(checkpoint).metadata
    assert about["sshs_model_hash"] == hashlib.sha256(raw[start:]).hexdigest()
    assert len(about["sshs_legacy_hash"]) == 8
    # the library writes the same numbers in the same order
    library = save(load_file(checkpoint))
    assert library[8 + int.from_bytes(library[:8], "little") :] == raw[start:]


def test_full_size_is_recognised_by_shape() -> None:
    assert is_full_size(UNET)
    assert is_full_size({**UNET, "block_out_channels": (320, 640, 1280)})
    assert not is_full_size({**UNET, "block_out_channels": (32, 64, 96)})
    facts = LoraFacts("ada", "sdxl", True, "epsilon", 36, 0, 500, 9)
    about = lora_metadata(replace(SPEC, text_encoders=False, optimizer="prodigy"), facts)
    assert about["ss_base_model_version"] == "sdxl_base_v1-0"
    assert about["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert about["ss_text_encoder_lr"] == "None"


def test_infinite_weights_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(TrainingError, match="diverged"):
        write_lora(path, {"a.lora_up.weight": np.full((1, 1), np.inf, np.float16)}, {})
    assert not path.exists()
