"""Where a piece of work was done: recorded beside every result, and no part of its key.

Two results from different places may be compared, and the verdict then says so. Nothing heavy is
imported: versions are read from the packages' own records.
"""

from __future__ import annotations

import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path

from vultus.core.keys import canonical

__all__ = ["PACKAGES", "digest_of", "fingerprint"]

PACKAGES = (
    "vultus",
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "accelerate",
    "safetensors",
    "onnxruntime",
    "opencv-python-headless",
    "numpy",
    "pillow",
    "prodigyopt",
)
_GPU_FOLDER = Path("/proc/driver/nvidia")


def fingerprint() -> dict[str, str]:
    """What may change the bytes of a result: machine, Python, libraries, threads, graphics card."""
    found = {
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": str(os.cpu_count() or 0),
        "python": platform.python_version(),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
    }
    for package in PACKAGES:
        try:
            found[f"package {package}"] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    found.update(_graphics())
    return found


def digest_of(environment: dict[str, str]) -> str:
    """A short name of an environment: equal places have equal names."""
    return hashlib.sha256(canonical(environment).encode("ascii")).hexdigest()[:16]


def _processor() -> str:
    for line in _lines(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _graphics() -> dict[str, str]:
    """NVIDIA's driver and cards as the kernel tells them; empty where there are none."""
    found: dict[str, str] = {}
    for line in _lines(_GPU_FOLDER / "version")[:1]:
        found["driver"] = line.partition(":")[2].strip() or line
    for i, card in enumerate(sorted(_GPU_FOLDER.glob("gpus/*/information"))):
        for line in _lines(card):
            if line.startswith("Model:"):
                found[f"gpu {i}"] = line.partition(":")[2].strip()
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
