"""Other tools on the same edited copies and the same negatives, in an environment of their own.

imagehash, pdqhash, cleanvision and imagededup (PHash) at their customary cuts. They are installed by uv into a cache
folder, pinned, and run as a separate process; a tool that cannot be installed here is told and left out, loudly.
imagededup's CNN needs weights from a hub, torch and torchvision: it is left out, told as a row of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from itertools import combinations
from pathlib import Path
from typing import Any

from bench.curation.edits import EDITS, edit
from bench.curation.material import bases, negatives
from vultus.core.seeds import stream
from vultus.images.write import save_png
from vultus.tools.build import find_uv

__all__ = ["PINS", "measure_peers"]

PINS = {
    "imagehash": ["imagehash==4.3.2"],
    "pdqhash": ["pdqhash==0.2.8", "numpy==2.4.6", "pillow==13.0.0"],
    "cleanvision": ["cleanvision==0.3.7"],
    "imagededup": ["imagededup==0.3.3"],
}
NEVER = ("torch", "torchvision")
"""imagededup declares them, gigabytes that its hash does not use: they are overridden by nothing."""
INSTALL_S = 300


def measure_peers(half: int = 1, every: int = 4) -> dict[str, Any]:
    """Recall over all edits and false positives, per tool; every fourth base, as a part of the recall table."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        task = _write(root, half, every)
        rows = {}
        for tool, pins in PINS.items():
            python, why = _environment(tool, pins)
            if python is None:
                print(f"peers: {tool} is left out: {why}", file=sys.stderr)
                rows[tool] = {"left_out": why}
                continue
            done = subprocess.run(
                [python, str(Path(__file__).with_name("peers_run.py")), tool, str(task)],
                capture_output=True,
                text=True,
                check=False,
            )
            found = done.stdout.strip().splitlines()
            last = done.stderr.strip().splitlines()[-1:] or ["no output"]
            rows[tool] = (
                json.loads(found[-1]) if done.returncode == 0 and found else {"left_out": last[0]}
            )
    rows["imagededup CNN"] = {"left_out": "its weights lie on a hub, which no benchmark asks"}
    return {"half": half, "copies": len(bases(half, every)) * len(EDITS), "tools": rows}


def _write(root: Path, half: int, every: int) -> Path:
    """Write the pictures and the list of pairs that the tools are asked about."""
    positives: list[list[str]] = []
    for n, base in enumerate(bases(half, every)):
        save_png(root / f"{n:03d}.png", base.rgb, xmp_ai=False)
        for k, kind in enumerate(EDITS):
            name = f"{n:03d}-{k:02d}.png"
            save_png(
                root / name,
                edit(kind, base.rgb, stream("bench", "edit", base.name, kind)),
                xmp_ai=False,
            )
            positives.append([f"{n:03d}.png", name, kind])
    false: list[list[str]] = []
    for source, group in negatives(half).items():
        if source == "standin":
            group = group[::4]
        names = []
        for n, base in enumerate(group):
            names.append(f"{source}-{n:03d}.png")
            save_png(root / names[-1], base.rgb, xmp_ai=False)
        false += [[a, b] for a, b in combinations(names, 2)]
    path = root / "task.json"
    path.write_text(json.dumps({"folder": str(root), "positives": positives, "negatives": false}))
    return path


def _environment(tool: str, pins: list[str]) -> tuple[str | None, str]:
    """A virtual environment with the tool, made once in the user's cache."""
    uv = find_uv()
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vultus-bench" / tool
    python = home / "bin" / "python"
    ready = home / "ready"
    if ready.is_file() and ready.read_text(encoding="utf-8") == " ".join(pins):
        return str(python), ""
    try:
        subprocess.run(
            [uv, "venv", "-q", "--clear", "--python", sys.executable, str(home)],
            check=True,
            capture_output=True,
        )
        never = home / "never.txt"
        never.write_text("".join(f"{one}; python_version < '3'\n" for one in NEVER))
        subprocess.run(
            [uv, "pip", "install", "-q", "--python", str(python), "--override", str(never), *pins],
            check=True,
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
        )
    except (OSError, subprocess.SubprocessError) as fault:
        told = getattr(fault, "stderr", None) or str(fault)
        return None, " ".join(str(told).split())[-200:]
    ready.write_text(" ".join(pins), encoding="utf-8")
    return str(python), ""
