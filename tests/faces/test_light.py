"""Importing this room touches no heavy library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_importing_records_packs_and_pictures_loads_nothing_heavy() -> None:
    rooms = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for room in ("vultus/images", "vultus/faces")
        for path in sorted((ROOT / room).glob("*.py"))
        if path.name != "__init__.py"
    ]
    assert len(rooms) >= 10
    heavy = ("cv2", "PIL", "onnxruntime", "torch", "scipy", "sqlite3")
    code = (
        f"import importlib, sys\nfor name in {[*rooms, 'vultus.faces.engines']!r}:\n"
        "    importlib.import_module(name)\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
