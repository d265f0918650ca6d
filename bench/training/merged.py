"""Exported files, loaded elsewhere and merged: how far from the trained weights, in fp32."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tests.training.test_merged import DORA, SETS, relative_differences
from tests.training.tiny_base import write_tiny_base


def merged_differences() -> dict[str, Any]:
    """Largest |merged - trained| / |trained| of any module, by what was trained."""
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = write_tiny_base(folder / "base")
        for arm, spec in {**SETS, "dora": DORA}.items():
            wrong = relative_differences(base, spec, folder / f"{len(told)}.safetensors")
            told[arm] = {"modules": len(wrong), "largest": float(f"{max(wrong.values()):.2e}")}
    return told
