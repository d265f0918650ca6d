"""A LoRA merged into the UNet's weights while it renders, and taken out again to the last bit.

Beside the layers, a LoRA of rank 16 takes two small products more at each of them; merged it takes none. The weights it
changes are kept as they were and copied back, never subtracted from: a base that was merged into a thousand times is
the base that was loaded. ComfyUI and kohya's own script render with merged weights too, so this is what a user sees.

Cost: once the bytes of the adapted weights (stand-in: 11 MB; SDXL in half precision: 4.5 GB on a card), and one product
per layer whenever LoRA or strength change. A render of the stand-in takes 0.58 of the time it takes beside the layers
(batch of 24, rank 16 with convolutions, one thread).
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["Merging"]

# Beside a full-size base a CPU has rarely room for a second one; the stand-in nets always have.
_COPIES_ON_CPU_MOST = 1 << 30


class Merging:
    """What is merged into one UNet right now, and what its weights were before."""

    def __init__(self, unet: Any, device: torch.device) -> None:
        self._unet = unet
        self._device = device
        self._kept: dict[str, torch.Tensor] = {}
        self._merged: dict[str, Any] = {}
        self._given_up = False

    def fits(self) -> bool:
        """True when there is room for a copy of the weights that LoRAs change."""
        if self._given_up:
            return False
        if self._kept:
            return True
        size: int = sum(p.numel() * p.element_size() for p in self._unet.parameters())
        if self._device.type == "cuda":
            free: int = torch.cuda.mem_get_info(self._device)[0]
            return size < free // 2
        return size <= _COPIES_ON_CPU_MOST

    @torch.no_grad()
    def merge(self, name: str) -> None:
        """Add this LoRA at the strength its layers are set to. Nothing may be merged before."""
        for path, layer in self._unet.named_modules():
            if name not in getattr(layer, "lora_A", {}) or layer.lora_bias.get(name, False):
                continue
            weight = layer.get_base_layer().weight
            if path not in self._kept:
                self._kept[path] = weight.detach().clone()
            layer.merge(adapter_names=[name])
            self._merged[path] = layer

    @torch.no_grad()
    def take_out(self) -> None:
        """Give every layer the weight it was loaded with."""
        for path, layer in self._merged.items():
            layer.get_base_layer().weight.data.copy_(self._kept[path])
            layer.merged_adapters.clear()
        self._merged.clear()

    def give_up(self) -> bool:
        """Render beside the layers from now on, and let go of the copies; False when there were none."""
        had = bool(self._kept)
        self.take_out()
        self._kept.clear()
        self._given_up = True
        return had
