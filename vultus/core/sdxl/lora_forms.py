"""One LoRA, two spellings: kohya's names, which UIs read, and peft's, which diffusers reads.

diffusers turns kohya's names into its own by pattern and drops every DoRA magnitude on the way, with a
warning in a log. With peft's names and the adapter's configuration beside them nothing is guessed.

Notation
    kohya       <prefix>.lora_down.weight, .lora_up.weight, .alpha, .dora_scale (out, 1)
    peft        <component>.<module>.lora_A.weight, .lora_B.weight, .lora_magnitude_vector.weight
                (out,), of convolutions (1, out, 1, 1); alpha stands in the configuration
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from vultus.core.sdxl.lora_keys import LoraModule

__all__ = ["kohya_name", "peft_config", "peft_name", "peft_shape"]

_ENDS = {
    "lora_down.weight": "lora_A.weight",
    "lora_up.weight": "lora_B.weight",
    # peft reads it with and without ".weight"; transformers, for the text encoders, only with
    "dora_scale": "lora_magnitude_vector.weight",
}


def peft_name(row: LoraModule, end: str) -> str:
    """The peft name of a kohya tensor; `end` is what follows the prefix."""
    return f"{row.component}.{row.module}.{_ENDS[end]}"


def kohya_name(name: str, rows: Mapping[str, LoraModule]) -> str | None:
    """The kohya name of a peft tensor; `rows` by "component.module". None when there is none."""
    for end, peft_end in (*_ENDS.items(), ("dora_scale", "lora_magnitude_vector")):
        module = name.removesuffix(f".{peft_end}")
        if module != name and module in rows:
            return f"{rows[module].kohya_prefix}.{end}"
    return None


def peft_shape(row: LoraModule, outputs: int) -> tuple[int, ...]:
    """The shape of DoRA's magnitudes in peft."""
    return (outputs,) if row.kind == "linear" else (1, outputs, 1, 1)


def peft_config(
    rows: Iterable[LoraModule], scales: Mapping[str, tuple[int, float]], *, dora: bool
) -> dict[str, Any]:
    """The adapter's configuration as diffusers stores it: peft.LoraConfig's arguments, by component.

    `scales` is (rank, alpha) by kohya prefix. Names are without the `text_model.` that transformers
    5.6 dropped from the first encoder: peft matches ends of names.
    """
    parts: dict[str, dict[str, tuple[int, float]]] = {}
    for row in rows:
        module = row.module
        if row.component != "unet":
            module = module.removeprefix("text_model.")
        parts.setdefault(row.component, {})[module] = scales[row.kohya_prefix]
    config: dict[str, Any] = {}
    for component, modules in parts.items():
        (rank, alpha), _ = Counter(modules.values()).most_common(1)[0]
        entries: dict[str, Any] = {
            "r": rank,
            "lora_alpha": alpha,
            "rank_pattern": {m: r for m, (r, _) in modules.items() if r != rank},
            "alpha_pattern": {m: a for m, (_, a) in modules.items() if a != alpha},
            "target_modules": sorted(modules),
            "use_dora": dora,
        }
        config |= {f"{component}.{key}": value for key, value in entries.items()}
    return config
