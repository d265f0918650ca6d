"""A base taken apart: the networks, tokenizers and noise schedule that a training needs.

Notation
    width           of a text encoder: numbers per token (SDXL: 768 and 1280)
    alphas_bar      (n_timesteps,) float64 -> float32; share of signal left at each timestep
    factor_px       pixels per latent number along one side (SDXL and the stand-in: 8)
A single-file checkpoint brings no configuration; SDXL's own is written from constants, so nothing
is asked of a network. Cost of a full-size base in bf16: peak 13.5 GiB of memory while loading.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vultus.core.errors import TrainingError, WeightsError
from vultus.core.sdxl.architecture import write_config_folder
from vultus.core.weights import require_base

__all__ = ["Parts", "choose_device", "keep_in_fp8", "load_parts"]

_PREDICTIONS = ("epsilon", "v_prediction")


@dataclass
class Parts:
    """The pieces of one base, frozen and on the training device."""

    unet: Any
    vae: Any
    text_encoder: Any
    text_encoder_2: Any
    tokenizer: Any
    tokenizer_2: Any
    alphas_bar: torch.Tensor
    prediction: str
    zero_empty_prompt: bool
    factor_px: int

    @property
    def bucket_px(self) -> int:
        """Sides of training pictures are multiples of this: every level halves them whole."""
        levels = len(self.unet.config.block_out_channels) - 1
        return self.factor_px << levels


def choose_device(name: str) -> torch.device:
    """The device that a setting names; "auto" takes a CUDA card when there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise TrainingError(
            "no CUDA card is usable here",
            where=f"device = {name}",
            expected="cpu, or a machine with an NVIDIA card and its driver",
            next_command="vultus doctor",
        )
    return torch.device(name)


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Hide progress bars and tables that would tear the program's own progress line."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    before = diffusers_logging.get_verbosity(), transformers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(before[0])
        transformers_logging.set_verbosity(before[1])


def _from_folder(base: Path, dtype: torch.dtype) -> dict[str, Any]:
    from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    index = json.loads((base / "model_index.json").read_text("utf-8"))
    vae_name = index.get("vae", [None, None])[1]
    vae_class = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}.get(vae_name)
    if vae_class is None:
        raise WeightsError(
            f"has an autoencoder of kind {vae_name}",
            where=str(base),
            expected="AutoencoderKL (SDXL) or AutoencoderTiny (the stand-in)",
        )
    offline: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}

    def part(cls: Any, name: str, dtype: torch.dtype) -> Any:
        return cls.from_pretrained(base, subfolder=name, torch_dtype=dtype, **offline)

    scheduler = json.loads((base / "scheduler" / "scheduler_config.json").read_text("utf-8"))
    return {
        "unet": part(UNet2DConditionModel, "unet", dtype),
        # always fp32: the published SDXL VAE overflows in half precision
        "vae": part(vae_class, "vae", torch.float32),
        "text_encoder": part(CLIPTextModel, "text_encoder", dtype),
        "text_encoder_2": part(CLIPTextModelWithProjection, "text_encoder_2", dtype),
        "tokenizer": CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True),
        "tokenizer_2": CLIPTokenizer.from_pretrained(base / "tokenizer_2", local_files_only=True),
        "scheduler": scheduler,
        "zero_empty_prompt": bool(index.get("force_zeros_for_empty_prompt", True)),
    }


def _from_file(base: Path, dtype: torch.dtype) -> dict[str, Any]:
    from diffusers import StableDiffusionXLPipeline

    with tempfile.TemporaryDirectory(prefix="vultus-sdxl-") as folder:
        write_config_folder(Path(folder))
        try:
            pipe = StableDiffusionXLPipeline.from_single_file(
                str(base),
                config=folder,
                local_files_only=True,
                torch_dtype=dtype,
                add_watermarker=False,
            )
        except (NotImplementedError, ValueError, RuntimeError, KeyError) as error:
            # "cannot copy out of meta tensor" means a weight that the file does not hold; a wrong
            # shape is a ValueError
            raise WeightsError(
                "is laid out like SDXL, but its tensors are not all there or have other shapes",
                where=str(base),
                expected="a whole SDXL checkpoint in one file",
                next_command="download it again, or choose another base",
            ) from error
    names = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
    found: dict[str, Any] = {name: getattr(pipe, name) for name in names}
    found["vae"] = found["vae"].to(torch.float32)
    found["scheduler"] = dict(pipe.scheduler.config)
    found["zero_empty_prompt"] = bool(pipe.config.get("force_zeros_for_empty_prompt", True))
    return found


def _alphas_bar(scheduler: dict[str, Any]) -> torch.Tensor:
    from diffusers import DDPMScheduler

    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
    chosen = {key: scheduler[key] for key in keys if key in scheduler}
    return torch.as_tensor(DDPMScheduler(**chosen).alphas_cumprod, dtype=torch.float32)


def _wide_linear(layer: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.linear(x, layer.weight.to(torch.bfloat16), layer.bias)


def _wide_convolution(layer: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = layer._conv_forward(x, layer.weight.to(torch.bfloat16), layer.bias)
    return found


def keep_in_fp8(parts: Parts) -> None:
    """Keep the UNet's frozen weights in 8-bit floats (e4m3) and widen each to bf16 while its layer computes.

    Norms, biases and the first convolution stay as they are. With gradient checkpointing only one block is wide at a
    time; without it autograd holds on to every layer's wide copy and little is saved. Not diffusers' layerwise casting:
    that swaps the weight under autograd's hands, and a recomputed block is refused (docs/log.md).
    """
    wide: dict[type, Callable[..., torch.Tensor]] = {
        torch.nn.Linear: _wide_linear,
        torch.nn.Conv2d: _wide_convolution,
    }
    for name, layer in parts.unet.named_modules():
        forward = wide.get(type(layer))
        if (
            forward is not None and name != "conv_in"
        ):  # its dtype is what diffusers takes for the UNet's
            layer.weight.data = layer.weight.data.to(torch.float8_e4m3fn)
            layer.forward = partial(forward, layer)


def load_parts(base: Path, dtype: torch.dtype, device: torch.device) -> Parts:
    """Load a base, freeze it, and put it on the device. Raises WeightsError if it is not one."""
    # a missing file must end in an error here, never in a question to a model hub
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    form = require_base(base)
    with _quiet_libraries():
        found = _from_folder(base, dtype) if form == "folder" else _from_file(base, dtype)
    scheduler = found.pop("scheduler")
    prediction = str(scheduler.get("prediction_type", "epsilon"))
    if prediction not in _PREDICTIONS:
        raise WeightsError(
            f"was trained to predict {prediction!r}",
            where=str(base),
            expected=" or ".join(_PREDICTIONS),
        )
    for name in ("unet", "vae", "text_encoder", "text_encoder_2"):
        # on every module: in bf16 the UNet's very output depends on the flag of its weights
        found[name].requires_grad_(False)
        found[name].eval()
        found[name].to(device)
    levels = len(found["vae"].config.block_out_channels) - 1
    return Parts(
        **found,
        alphas_bar=_alphas_bar(scheduler).to(device),
        prediction=prediction,
        factor_px=2**levels,
    )
