"""What `vultus lora` does with files: inspect, convert, add up, average."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vultus.core.errors import WeightsError
from vultus.core.sdxl.architecture import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from vultus.core.sdxl.lora_forms import kohya_name, peft_config, peft_name, peft_shape
from vultus.core.sdxl.lora_keys import LoraModule, text_encoder_modules, unet_modules
from vultus.core.weights import read_tensors, require_base, require_lora
from vultus.training.lora_arithmetic import (
    LoraFile,
    Pair,
    add_loras,
    read_lora,
    refuse_misshapen,
    tensors_of,
)
from vultus.training.lora_file import LOADERS_NEED, RECOGNISERS_KEY, cast, write_lora

__all__ = ["convert_lora", "inspect_lora", "sum_loras"]

RANK_MAX = 4096

_CONFIG_KEY = "lora_adapter_metadata"
"""Where diffusers keeps peft's configuration in a file."""


def _kind(pair: Pair) -> str:
    if pair.down.ndim == 2:
        return "linear"
    return f"conv{pair.down.shape[-1]}x{pair.down.shape[-1]}"


def _norm(pair: Pair) -> float:
    """Frobenius norm of the change, by the small side: |B A|^2 = sum of (B^T B) * (A A^T)."""
    up, down = pair.factors()
    return float(np.sqrt(max(0.0, float(((up.T @ up) * (down @ down.T)).sum()))))


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in sorted(set(values)))


def inspect_lora(path: Path) -> dict[str, Any]:
    """Everything about a LoRA file that its numbers tell."""
    lora = read_lora(path)
    groups: dict[tuple[str, str], list[Pair]] = {}
    for prefix, pair in lora.pairs.items():
        network = prefix.split("_")[1]
        groups.setdefault((network, _kind(pair)), []).append(pair)
    told = []
    for (network, kind), pairs in groups.items():
        norms = [_norm(pair) for pair in pairs if not pair.not_finite]
        told.append(
            {
                "network": network,
                "kind": kind,
                "modules": len(pairs),
                "ranks": _listed([pair.rank for pair in pairs]),
                "alphas": _listed([pair.alpha for pair in pairs]),
                "mean_norm": float(np.mean(norms)) if norms else None,
                "not_finite": len(pairs) - len(norms),
                "zero": sum(norm == 0.0 for norm in norms),
            }
        )
    return {
        "path": str(path),
        "modules": len(lora.pairs),
        "parameters": sum(pair.down.size + pair.up.size for pair in lora.pairs.values()),
        "dora": lora.is_dora,
        "not_finite": lora.not_finite,
        "groups": told,
        "metadata": dict(sorted(lora.metadata.items())),
    }


def _rows(base: Path | None) -> list[LoraModule]:
    """The key table of a base; SDXL's own where none is given."""
    configs: list[Mapping[str, Any]] = [UNET, TEXT_ENCODER, TEXT_ENCODER_2]
    if base is not None and require_base(base) == "folder":
        names = ("unet", "text_encoder", "text_encoder_2")
        configs = [json.loads((base / n / "config.json").read_text("utf-8")) for n in names]
    return [
        *unet_modules(configs[0]),
        *text_encoder_modules(configs[1], 1),
        *text_encoder_modules(configs[2], 2),
    ]


def _unknown(path: Path, name: str) -> WeightsError:
    return WeightsError(
        f"adapts {name}, which is not in the key table",
        where=str(path),
        expected="a LoRA for SDXL's own shape, or --base with the base it was made for",
    )


def _from_peft(path: Path, rows: Sequence[LoraModule]) -> LoraFile:
    """Read a LoRA with peft's names, as diffusers writes it."""
    header = require_lora(path)
    config = json.loads(header.metadata.get(_CONFIG_KEY, "{}"))
    modules = {f"{row.component}.{row.module}": row for row in rows}
    found: dict[str, dict[str, Any]] = {}
    for name, values in read_tensors(path).items():
        kohya = kohya_name(name, modules)
        if kohya is None:
            raise _unknown(path, name)
        prefix, _, end = kohya.partition(".")
        found.setdefault(prefix, {})[end] = values
    by_prefix = {row.kohya_prefix: row for row in rows}
    pairs = {}
    for prefix, tensors in found.items():
        down, up = tensors.get("lora_down.weight"), tensors.get("lora_up.weight")
        row = by_prefix[prefix]
        if down is None or up is None:
            raise WeightsError(f"has one half of {row.module}, not the other", where=str(path))
        magnitude = tensors.get("dora_scale")
        if magnitude is not None:
            magnitude = magnitude.reshape(len(up), *(1,) * (down.ndim - 1))
        pairs[prefix] = Pair(down, up, _alpha(config, row, down.shape[0]), magnitude)
        refuse_misshapen(path, row.module, pairs[prefix])
    return LoraFile(path, pairs, {k: v for k, v in header.metadata.items() if k != _CONFIG_KEY})


def _alpha(config: Mapping[str, Any], row: LoraModule, rank: int) -> float:
    part = row.component
    # peft matches ends of names, and so must we
    for name, alpha in config.get(f"{part}.alpha_pattern", {}).items():
        if row.module == name or row.module.endswith(f".{name}"):
            return float(alpha)
    return float(config.get(f"{part}.lora_alpha", rank))


