"""LoRA files as arithmetic: what is in them, their sums, their averages.

A LoRA means the products s B A, not its factors: A and B are defined only up to a rotation, so the
average of factors is no average of LoRAs. Products are added, then brought back to a rank.

Notation
    B, A        up (out, r) and down (r, in * k * k), float64 while they are added
    s           alpha / r
    change      s B A, what the module's weight gains      (out, in * k * k)
    lost        share of the change's energy (squared norm) that a smaller rank leaves out, 0..1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vultus.core.errors import WeightsError
from vultus.core.weights import read_tensors, require_lora
from vultus.training.lora_file import alpha_tensor, cast

__all__ = ["LoraFile", "Pair", "add_loras", "read_lora", "refuse_misshapen", "tensors_of"]

Array = np.ndarray[Any, np.dtype[np.float32]]
Wide = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Pair:
    """One module's LoRA: down (r, in[, k, k]), up (out, r[, 1, 1]), and DoRA's magnitudes."""

    down: Array
    up: Array
    alpha: float
    magnitude: Array | None = None

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])

    @property
    def not_finite(self) -> int:
        """How many of its numbers are infinite or none at all."""
        arrays = [self.down, self.up, np.asarray(self.alpha)]
        arrays += [] if self.magnitude is None else [self.magnitude]
        return sum(int((~np.isfinite(array)).sum()) for array in arrays)

    def factors(self, weight: float = 1.0) -> tuple[Wide, Wide]:
        """(B, A) with weight * alpha / rank multiplied into B."""
        scale = weight * self.alpha / self.rank
        up = self.up.reshape(len(self.up), -1).astype(np.float64)
        return scale * up, self.down.reshape(self.rank, -1).astype(np.float64)


@dataclass(frozen=True)
class LoraFile:
    """A whole file: kohya prefix -> pair."""

    path: Path
    pairs: Mapping[str, Pair]
    metadata: Mapping[str, str]

    @property
    def is_dora(self) -> bool:
        return any(pair.magnitude is not None for pair in self.pairs.values())

    @property
    def not_finite(self) -> dict[str, int]:
        """The modules that hold numbers that are not finite, and how many each."""
        counts = {prefix: pair.not_finite for prefix, pair in self.pairs.items()}
        return {prefix: count for prefix, count in counts.items() if count}


def read_lora(path: Path) -> LoraFile:
    """Read a LoRA with kohya's names. Raises WeightsError for anything else."""
    header = require_lora(path)
    tensors = read_tensors(path)
    pairs = {}
    for name, down in tensors.items():
        prefix, _, end = name.partition(".")
        if end != "lora_down.weight":
            continue
        up = tensors.get(f"{prefix}.lora_up.weight")
        if up is None:
            raise WeightsError(f"has {name} and no lora_up beside it", where=str(path))
        # without an alpha loaders take the rank
        alpha = tensors.get(f"{prefix}.alpha", np.asarray(len(np.atleast_1d(down)))).reshape(-1)
        if alpha.size != 1:
            raise WeightsError(
                f"{prefix}.alpha holds {alpha.size} numbers", where=str(path), expected="one"
            )
        pairs[prefix] = Pair(
            down=down,
            up=up,
            alpha=float(alpha[0]),
            magnitude=tensors.get(f"{prefix}.dora_scale"),
        )
        refuse_misshapen(path, prefix, pairs[prefix])
    if not pairs:
        raise WeightsError(
            "is a LoRA with other names than kohya's",
            where=str(path),
            expected="names such as lora_unet_input_blocks_4_1_proj_in.lora_down.weight",
            next_command=f"vultus lora convert {path} OUT --to kohya",
        )
    return LoraFile(path, pairs, header.metadata)


def refuse_misshapen(path: Path, prefix: str, pair: Pair) -> None:
    """Raise WeightsError where a module's two factors have no product."""
    down, up = pair.down.shape, pair.up.shape
    if min(len(down), len(up)) < 2 or not 0 < down[0] == up[1]:
        shapes = f"{' x '.join(map(str, up)) or 'a number'} times {' x '.join(map(str, down)) or 'a number'}"
        raise WeightsError(
            f"{prefix} has no LoRA that can be computed: {shapes}",
            where=str(path),
            expected="two factors of one rank, 1 or more",
        )


