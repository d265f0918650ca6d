"""Writes a benchmark's figures with what they depend on: machine, commit, and whether the tree was clean.

    from bench.record import record
    record("standin", {"recogniser_a": {"tar_at_fmr_1e-3": 0.97, "identities": 60}}, seconds=812.0)

A result from a tree with uncommitted changes says so (`clean: false`); only clean ones may be quoted.
Benchmarks are started as modules from the root: `python -m bench.standin.measure`.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "machine", "record", "tree"]

RESULTS = Path(__file__).resolve().parent / "results"


def record(name: str, figures: Mapping[str, Any], *, seconds: float) -> Path:
    """Write bench/results/<name>.json and return its path."""
    whole = {
        "name": name,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        **tree(),
        "machine": machine(),
        "seconds": round(seconds, 1),
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def tree() -> dict[str, Any]:
    """Return the commit, and whether the tree holds nothing but that commit (results aside)."""
    root = RESULTS.parents[1]

    def git(*words: str) -> str | None:
        done = subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else None

    changed = git("status", "--porcelain", "--", ".", ":!bench/results")
    return {"commit": git("rev-parse", "HEAD"), "clean": changed == ""}


def machine() -> dict[str, Any]:
    """Return what a time depends on; no name and no path of the machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ("torch", "diffusers", "transformers", "onnxruntime", "numpy")
    return {
        "processor": _processor(),
        "cores": cores,
        "memory_gib": round(memory_gib, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in libraries},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
