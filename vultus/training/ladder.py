"""What is given up, in which order, when a training does not fit into memory.

    gradient checkpointing -> batch in parts -> Prodigy by slices -> text encoders frozen -> 8-bit AdamW ->
    base in 8-bit floats

The first three change nothing that is asked for: the same pictures, noise and steps, from the last
exact state. The last three are another training (fewer modules, another optimizer, a coarser base), so they start over.
Every rung taken is written to the folder, the log and the checkpoints.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vultus.core.files import write_text
from vultus.training.records import TrainSpec

__all__ = ["RUNGS", "Rung", "apply_rungs", "next_rung", "read_rungs", "write_rungs"]

_FILE = "memory.json"


@dataclass(frozen=True)
class Rung:
    """One concession. `change` gives the spec that makes it, or None where there is nothing to gain."""

    name: str
    what: str
    change: Callable[[TrainSpec], TrainSpec | None]
    keeps_state: bool


def _checkpointing(spec: TrainSpec) -> TrainSpec | None:
    return None if spec.gradient_checkpointing else replace(spec, gradient_checkpointing=True)


def _split(spec: TrainSpec) -> TrainSpec | None:
    return replace(spec, split=min(2 * spec.split, spec.batch)) if spec.split < spec.batch else None


def _slice(spec: TrainSpec) -> TrainSpec | None:
    fits = spec.optimizer == "prodigy" and spec.slice_p == 1
    return replace(spec, slice_p=11) if fits else None


def _frozen(spec: TrainSpec) -> TrainSpec | None:
    if not spec.text_encoders:
        return None
    return replace(spec, text_encoders=False, text_learning_rate=None)


def _eight_bit(spec: TrainSpec) -> TrainSpec | None:
    return replace(spec, optimizer="adamw8bit") if spec.optimizer == "adamw" else None


def _fp8(spec: TrainSpec) -> TrainSpec | None:
    # DoRA measures the base's rows: coarser ones would be another adapter
    return replace(spec, precision="fp8") if spec.precision == "bf16" and not spec.dora else None


RUNGS = (
    Rung("checkpointing", "activations are computed again in the backward pass", _checkpointing, True),
    Rung("split", "each batch is computed in parts", _split, True),
    Rung("slice_p", "Prodigy looks at every 11th number", _slice, True),
    Rung("frozen_encoders", "the text encoders are frozen and their outputs kept", _frozen, False),
    Rung("adamw8bit", "AdamW keeps its state in 8 bits", _eight_bit, False),
    Rung("fp8_base", "the frozen UNet is kept in 8-bit floats", _fp8, False),
)  # fmt: skip


def next_rung(spec: TrainSpec) -> Rung | None:
    """The cheapest concession that is left, None at the ladder's end."""
    return next((rung for rung in RUNGS if rung.change(spec) is not None), None)


def apply_rungs(spec: TrainSpec, names: Sequence[str]) -> TrainSpec:
    """The spec after these concessions; one name may come several times."""
    rungs = {rung.name: rung for rung in RUNGS}
    for name in names:
        spec = rungs[name].change(spec) or spec
    return spec


def read_rungs(out: Path) -> list[str]:
    """The concessions that a half-done training has made."""
    try:
        found = json.loads((out / _FILE).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return []
    return [str(name) for name in found["rungs"]]


def write_rungs(out: Path, names: Sequence[str]) -> None:
    """Remember them before the next try, so that a killed process does not learn them again."""
    write_text(out / _FILE, json.dumps({"rungs": list(names)}) + "\n")
