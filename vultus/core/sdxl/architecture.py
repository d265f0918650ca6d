"""The configurations of Stable Diffusion XL base 1.0, written as a folder that works offline.

A single `.safetensors` checkpoint holds weights and no configuration. diffusers would fetch the
configuration from the model hub; `write_config_folder` makes the same files from constants, so
that a user's own checkpoint loads without a network.

Source: the configurations published with stabilityai/stable-diffusion-xl-base-1.0 (2023), reduced
to the keys that differ from the libraries' defaults or that decide the shape.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vultus.core.files import write_text
from vultus.core.sdxl.tokenizer import write_tokenizer_folder

__all__ = [
    "MODEL_INDEX",
    "SCHEDULER",
    "TEXT_ENCODER",
    "TEXT_ENCODER_2",
    "UNET",
    "VAE",
    "write_config_folder",
]

MODEL_INDEX: Mapping[str, Any] = {
    "_class_name": "StableDiffusionXLPipeline",
    # an absent caption is the zero vector, not the encoding of "": SDXL was trained so
    "force_zeros_for_empty_prompt": True,
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}

SCHEDULER: Mapping[str, Any] = {
    "_class_name": "EulerDiscreteScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "interpolation_type": "linear",
    "use_karras_sigmas": False,
}

_CLIP: Mapping[str, Any] = {
    "model_type": "clip_text_model",
    "vocab_size": 49408,
    "max_position_embeddings": 77,
    "layer_norm_eps": 1e-05,
    "bos_token_id": 0,
    # the published value is 2; transformers takes it as "pool at the highest token id"
    "eos_token_id": 2,
    "pad_token_id": 1,
}

TEXT_ENCODER: Mapping[str, Any] = {
    **_CLIP,
    "architectures": ["CLIPTextModel"],
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
}

TEXT_ENCODER_2: Mapping[str, Any] = {
    **_CLIP,
    "architectures": ["CLIPTextModelWithProjection"],
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}

UNET: Mapping[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 128,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [320, 640, 1280],
    "layers_per_block": 2,
    "transformer_layers_per_block": [1, 2, 10],
    # diffusers' name; the numbers are heads per level (64 channels each)
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}

VAE: Mapping[str, Any] = {
    "_class_name": "AutoencoderKL",
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
    # the published VAE overflows in fp16: its decoder runs in fp32
    "force_upcast": True,
}


def write_config_folder(folder: Path) -> None:
    """Write SDXL's configuration folder (5 KB and two tokenizers, no weights)."""
    files: dict[str, Mapping[str, Any]] = {
        "model_index.json": MODEL_INDEX,
        "scheduler/scheduler_config.json": SCHEDULER,
        "text_encoder/config.json": TEXT_ENCODER,
        "text_encoder_2/config.json": TEXT_ENCODER_2,
        "unet/config.json": UNET,
        "vae/config.json": VAE,
    }
    for name, table in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(dict(table), indent=2) + "\n")
    write_tokenizer_folder(folder / "tokenizer", pad_token="<|endoftext|>")
    write_tokenizer_folder(folder / "tokenizer_2", pad_token="!")
