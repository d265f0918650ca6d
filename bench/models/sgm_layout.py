"""SDXL's original ("SGM") single-file layout, from the parts as diffusers holds them.

The opposite of what `from_single_file` does, so a checkpoint in the layout that the field
exchanges can be made without one being downloaded. Works on real tensors and on meta tensors
(shapes without memory) alike.

Notation
    parts       state dicts of unet, vae, text_encoder, text_encoder_2, as diffusers and
                transformers name them
    SGM         down block i, layer j = input_blocks.{1 + (p+1) i + j}; up block i, layer j =
                output_blocks.{(p+1) i + j}; p = layers per block
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

__all__ = ["to_sgm"]

Tensors = Mapping[str, torch.Tensor]

_UNET_TOP = {
    "conv_in.": "input_blocks.0.0.",
    "conv_norm_out.": "out.0.",
    "conv_out.": "out.2.",
    "time_embedding.linear_1.": "time_embed.0.",
    "time_embedding.linear_2.": "time_embed.2.",
    "add_embedding.linear_1.": "label_emb.0.0.",
    "add_embedding.linear_2.": "label_emb.0.2.",
    "mid_block.resnets.0.": "middle_block.0.",
    "mid_block.attentions.0.": "middle_block.1.",
    "mid_block.resnets.1.": "middle_block.2.",
}
_RESIDUAL = {
    ".norm1.": ".in_layers.0.",
    ".conv1.": ".in_layers.2.",
    ".time_emb_proj.": ".emb_layers.1.",
    ".norm2.": ".out_layers.0.",
    ".conv2.": ".out_layers.3.",
    ".conv_shortcut.": ".skip_connection.",
}
_VAE_TOP = {
    ".mid_block.resnets.0.": ".mid.block_1.",
    ".mid_block.resnets.1.": ".mid.block_2.",
    ".mid_block.attentions.0.group_norm.": ".mid.attn_1.norm.",
    ".mid_block.attentions.0.to_q.": ".mid.attn_1.q.",
    ".mid_block.attentions.0.to_k.": ".mid.attn_1.k.",
    ".mid_block.attentions.0.to_v.": ".mid.attn_1.v.",
    ".mid_block.attentions.0.to_out.0.": ".mid.attn_1.proj_out.",
    ".conv_norm_out.": ".norm_out.",
    ".conv_shortcut.": ".nin_shortcut.",
}
_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def _replaced(name: str, table: Mapping[str, str]) -> str:
    for old, new in table.items():
        name = name.replace(old, new)
    return name


def _unet_name(name: str, layers: int) -> str:
    for old, new in _UNET_TOP.items():
        if name.startswith(old):
            # only residual blocks rename their parts: attention has a norm1 of its own
            table = _RESIDUAL if ".resnets." in old else {}
            return _replaced(new + name.removeprefix(old), table)
    found = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", name)
    if found is None:
        raise ValueError(f"unknown UNet tensor {name}")
    way, block, kind, layer, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    if kind == "downsamplers":
        return f"input_blocks.{(layers + 1) * (block + 1)}.0.{rest.replace('conv', 'op')}"
    if kind == "upsamplers":
        return f"output_blocks.{(layers + 1) * block + layers}.2.{rest}"
    number = (layers + 1) * block + layer + (1 if way == "down" else 0)
    side = "input" if way == "down" else "output"
    if kind == "attentions":
        return f"{side}_blocks.{number}.1.{rest}"
    return _replaced(
        f"{side}_blocks.{number}.0.{rest}", {k[1:]: v[1:] for k, v in _RESIDUAL.items()}
    )


def _vae_name(name: str, levels: int) -> str:
    name = _replaced(name, _VAE_TOP)
    found = re.fullmatch(r"(encoder|decoder)\.(?:down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", name)
    if found is None:
        return name
    side, block, kind, layer, rest = found[1], int(found[2]), found[3], found[4], found[5]
    # the decoder counts its levels from the picture's side
    place = f"encoder.down.{block}" if side == "encoder" else f"decoder.up.{levels - 1 - block}"
    if kind == "resnets":
        return f"{place}.block.{layer}.{rest}"
    return f"{place}.{'downsample' if side == 'encoder' else 'upsample'}.{rest}"


def _vae(parts: Tensors, levels: int) -> dict[str, torch.Tensor]:
    found = {}
    for name, tensor in parts.items():
        new = _vae_name(name, levels)
        if ".attn_1." in new and new.endswith("weight") and tensor.ndim == 2:
            tensor = tensor[:, :, None, None]  # attention was written as 1x1 convolutions
        found[f"first_stage_model.{new}"] = tensor
    return found


def _clip_1(parts: Tensors) -> dict[str, torch.Tensor]:
    start = "conditioner.embedders.0.transformer.text_model."
    return {start + name.removeprefix("text_model."): t for name, t in parts.items()}


def _clip_2(parts: Tensors) -> dict[str, torch.Tensor]:
    """The second encoder in open_clip's names: q, k, v stacked, the projection transposed."""
    start = "conditioner.embedders.1.model."
    found: dict[str, torch.Tensor] = {
        start + "token_embedding.weight": parts["text_model.embeddings.token_embedding.weight"],
        start + "positional_embedding": parts["text_model.embeddings.position_embedding.weight"],
        start + "ln_final.weight": parts["text_model.final_layer_norm.weight"],
        start + "ln_final.bias": parts["text_model.final_layer_norm.bias"],
        start + "text_projection": parts["text_projection.weight"].T,
        start + "logit_scale": parts["text_model.final_layer_norm.bias"].new_tensor(4.6052)
        if parts["text_projection.weight"].device.type != "meta"
        else torch.empty((), device="meta", dtype=parts["text_projection.weight"].dtype),
    }
    layers = sorted({int(m[1]) for n in parts if (m := re.search(r"layers\.(\d+)\.", n))})
    for n in layers:
        old = f"text_model.encoder.layers.{n}."
        new = f"{start}transformer.resblocks.{n}."
        for end in ("weight", "bias"):
            stacked = [parts[f"{old}self_attn.{p}_proj.{end}"] for p in "qkv"]
            found[f"{new}attn.in_proj_{end}"] = torch.cat(stacked)
            for a, b in _CLIP_LAYER.items():
                found[f"{new}{b}.{end}"] = parts[f"{old}{a}.{end}"]
    return found


def to_sgm(
    unet: Tensors,
    vae: Tensors,
    text_encoder: Tensors,
    text_encoder_2: Tensors,
    *,
    layers_per_block: int = 2,
    vae_levels: int = 4,
) -> dict[str, torch.Tensor]:
    """All tensors of a single-file SDXL checkpoint."""
    start = "model.diffusion_model."
    found = {start + _unet_name(name, layers_per_block): t for name, t in unet.items()}
    found |= _vae(vae, vae_levels)
    found |= _clip_1(text_encoder)
    found |= _clip_2(text_encoder_2)
    wanted = len(unet) + len(vae) + len(text_encoder)
    given = sum(not name.startswith("conditioner.embedders.1.") for name in found)
    if given != wanted:
        raise ValueError(f"{wanted} tensors became {given}: two names fell together")
    return found
