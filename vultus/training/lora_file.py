"""A LoRA file as the field reads it: SDXL-kohya names, alpha, and metadata that loaders look at.

ComfyUI goes by tensor names alone; A1111, Forge and SD.Next decide by the metadata whether a LoRA
is for SDXL at all. Dates, paths, folder names and captions are left out on purpose: the first would
make equal weights differ in their bytes, the others would publish the user's dataset.

Notation
    tensors     <prefix>.lora_down.weight (rank, in), <prefix>.lora_up.weight (out, rank),
                <prefix>.alpha (), all float16
Sources: ss_* and sshs_* keys as kohya-ss/sd-scripts 0.10.1 writes them; modelspec 1.0.0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vultus.core.errors import TrainingError
from vultus.core.weights import tensor_bytes, write_weights
from vultus.training.records import TrainSpec

__all__ = ["LoraFacts", "Tensors", "checkpoint_path", "lora_metadata", "write_lora"]

Tensors = Mapping[str, np.ndarray[Any, Any]]

# kohya's legacy hash reads this window of the file
_LEGACY_START = 0x100000
_LEGACY_BYTES = 0x10000


@dataclass(frozen=True)
class LoraFacts:
    """What is known about a training when it writes a checkpoint."""

    name: str
    base_name: str
    full_size: bool
    """the base has SDXL's own shape, not a smaller one like the stand-in's"""
    prediction: str
    pictures: int
    seed: int
    step: int
    epoch: int


def checkpoint_path(out: Path, step: int) -> Path:
    """Where the checkpoint at a step lies."""
    return out / f"checkpoint-{step:06d}.safetensors"


def lora_metadata(spec: TrainSpec, facts: LoraFacts) -> dict[str, str]:
    """The header's metadata, hashes excepted; all values are strings, as the format wants."""
    rate = repr(spec.peak_rate)
    side = f"{spec.resolution_px}x{spec.resolution_px}"
    # loaders take any version that starts with sdxl_; only the real shape claims the real name
    version = "sdxl_base_v1-0" if facts.full_size else "sdxl_micro"
    architecture = "stable-diffusion-xl-v1-base" if facts.full_size else "sdxl-micro"
    text_rate = rate if spec.text_encoders else "None"
    title = f"{facts.name}-{facts.step:06d}"
    return {
        "modelspec.architecture": f"{architecture}/lora",
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.prediction_type": "v" if facts.prediction == "v_prediction" else "epsilon",
        "modelspec.resolution": side,
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": title,
        "ss_base_model_version": version,
        "ss_batch_size_per_device": str(spec.batch),
        "ss_caption_dropout_rate": repr(spec.caption_dropout),
        "ss_clip_skip": "None",
        "ss_epoch": str(facts.epoch),
        "ss_gradient_checkpointing": str(spec.gradient_checkpointing),
        "ss_learning_rate": rate,
        "ss_lr_scheduler": spec.schedule,
        "ss_lr_warmup_steps": str(spec.warmup_steps),
        "ss_max_grad_norm": repr(spec.gradient_clip),
        "ss_max_train_steps": str(spec.steps),
        "ss_mixed_precision": "bf16" if spec.precision == "bf16" else "no",
        "ss_network_alpha": repr(spec.alpha),
        "ss_network_args": _network_args(spec),
        "ss_network_dim": str(spec.rank),
        "ss_network_module": "networks.lora",
        "ss_num_train_images": str(facts.pictures),
        "ss_optimizer": spec.optimizer,
        "ss_output_name": title,
        "ss_resolution": f"({spec.resolution_px}, {spec.resolution_px})",
        "ss_sd_model_name": facts.base_name,
        "ss_seed": str(facts.seed),
        "ss_steps": str(facts.step),
        "ss_text_encoder_lr": text_rate,
        "ss_unet_lr": rate,
        "ss_v2": "False",
    }


def _network_args(spec: TrainSpec) -> str:
    """What kohya calls network_args: JSON, its values strings."""
    args: dict[str, str] = {}
    if spec.conv_rank:
        args = {"conv_dim": str(spec.conv_rank), "conv_alpha": repr(spec.scaled_conv_alpha)}
    return json.dumps(args)


def _hashes(tensors: Tensors, metadata: Mapping[str, str]) -> dict[str, str]:
    """The two hashes by which A1111 and Forge recognise a LoRA, over the ss_* part of the file."""
    kept = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    header, numbers = tensor_bytes(tensors, kept)
    window = (header + numbers)[_LEGACY_START : _LEGACY_START + _LEGACY_BYTES]
    return {
        "sshs_model_hash": hashlib.sha256(numbers).hexdigest(),
        "sshs_legacy_hash": hashlib.sha256(window).hexdigest()[:8],
    }


def write_lora(path: Path, tensors: Tensors, metadata: Mapping[str, str]) -> None:
    """Write a checkpoint. Raises TrainingError when a weight is not finite in float16."""
    for name, values in tensors.items():
        if not np.isfinite(values).all():
            raise TrainingError(
                f"the training diverged: {name} is not finite",
                where=str(path),
                expected="weights within float16's range",
                next_command="lower train.learning_rate in vultus.toml",
            )
    write_weights(path, tensors, {**metadata, **_hashes(tensors, metadata)})