def _peft_tensors(
    lora: LoraFile, rows: Sequence[LoraModule], precision: str
) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    by_prefix = {row.kohya_prefix: row for row in rows}
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    for prefix, pair in lora.pairs.items():
        row = by_prefix.get(prefix)
        if row is None:
            raise _unknown(lora.path, prefix)
        tensors[peft_name(row, "lora_down.weight")] = cast(pair.down, precision)
        tensors[peft_name(row, "lora_up.weight")] = cast(pair.up, precision)
        if pair.magnitude is not None:
            flat = pair.magnitude.reshape(peft_shape(row, pair.magnitude.size))
            tensors[peft_name(row, "dora_scale")] = cast(flat, precision)
    scales = {prefix: (pair.rank, pair.alpha) for prefix, pair in lora.pairs.items()}
    return tensors, peft_config([by_prefix[p] for p in scales], scales, dora=lora.is_dora)


def convert_lora(
    path: Path, out: Path, *, to: str, precision: str, private: bool, base: Path | None
) -> int:
    """Write a LoRA again under other names; returns the number of tensors."""
    rows = _rows(base)
    is_kohya = any(name.endswith(".lora_down.weight") for name in require_lora(path).tensors)
    lora = read_lora(path) if is_kohya else _from_peft(path, rows)
    _refuse_not_finite(lora)
    metadata = dict(lora.metadata)
    if private:
        kept = (*LOADERS_NEED, RECOGNISERS_KEY)
        metadata = {key: metadata[key] for key in kept if key in metadata}
    if to == "kohya":
        tensors = tensors_of(lora.pairs, precision)
    else:
        tensors, config = _peft_tensors(lora, rows, precision)
        metadata[_CONFIG_KEY] = json.dumps(config, sort_keys=True)
    _write(out, tensors, metadata, precision)
    return len(tensors)


def _refuse_not_finite(lora: LoraFile) -> None:
    bad = lora.not_finite
    if bad:
        raise WeightsError(
            f"holds {sum(bad.values())} numbers that are not finite, in {len(bad)} of {len(lora.pairs)} modules",
            where=str(lora.path),
            expected="a LoRA whose numbers are finite",
            next_command=f"vultus lora inspect {lora.path} names the modules; take another checkpoint",
        )


def _write(
    out: Path,
    tensors: Mapping[str, np.ndarray[Any, Any]],
    metadata: Mapping[str, str],
    precision: str,
) -> None:
    """Write numbers that were finite before they were cast."""
    for name, values in tensors.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise WeightsError(
                f"{name} is beyond the range of {precision}",
                where=str(out),
                expected="numbers that the precision holds",
                next_command="give --precision fp32, or smaller weights",
            )
    write_lora(out, tensors, metadata)


def _refuse_unfit(n_files: int, weights: Sequence[float] | None, rank: int | None) -> None:
    if rank is not None and not 1 <= rank <= RANK_MAX:
        raise WeightsError(
            f"--rank {rank} is outside 1..{RANK_MAX}", next_command="give --rank 8, or leave it out"
        )
    if weights is None:
        return
    if len(weights) != n_files:
        raise WeightsError(
            f"{n_files} files and {len(weights)} weights", expected="one weight for each file"
        )
    odd = [f"{weight:g}" for weight in weights if not np.isfinite(weight)]
    if odd:
        raise WeightsError(
            f"--weights {' '.join(odd)}: not finite", expected="one finite number for each file"
        )


def sum_loras(
    paths: Sequence[Path],
    out: Path,
    *,
    weights: Sequence[float] | None,
    rank: int | None,
    precision: str,
) -> dict[str, Any]:
    """Add LoRAs up (with `weights`) or average them (None: 1 / n each, back to the first's rank)."""
    _refuse_unfit(len(paths), weights, rank)
    loras = [read_lora(path) for path in paths]
    for lora in loras:
        _refuse_not_finite(lora)
    if weights is None:
        shares = [1.0 / len(loras)] * len(loras)
        rank = rank or max(pair.rank for pair in loras[0].pairs.values())
    else:
        shares = list(weights)
    pairs, lost = add_loras(loras, shares, rank, own_rank=weights is None)
    # what the result is stays true; how one of its parts was trained does not
    metadata = {k: v for k, v in loras[0].metadata.items() if k in LOADERS_NEED}
    top = max(pair.rank for pair in pairs.values())
    taught = {
        name.strip()
        for lora in loras
        for name in lora.metadata.get(RECOGNISERS_KEY, "").split(",")
        if name.strip()
    }
    if taught:  # whoever taught one of the parts taught the sum
        metadata[RECOGNISERS_KEY] = ",".join(sorted(taught))
    metadata |= {
        "ss_network_alpha": repr(float(top)),
        "ss_network_dim": str(top),
        "vultus.made_from": f"{'average' if weights is None else 'sum'} of {len(loras)} files",
    }
    _write(out, tensors_of(pairs, precision), metadata, precision)
    return {"path": str(out), "modules": len(pairs), "rank": top, "lost": lost}
