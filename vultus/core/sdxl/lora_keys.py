"""The name of every module that a LoRA can adapt, in a file and in the network.

A LoRA file says `lora_unet_input_blocks_4_1_proj_in`, the network in memory says
`unet.down_blocks.1.attentions.0.proj_in`. Loaders that meet a name they do not know drop it in
silence, so names are never guessed from a network: they follow, by the rule below, from its
configuration, for any network of SDXL's shape. For SDXL itself the rule gives the 986 modules that
kohya's `networks.lora` trains by default, and 66 more with convolutions (`tests/training`
compares all 1,052 rows).

Notation
    p       layers per block of the down path (SDXL: 2); the up path has p + 1
    c_i     channels of level i (SDXL: 320, 640, 1280)
    SGM     the original code's names: down block i, layer j is `input_blocks.{1 + (p+1) i + j}`,
            up block i, layer j is `output_blocks.{(p+1) i + j}`; inside, 0 is the residual block,
            1 the attention, and the up-sampler comes last
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "LoraModule",
    "is_unused",
    "lora_modules",
    "path_in",
    "text_encoder_modules",
    "unet_modules",
]

Kind = Literal["linear", "conv1", "conv3"]


@dataclass(frozen=True)
class LoraModule:
    """One adaptable module: its two names and its shape."""

    kohya_prefix: str
    component: Literal["unet", "text_encoder", "text_encoder_2"]
    module: str
    """dotted path inside the component"""
    group: str
    kind: Kind
    in_features: int
    out_features: int
    by_default: bool
    """adapted by kohya's standard settings (attention, feed-forward, projections)"""

    @property
    def kernel(self) -> int:
        return 3 if self.kind == "conv3" else 1

    @property
    def parameters_per_rank(self) -> int:
        """Numbers in a LoRA of rank 1."""
        return self.in_features * self.kernel**2 + self.out_features


def path_in(component: Any, row: LoraModule) -> str:
    """The module's path; transformers >= 5.6 dropped `text_model.` from the first encoder."""
    if row.component == "unet" or hasattr(component, "text_model"):
        return row.module
    return row.module.removeprefix("text_model.")


@dataclass(frozen=True)
class _Net:
    """The part of a UNet configuration that decides names and shapes."""

    channels: Sequence[int]
    layers: int
    down_attends: Sequence[bool]
    up_attends: Sequence[bool]
    depths: Sequence[int]
    context: int
    linear_projection: bool

    @property
    def time_features(self) -> int:
        return 4 * self.channels[0]


def _net(config: Mapping[str, Any]) -> _Net:
    channels = [int(c) for c in config["block_out_channels"]]
    depths = config.get("transformer_layers_per_block", 1)
    depths = [depths] * len(channels) if isinstance(depths, int) else list(depths)
    layers = config.get("layers_per_block", 2)
    if not isinstance(layers, int):
        if len(set(layers)) != 1:
            raise ValueError("levels with different numbers of layers have no SGM names")
        layers = layers[0]
    return _Net(
        channels=channels,
        layers=layers,
        down_attends=["CrossAttn" in t for t in config["down_block_types"]],
        up_attends=["CrossAttn" in t for t in config["up_block_types"]],
        depths=depths,
        context=int(config["cross_attention_dim"]),
        linear_projection=bool(config.get("use_linear_projection", False)),
    )


def _unet(sgm: str, module: str, group: str, kind: Kind, shape: tuple[int, int]) -> LoraModule:
    prefix = "lora_unet_" + sgm.replace(".", "_")
    by_default = group in {"attn", "ff", "proj"}
    return LoraModule(prefix, "unet", module, group, kind, shape[0], shape[1], by_default)


def _residual(sgm: str, module: str, c_in: int, c_out: int, time: int) -> Iterator[LoraModule]:
    yield _unet(f"{sgm}.in_layers.2", f"{module}.conv1", "conv3x3", "conv3", (c_in, c_out))
    name = f"{module}.time_emb_proj"
    yield _unet(f"{sgm}.emb_layers.1", name, "res_lin_1x1", "linear", (time, c_out))
    yield _unet(f"{sgm}.out_layers.3", f"{module}.conv2", "conv3x3", "conv3", (c_out, c_out))
    if c_in != c_out:
        name = f"{module}.conv_shortcut"
        yield _unet(f"{sgm}.skip_connection", name, "res_lin_1x1", "conv1", (c_in, c_out))


def _attention(sgm: str, module: str, c: int, depth: int, net: _Net) -> Iterator[LoraModule]:
    project: Kind = "linear" if net.linear_projection else "conv1"
    yield _unet(f"{sgm}.proj_in", f"{module}.proj_in", "proj", project, (c, c))
    for k in range(depth):
        block = f"transformer_blocks.{k}"
        # attn1 attends within the picture, attn2 to the caption
        for name, width in (("attn1", c), ("attn2", net.context)):
            for part, c_in in (("to_q", c), ("to_k", width), ("to_v", width), ("to_out.0", c)):
                tail = f"{block}.{name}.{part}"
                yield _unet(f"{sgm}.{tail}", f"{module}.{tail}", "attn", "linear", (c_in, c))
        # GEGLU doubles the 4c of the feed-forward layer
        for part, shape in (("ff.net.0.proj", (c, 8 * c)), ("ff.net.2", (4 * c, c))):
            tail = f"{block}.{part}"
            yield _unet(f"{sgm}.{tail}", f"{module}.{tail}", "ff", "linear", shape)
    yield _unet(f"{sgm}.proj_out", f"{module}.proj_out", "proj", project, (c, c))


