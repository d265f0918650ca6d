"""Where a piece of work was done: recorded beside every result, and no part of its key.

Two results from different places may be compared, and the verdict then says so. Nothing heavy is
imported: versions and files are read from the packages' own records (0.1 s; once per process). The
named versions are for people; `installed files` covers every file of every installed package.
"""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from vultus.tools.installed import packages_digest, sites

__all__ = ["PACKAGES", "fingerprint", "here"]

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
    found["installed files"] = packages_digest(sites())[:16]
    found.update(_graphics())
    return found


def here() -> dict[str, str]:
    """The environment of this process, found out once."""
    if not _HERE:
        _HERE.update(fingerprint())
    return dict(_HERE)


_HERE: dict[str, str] = {}


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