def tensors_of(pairs: Mapping[str, Pair], precision: str) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors of a kohya file."""
    found: dict[str, np.ndarray[Any, Any]] = {}
    for prefix, pair in pairs.items():
        found[f"{prefix}.lora_down.weight"] = cast(pair.down, precision)
        found[f"{prefix}.lora_up.weight"] = cast(pair.up, precision)
        found[f"{prefix}.alpha"] = alpha_tensor(pair.alpha, precision)
        if pair.magnitude is not None:
            found[f"{prefix}.dora_scale"] = cast(pair.magnitude, precision)
    return found


def _refuse(loras: Sequence[LoraFile]) -> None:
    for lora in loras:
        if lora.is_dora:
            raise WeightsError(
                "is a DoRA: its magnitudes have no sum",
                where=str(lora.path),
                expected="plain LoRAs",
            )
    first = loras[0]
    for other in loras[1:]:
        for prefix in first.pairs.keys() & other.pairs.keys():
            one, two = first.pairs[prefix], other.pairs[prefix]
            if one.down.shape[1:] != two.down.shape[1:] or len(one.up) != len(two.up):
                raise WeightsError(
                    f"was made for another network: {prefix} has another shape",
                    where=str(other.path),
                    expected=f"a LoRA for the base of {first.path.name}",
                )


def _reduced(up: Wide, down: Wide, rank: int) -> tuple[Wide, Wide, float]:
    """The nearest product of this rank (Eckart and Young), and the share of energy it loses.

    By QR of both factors: the SVD is of a small square, never of the whole weight.
    """
    left, right = np.linalg.qr(up), np.linalg.qr(down.T)
    inner_u, sizes, inner_v = np.linalg.svd(left.R @ right.R.T)
    energy = float((sizes**2).sum())
    root = np.sqrt(sizes[:rank])
    lost = float((sizes[rank:] ** 2).sum()) / energy if energy else 0.0
    new_up = left.Q @ inner_u[:, :rank] * root
    new_down = (right.Q @ inner_v[:rank].T * root).T
    return new_up, new_down, lost


def _padded(values: Wide, rank: int, axis: int) -> Wide:
    missing = rank - values.shape[axis]
    widths = [(0, missing) if i == axis else (0, 0) for i in range(2)]
    return np.pad(values, widths) if missing > 0 else values


def add_loras(
    loras: Sequence[LoraFile], weights: Sequence[float], rank: int | None, *, own_rank: bool = False
) -> tuple[dict[str, Pair], float]:
    """The weighted sum of the LoRAs' changes, module by module; returns it and the energy lost.

    `rank` None keeps every factor (exact, ranks add up); else each module goes back to that rank. With `own_rank` never
    to more than the largest that one of the files has: a convolution's may be smaller (LoCon). A module that a file
    lacks counts as zero there.
    """
    _refuse(loras)
    summed: dict[str, Pair] = {}
    worst = 0.0
    prefixes = dict.fromkeys(prefix for lora in loras for prefix in lora.pairs)
    for prefix in prefixes:
        own = [lora.pairs[prefix] for lora in loras if prefix in lora.pairs]
        shares = [w for lora, w in zip(loras, weights, strict=True) if prefix in lora.pairs]
        factors = [pair.factors(weight) for pair, weight in zip(own, shares, strict=True)]
        up = np.concatenate([b for b, _ in factors], axis=1)
        down = np.concatenate([a for _, a in factors], axis=0)
        if rank is not None:
            ranks = [pair.rank for pair in own]
            goal = min(rank, max(ranks) if own_rank else sum(ranks))
            up, down, lost = _reduced(up, down, goal)
            up, down = _padded(up, goal, 1), _padded(down, goal, 0)
            worst = max(worst, lost)
        flat = (1,) * (own[0].down.ndim - 2)
        summed[prefix] = Pair(
            down=down.reshape(-1, *own[0].down.shape[1:]).astype(np.float32),
            up=up.reshape(len(up), -1, *flat).astype(np.float32),
            alpha=float(down.shape[0]),
        )
    return summed, worst
