"""The file that lets a lock's torchvision be imported beside a torch without CUDA."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vultus.tools import torchvision_operators

TORCH = """
class version: cuda = {cuda}
declared = []
class library:
    class Library:
        def __init__(self, name, kind): self.name = name
        def define(self, words): declared.append(f"{{self.name}}::{{words.partition('(')[0]}}")
"""
PROGRAM = "import torchvision, torchvision.ops, torch; print(sorted(torch.declared))"


@pytest.mark.parametrize(
    ("cuda", "told"),
    [("None", "['torchvision::nms', 'torchvision::qnms']"), ("'13.0'", "[]")],
)
def test_operators_are_declared_once_and_only_without_cuda(
    tmp_path: Path, cuda: str, told: str
) -> None:
    (tmp_path / "torch.py").write_text(TORCH.format(cuda=cuda))
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("")
    (tmp_path / "torchvision" / "ops.py").write_text("")
    shutil.copyfile(str(torchvision_operators.__file__), tmp_path / "finder.py")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import finder; {PROGRAM}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == told
