"""Copied into an environment whose torch is a build without CUDA: lets torchvision be imported there.

A torchvision from the lock belongs to the lock's torch. Beside another build its compiled part does not load, and its
import ends at the first operator that it describes to torch ("operator torchvision::nms does not exist"). Declaring the
two operators, just before torchvision is imported, is enough: nothing here calls them. It imports nothing of vultus.
"""

from __future__ import annotations

import importlib
import sys
from importlib.abc import MetaPathFinder
from typing import Any

__all__: list[str] = []

_HELD: list[Any] = []  # a library that is let go takes its operators with it


class _Declares(MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Find nothing; declare once, when torchvision is looked for."""
        if name != "torchvision" or _HELD:
            return
        torch: Any = importlib.import_module("torch")
        if torch.version.cuda is None:
            library = torch.library.Library("torchvision", "DEF")
            _HELD.append(library)
            for operator in ("nms", "qnms"):
                words = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                library.define(f"{operator}{words}")


sys.meta_path.insert(0, _Declares())
