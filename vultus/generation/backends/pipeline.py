"""Loading a base as one diffusers pipeline, offline, frozen, on the right device.

The loader of `training.native.parts` looks alike and stays apart: a trainer wants the pieces, a
renderer the whole, and workshops do not know each other.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vultus.core.errors import RenderError, WeightsError
from vultus.core.sdxl.architecture import write_config_folder
from vultus.core.weights import require_base
from vultus.generation.records import RenderSpec

__all__ = ["load_pipeline", "quiet_libraries"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
COMPONENTS = ("unet", "vae", "text_encoder", "text_encoder_2")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hide bars and tables ("MISSING ... newly initialized" is no fault) that tear our progress."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    before = diffusers_logging.get_verbosity(), transformers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        diffusers_logging.set_verbosity(before[0])
        transformers_logging.set_verbosity(before[1])


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise RenderError(
            "no CUDA card is usable here",
            where=f"device = {name}",
            expected="cpu, or a machine with an NVIDIA card and its driver",
            next_command="vultus doctor",
        )
    return torch.device(name)


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision == "auto":
        precision = "fp16" if device.type == "cuda" else "fp32"
    if precision == "fp16" and device.type == "cpu":
        # a 256 px forward of SDXL was not done after 4.5 minutes
        raise RenderError(
            "fp16 is unusably slow on a CPU",
            where="[render] precision",
            expected="auto, fp32 or bf16",
        )
    return _DTYPES[precision]


def _sampler(name: str, config: Any) -> Any:
    from diffusers import (
        DDIMScheduler,
        DPMSolverMultistepScheduler,
        EulerDiscreteScheduler,
    )

    if name == "ddim":
        return DDIMScheduler.from_config(config, clip_sample=False, set_alpha_to_one=False)
    if name == "euler":
        return EulerDiscreteScheduler.from_config(config)
    return DPMSolverMultistepScheduler.from_config(
        config, algorithm_type="dpmsolver++", solver_order=2, use_karras_sigmas=True
    )


def _from_file(base: Path, dtype: torch.dtype) -> Any:
    from diffusers import StableDiffusionXLPipeline

    with tempfile.TemporaryDirectory(prefix="vultus-sdxl-") as folder:
        write_config_folder(Path(folder))
        try:
            return StableDiffusionXLPipeline.from_single_file(
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


def _from_folder(base: Path, dtype: torch.dtype) -> Any:
    from diffusers import StableDiffusionXLPipeline

    return StableDiffusionXLPipeline.from_pretrained(
        str(base),
        local_files_only=True,
        use_safetensors=True,
        torch_dtype=dtype,
        add_watermarker=False,
    )


def load_pipeline(base: Path, spec: RenderSpec, device: str) -> tuple[Any, torch.device]:
    """The pipeline with every weight frozen, and the device it lives on."""
    # a missing file must end in an error here, never in a question to a model hub
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    form = require_base(base)
    chosen = _device(device)
    dtype = _dtype(spec.precision, chosen)
    with quiet_libraries():
        pipe = _from_folder(base, dtype) if form == "folder" else _from_file(base, dtype)
        pipe.scheduler = _sampler(spec.scheduler, pipe.scheduler.config)
        pipe.to(chosen)
        pipe.vae.to(torch.float32)
    for name in COMPONENTS:
        # on every module and right away: in bf16 the UNet's output depends on the flag, and loading
        # a LoRA clears it, so strength 0 would differ from the base
        getattr(pipe, name).requires_grad_(False).eval()
    pipe.set_progress_bar_config(disable=True)
    return pipe, chosen
