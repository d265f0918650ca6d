"""A LoRA file as the field reads it: SDXL-kohya names, alpha, and metadata that loaders look at.

ComfyUI goes by tensor names alone; A1111, Forge and SD.Next decide by the metadata whether a LoRA
is for SDXL at all. Dates, paths, folder names and captions are left out on purpose: the first would
make equal weights differ in their bytes, the others would publish the user's dataset.

Notation
    tensors     <prefix>.lora_down.weight (rank, in), <prefix>.lora_up.weight (out, rank),
                <prefix>.alpha (), with DoRA <prefix>.dora_scale (out, 1); float16 unless asked otherwise
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
from vultus.core.weights import BFLOAT16, tensor_bytes, write_weights
from vultus.training.records import TrainSpec

__all__ = [
    "LOADERS_NEED",
    "RECOGNISERS_KEY",
    "LoraFacts",
    "Tensors",
    "alpha_tensor",
    "cast",
    "checkpoint_path",
    "lora_metadata",
    "write_lora",
]

Tensors = Mapping[str, np.ndarray[Any, Any]]

# kohya's legacy hash reads this window of the file
_LEGACY_START = 0x100000
_LEGACY_BYTES = 0x10000

RECOGNISERS_KEY = "vultus_recognisers"
"""Metadata: sha256 of the recognisers in the loss, with commas between; absent when none was. Whoever scores with one
of them judges by what was taught. It stays in a private file: without it such a score would pass for independent."""

# what a loader needs to know a LoRA for SDXL; all that a private file says of itself
LOADERS_NEED = (
    "modelspec.architecture",
    "modelspec.implementation",
    "modelspec.prediction_type",
    "modelspec.sai_model_spec",
    "ss_base_model_version",
    "ss_network_alpha",
    "ss_network_args",
    "ss_network_dim",
    "ss_network_module",
    "ss_v2",
)


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
    batches_per_epoch: int = 1
    buckets: tuple[tuple[int, int, int], ...] = ()
    """(width_px, height_px, pictures) of every trained size"""
    rungs: tuple[str, ...] = ()
    """what was changed because memory ran out"""
    recognisers: tuple[str, ...] = ()
    """sha256 of the recognisers whose likeness was taught"""


def checkpoint_path(out: Path, step: int) -> Path:
    """Where the checkpoint at a step lies."""
    return out / f"checkpoint-{step:06d}.safetensors"


def _about_training(spec: TrainSpec, facts: LoraFacts) -> dict[str, str]:
    """kohya's ss_* keys for how it was trained; settings that do not exist here have its words for "off"."""
    rate = repr(spec.peak_rate)
    text_rate = repr(spec.text_rate) if spec.text_encoders else "None"
    epochs = -(-spec.steps * spec.accumulate // max(facts.batches_per_epoch, 1))
    return {
        "ss_batch_size_per_device": str(spec.batch),
        "ss_bucket_info": json.dumps(_buckets(facts)),
        "ss_cache_latents": "True",
        "ss_caption_dropout_rate": repr(spec.caption_dropout),
        "ss_clip_skip": "None",
        "ss_color_aug": "False",
        "ss_debiased_estimation": str(spec.weighting == "debiased"),
        "ss_enable_bucket": "True",
        "ss_epoch": str(facts.epoch),
        "ss_flip_aug": "False",
        "ss_full_fp16": "False",
        "ss_gradient_accumulation_steps": str(spec.accumulate),
        "ss_gradient_checkpointing": str(spec.gradient_checkpointing),
        "ss_huber_c": repr(spec.huber_c) if spec.loss == "huber" else "None",
        "ss_keep_tokens": "0",
        "ss_learning_rate": rate,
        "ss_loss_type": "huber" if spec.loss == "huber" else "l2",
        "ss_lr_scheduler": spec.schedule,
        "ss_lr_warmup_steps": str(spec.warmup_steps),
        "ss_max_grad_norm": repr(spec.gradient_clip),
        "ss_max_token_length": "None",
        "ss_max_train_steps": str(spec.steps),
        "ss_min_snr_gamma": repr(spec.min_snr_gamma) if spec.weighting == "min_snr" else "None",
        "ss_mixed_precision": "no" if spec.precision == "fp32" else "bf16",
        "ss_noise_offset": "None",
        "ss_num_batches_per_epoch": str(facts.batches_per_epoch),
        "ss_num_epochs": str(epochs),
        "ss_num_reg_images": "0",
        "ss_num_train_images": str(facts.pictures),
        "ss_optimizer": spec.optimizer,
        "ss_prior_loss_weight": "1.0",
        "ss_random_crop": "False",
        "ss_resolution": f"({spec.resolution_px}, {spec.resolution_px})",
        "ss_sd_model_name": facts.base_name,
        "ss_seed": str(facts.seed),
        "ss_shuffle_caption": "False",
        "ss_steps": str(facts.step),
        "ss_text_encoder_lr": text_rate,
        "ss_total_batch_size": str(spec.batch * spec.accumulate),
        "ss_unet_lr": rate,
        "ss_zero_terminal_snr": "False",
        "vultus.face_weight": repr(spec.face_weight),
        "vultus.identity_weight": repr(spec.identity_weight),
        "vultus.memory_rungs": ",".join(facts.rungs),
        "vultus.views": spec.views,
    }


def _buckets(facts: LoraFacts) -> dict[str, Any]:
    sizes = enumerate(facts.buckets)
    return {"buckets": {str(i): {"resolution": [w, h], "count": n} for i, (w, h, n) in sizes}}


def lora_metadata(spec: TrainSpec, facts: LoraFacts) -> dict[str, str]:
    """The header's metadata, hashes excepted; all values are strings, as the format wants.

    With `spec.private` only what loaders need to recognise the file.
    """
    # loaders take any version that starts with sdxl_; only the real shape claims the real name
    version = "sdxl_base_v1-0" if facts.full_size else "sdxl_micro"
    architecture = "stable-diffusion-xl-v1-base" if facts.full_size else "sdxl-micro"
    title = f"{facts.name}-{facts.step:06d}"
    whole = {
        **_about_training(spec, facts),
        "modelspec.architecture": f"{architecture}/lora",
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.prediction_type": "v" if facts.prediction == "v_prediction" else "epsilon",
        "modelspec.resolution": f"{spec.resolution_px}x{spec.resolution_px}",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": title,
        "ss_base_model_version": version,
        "ss_network_alpha": repr(spec.alpha),
        "ss_network_args": _network_args(spec),
        "ss_network_dim": str(spec.rank),
        "ss_network_module": "lycoris.kohya" if spec.dora else "networks.lora",
        "ss_output_name": title,
        "ss_v2": "False",
    }
    taught = {RECOGNISERS_KEY: ",".join(facts.recognisers)} if facts.recognisers else {}
    return {**({key: whole[key] for key in LOADERS_NEED} if spec.private else whole), **taught}


def _network_args(spec: TrainSpec) -> str:
    """What kohya calls network_args: JSON, its values strings."""
    args: dict[str, str] = {}
    if spec.conv_rank:
        args = {"conv_dim": str(spec.conv_rank), "conv_alpha": repr(spec.scaled_conv_alpha)}
    if spec.dora:
        args |= {"algo": "lora", "dora_wd": "True", "wd_on_output": "True"}
    if spec.rslora:
        args["rs_lora"] = "True"
    return json.dumps(args)


def cast(values: np.ndarray[Any, Any], precision: str) -> np.ndarray[Any, Any]:
    """float32 numbers as "fp16", "bf16" (see core.weights.BFLOAT16) or "fp32"."""
    if precision == "bf16":
        if not np.isfinite(values).all():
            return values  # write_lora says what is wrong; bits would hide it
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        # to the nearest, ties to even, as torch rounds
        rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
        return rounded.astype(np.uint16).reshape(values.shape).view(BFLOAT16)
    with np.errstate(over="ignore"):
        return values.astype(np.float16 if precision == "fp16" else np.float32)


def alpha_tensor(alpha: float, precision: str) -> np.ndarray[Any, Any]:
    """Alpha as a scalar tensor, in float16 where that holds it exactly (loaders read any type)."""
    small = np.asarray(alpha, dtype=np.float16)
    exact = float(small) == alpha and precision != "fp32"
    return small if exact else np.asarray(alpha, dtype=np.float32)


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
        if values.dtype != BFLOAT16 and not np.isfinite(values).all():
            raise TrainingError(
                f"the training diverged: {name} is not finite",
                where=str(path),
                expected="weights within float16's range",
                next_command="lower train.learning_rate in vultus.toml",
            )
    write_weights(path, tensors, {**metadata, **_hashes(tensors, metadata)})
