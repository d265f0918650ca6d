"""LoRAs on a resident base: loaded once, switched on, off and to another strength.

Where there is room for a copy of the weights, plain LoRAs are merged into them while they render (`merging`); elsewhere
they run beside the layers, where each picture of a batch may have a strength of its own, and so do all other kinds.

A LoRA whose names or shapes do not fit is refused before anything is touched. Loaders of the field
drop names that they do not know and render on without a word; here the number of modules that took
effect must equal the number in the file.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vultus.core.errors import RenderError
from vultus.core.sdxl.lora_forms import peft_config, peft_name, peft_shape
from vultus.core.sdxl.lora_keys import LoraModule, text_encoder_modules, unet_modules
from vultus.core.weights import Header, require_lora
from vultus.generation.backends.merging import Merging, Pairs
from vultus.generation.backends.pipeline import COMPONENTS, quiet_libraries

__all__ = ["Adapters"]

# a dim-16 SDXL LoRA takes 114 MB; a sweep compares a handful of checkpoints at a time
_LORAS_KEPT = 4
_KOHYA_STARTS = (
    "lora_unet_input_",
    "lora_unet_middle_",
    "lora_unet_output_",
    "lora_te1_",
    "lora_te2_",
)
_DOWN_ENDS = (".lora_down.weight", ".lora_A.weight", ".lora.down.weight", "_lora.down.weight")


@dataclass(frozen=True)
class _Loaded:
    """One LoRA in memory: its pairs where it is merged, otherwise attached to the layers under its name."""

    name: str
    on_text_encoders: bool
    pairs: Pairs | None = None


class _PerRow:
    """A factor for each row of a batch, where peft multiplies by one number: `x * _PerRow(f)` is x[i] * f[i]."""

    def __init__(self, factors: torch.Tensor) -> None:
        self._factors = factors

    def __rmul__(self, x: torch.Tensor) -> torch.Tensor:
        shape = (len(self._factors), *(1 for _ in x.shape[1:]))
        return x * self._factors.to(x.dtype).reshape(shape)


class Adapters:
    """The LoRAs of one pipeline."""

    def __init__(self, pipe: Any, device: torch.device) -> None:
        self._pipe = pipe
        self._merging = Merging(pipe, device)
        self._loaded: OrderedDict[tuple[str, int, int], _Loaded] = OrderedDict()
        self._mixes: dict[tuple[str, int, int], bool] = {}
        self._made = 0
        self._attached = 0
        self._active: tuple[str, float] | None = None

    def switch(self, lora: Path | None, strength: float) -> str:
        """Make the base carry this LoRA at this strength, and nothing else.

        Returns a mark of what is on the text encoders ("" = nothing): prompt embeddings made under
        one mark hold for it only.
        """
        if lora is None or strength == 0.0:
            self._none_beside()
            self._merging.take_out()
            self._active = None
            return ""
        loaded = self._take(lora)
        wanted = (loaded.name, strength)
        if self._active != wanted:
            if loaded.pairs is None:
                self._beside(loaded.name, strength)
            else:
                self._none_beside()
                self._merging.put_in(loaded.pairs, strength)
            self._active = wanted
        return f"{loaded.name} {strength!r}" if loaded.on_text_encoders else ""

    def _none_beside(self) -> None:
        """Switch off what is attached to the layers."""
        if self._attached:
            self._pipe.disable_lora()

    def _beside(self, name: str, strength: float) -> None:
        """Make one LoRA run beside the layers at one strength."""
        self._merging.take_out()
        self._pipe.enable_lora()
        self._pipe.set_adapters([name], [strength])
        # activating an adapter makes it trainable again; nothing is trained here
        self._freeze()

    def give_room(self) -> bool:
        """Let go of what merging keeps; False when it keeps nothing."""
        self._active = None
        had = self._merging.give_up()
        for key in [key for key, loaded in self._loaded.items() if loaded.pairs is not None]:
            del self._loaded[key]
        return had

    def mixes(self, lora: Path) -> bool:
        """True when each picture of a batch may have a strength of its own.

        Not where it is merged, and not in a DoRA, whose weights depend on the strength.
        """
        key = _state(lora)
        if key not in self._mixes:
            tensors = require_lora(lora).tensors
            self._mixes[key] = not any(name.endswith(".dora_scale") for name in tensors)
        return self._mixes[key] and self._take(lora).pairs is None

    def mix(self, lora: Path, strengths: Sequence[float], device: torch.device) -> None:
        """Give each row of the UNet's batch its own strength (with guidance: all rows twice)."""
        name = self._take(lora).name
        self._beside(name, 1.0)
        each = torch.tensor(list(strengths), device=device)
        for module in self._pipe.unet.modules():
            if name in getattr(module, "lora_A", {}):
                module.scaling[name] = _PerRow(each * module.scaling[name])
        self._active = None  # the next switch sets one number for all again

    def _take(self, lora: Path) -> _Loaded:
        key = _state(lora)
        if key in self._loaded:
            self._loaded.move_to_end(key)
            return self._loaded[key]
        header = require_lora(lora)
        self._merging.take_out()
        while len(self._loaded) >= _LORAS_KEPT:
            _, oldest = self._loaded.popitem(last=False)
            if oldest.pairs is None:
                self._pipe.delete_adapters(oldest.name)
                self._attached -= 1
        self._active = None
        self._loaded[key] = self._load(lora, header)
        return self._loaded[key]

    def _load(self, lora: Path, header: Header) -> _Loaded:
        self._check_fit(lora, header)
        self._made += 1
        name = f"lora{self._made}"
        if self._merging.fits():
            pairs = self._merging.read(lora, self._table())
            if pairs is not None:
                return _Loaded(name, pairs.on_text_encoders, pairs)
        try:
            with quiet_libraries():
                if any(tensor.endswith(".dora_scale") for tensor in header.tensors):
                    self._load_dora(lora, name)
                else:
                    self._pipe.load_lora_weights(
                        str(lora), adapter_name=name, local_files_only=True
                    )
        except (RuntimeError, ValueError, KeyError, IndexError, AttributeError) as error:
            # what diffusers raises for a file it cannot read varies by format and version
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise _misfit(lora, f"cannot be loaded: {first}") from error
        self._freeze()
        wanted = sum(tensor.endswith(_DOWN_ENDS) for tensor in header.tensors)
        counts = {part: _count(getattr(self._pipe, part), name) for part in COMPONENTS}
        found = sum(counts.values())
        if found != wanted:
            self._pipe.delete_adapters(name)
            raise _misfit(lora, f"has {wanted} modules, of which {found} have a place in the base")
        self._attached += 1
        return _Loaded(name, counts["text_encoder"] + counts["text_encoder_2"] > 0)

    def _load_dora(self, lora: Path, name: str) -> None:
        """Load a DoRA in peft's names: through kohya's, diffusers drops the magnitudes."""
        from safetensors.torch import load_file

        rows = self._table()
        tensors: dict[str, Any] = {}
        alphas: dict[str, float] = {}
        for key, values in load_file(lora).items():
            prefix, _, end = key.partition(".")
            if end == "alpha":
                alphas[prefix] = float(values)
                continue
            if end == "dora_scale":
                values = values.float().reshape(peft_shape(rows[prefix], values.numel()))
            tensors[peft_name(rows[prefix], end)] = values
        ranks = {
            prefix: len(tensors[peft_name(rows[prefix], "lora_down.weight")]) for prefix in alphas
        }
        scales = {prefix: (ranks[prefix], alpha) for prefix, alpha in alphas.items()}
        config = peft_config([rows[prefix] for prefix in scales], scales, dora=True)
        given: dict[str, Any] = {"adapter_name": name, "_pipeline": self._pipe, "metadata": config}
        pipe = self._pipe
        if any(key.startswith("unet.") for key in tensors):
            pipe.load_lora_into_unet(tensors, network_alphas=None, unet=pipe.unet, **given)
        for part in ("text_encoder", "text_encoder_2"):
            if any(key.startswith(f"{part}.") for key in tensors):
                pipe.load_lora_into_text_encoder(
                    tensors, None, getattr(pipe, part), prefix=part, **given
                )

    def _freeze(self) -> None:
        for part in COMPONENTS:
            getattr(self._pipe, part).requires_grad_(False)

    def _check_fit(self, lora: Path, header: Header) -> None:
        """Names and shapes of a kohya file against the base; other forms are left to diffusers."""
        rows = self._table()
        for name, tensor in header.tensors.items():
            prefix, _, kind = name.partition(".")
            if not prefix.startswith(_KOHYA_STARTS):
                continue
            row = rows.get(prefix)
            if row is None:
                raise _misfit(lora, f"adapts {prefix}, which this base does not have")
            width = tensor.shape[1] if kind == "lora_down.weight" else row.in_features
            height = tensor.shape[0] if kind == "lora_up.weight" else row.out_features
            if (width, height) != (row.in_features, row.out_features):
                what = f"was made for another size: {prefix} is {width} x {height}"
                raise _misfit(lora, f"{what}, here {row.in_features} x {row.out_features}")

    def _table(self) -> Mapping[str, LoraModule]:
        pipe = self._pipe
        rows = [
            *unet_modules(dict(pipe.unet.config)),
            *text_encoder_modules(pipe.text_encoder.config.to_dict(), 1),
            *text_encoder_modules(pipe.text_encoder_2.config.to_dict(), 2),
        ]
        return {row.kohya_prefix: row for row in rows}


def _state(lora: Path) -> tuple[str, int, int]:
    """What a LoRA file looks like from outside; another one under the same name differs. Raises WeightsError."""
    if not lora.is_file():
        require_lora(lora)
    stat = lora.stat()
    return (str(lora.resolve()), stat.st_mtime_ns, stat.st_size)


def _count(component: Any, adapter: str) -> int:
    """How many modules of a component carry this LoRA."""
    return sum(adapter in getattr(module, "lora_A", {}) for module in component.modules())


def _misfit(lora: Path, what: str) -> RenderError:
    return RenderError(
        what,
        where=str(lora),
        expected="a LoRA for this base's architecture (SDXL)",
        next_command="vultus models list, or choose another checkpoint",
    )
