"""Kind `average`: the last checkpoints of a training become one more candidate.

    inputs   loras (content ids of the checkpoints, by step), precision
    files    lora000, lora001, ... in the same order
    outputs  average.safetensors

The products B A are averaged and brought back to the rank (`training.lora_arithmetic`), never the factors. One step
of the optimizer jumps about the minimum, the mean of several lies nearer to it (Izmailov et al., "Averaging Weights
Leads to Wider Optima and Better Generalization", 2018); whether a face gains by it is for the sweep to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vultus.steps.table import Job
from vultus.training.lora_tools import sum_loras

AVERAGE = "average.safetensors"

__all__ = ["AVERAGE", "work"]


def work(job: Job) -> Mapping[str, Path]:
    """Average the LoRAs."""
    out = job.scratch / AVERAGE
    paths = [path for _, path in sorted(job.files.items())]
    sum_loras(paths, out, weights=None, rank=None, precision=str(job.inputs["precision"]))
    job.advance(1)
    return {AVERAGE: out}