def _down(net: _Net) -> Iterator[LoraModule]:
    last = len(net.channels) - 1
    for i, c in enumerate(net.channels):
        before = net.channels[max(i - 1, 0)]
        for j in range(net.layers):
            sgm = f"input_blocks.{1 + (net.layers + 1) * i + j}"
            module = f"down_blocks.{i}.resnets.{j}"
            yield from _residual(f"{sgm}.0", module, before if j == 0 else c, c, net.time_features)
            if net.down_attends[i]:
                module = f"down_blocks.{i}.attentions.{j}"
                yield from _attention(f"{sgm}.1", module, c, net.depths[i], net)
        if i < last:
            sgm = f"input_blocks.{(net.layers + 1) * (i + 1)}.0.op"
            module = f"down_blocks.{i}.downsamplers.0.conv"
            yield _unet(sgm, module, "conv3x3", "conv3", (c, c))


def _middle(net: _Net) -> Iterator[LoraModule]:
    c = net.channels[-1]
    time = net.time_features
    yield from _residual("middle_block.0", "mid_block.resnets.0", c, c, time)
    yield from _attention("middle_block.1", "mid_block.attentions.0", c, net.depths[-1], net)
    yield from _residual("middle_block.2", "mid_block.resnets.1", c, c, time)


def _up(net: _Net) -> Iterator[LoraModule]:
    rising = list(reversed(net.channels))
    depths = list(reversed(net.depths))
    last = len(rising) - 1
    for i, c in enumerate(rising):
        below = rising[max(i - 1, 0)]
        skip_of_last = rising[min(i + 1, last)]
        for j in range(net.layers + 1):
            sgm = f"output_blocks.{(net.layers + 1) * i + j}"
            skip = skip_of_last if j == net.layers else c
            c_in = (below if j == 0 else c) + skip
            module = f"up_blocks.{i}.resnets.{j}"
            yield from _residual(f"{sgm}.0", module, c_in, c, net.time_features)
            if net.up_attends[i]:
                module = f"up_blocks.{i}.attentions.{j}"
                yield from _attention(f"{sgm}.1", module, c, depths[i], net)
            if i < last and j == net.layers:
                place = 2 if net.up_attends[i] else 1
                module = f"up_blocks.{i}.upsamplers.0.conv"
                yield _unet(f"{sgm}.{place}.conv", module, "conv3x3", "conv3", (c, c))


def unet_modules(config: Mapping[str, Any]) -> list[LoraModule]:
    """All adaptable modules of a UNet, in the order of the signal."""
    net = _net(config)
    return [*_down(net), *_middle(net), *_up(net)]


def text_encoder_modules(config: Mapping[str, Any], number: Literal[1, 2]) -> list[LoraModule]:
    """All adaptable modules of text encoder 1 or 2, layer by layer."""
    c, wide = int(config["hidden_size"]), int(config["intermediate_size"])
    component: Literal["text_encoder", "text_encoder_2"]
    component = "text_encoder" if number == 1 else "text_encoder_2"
    found: list[LoraModule] = []
    for layer in range(int(config["num_hidden_layers"])):
        parts = [(f"self_attn.{p}_proj", (c, c)) for p in ("k", "v", "q", "out")]
        parts += [("mlp.fc1", (c, wide)), ("mlp.fc2", (wide, c))]
        for part, (c_in, c_out) in parts:
            module = f"text_model.encoder.layers.{layer}.{part}"
            prefix = f"lora_te{number}_" + module.replace(".", "_")
            group = f"te{number}_{'attn' if 'attn' in part else 'mlp'}"
            found.append(LoraModule(prefix, component, module, group, "linear", c_in, c_out, True))
    return found


def is_unused(row: LoraModule, text_encoder: Mapping[str, Any]) -> bool:
    """Whether SDXL never reads this module: it takes the first encoder before its last layer.

    A LoRA there is written to the file, as kohya does, but has no gradient and stays zero.
    """
    last = int(text_encoder["num_hidden_layers"]) - 1
    return row.component == "text_encoder" and f".layers.{last}." in row.module


def lora_modules(
    unet: Mapping[str, Any],
    text_encoder: Mapping[str, Any] | None = None,
    text_encoder_2: Mapping[str, Any] | None = None,
    *,
    convolutions: bool = False,
) -> list[LoraModule]:
    """Modules that the standard settings adapt; a text encoder is left out when not given.

    With `convolutions` also those that kohya adapts when `conv_dim` is set: the 3x3 convolutions of
    residual blocks and samplers, their 1x1 shortcuts, and their projections of the timestep.
    """
    found = [row for row in unet_modules(unet) if row.by_default or convolutions]
    if text_encoder is not None:
        found += text_encoder_modules(text_encoder, 1)
    if text_encoder_2 is not None:
        found += text_encoder_modules(text_encoder_2, 2)
    return found
