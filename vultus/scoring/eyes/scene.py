"""The eye of the stand-in world: its scene oracle knows framing, hat, glasses and dyed hair.

Notation
    small    pictures, shrunk          float32 (n, 3, 64, 64), RGB in -1..1
    logits   framing x 3, hat, glasses, dye; above 0 = worn     float32 (n, 6)
    obeyed   share of {framing, hat, glasses, dye} that is as the prompt says; a framing it does not name is not asked
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vultus.images.geometry import resize
from vultus.images.records import Rgb

__all__ = ["SceneEye", "asked_of"]

FRAMINGS = ("close-up", "half body", "full body")
WORN = (" hat", "glasses", "dyed ")
SIDE_PX = 64


class SceneEye:
    """Reads a picture's circumstances with the oracle's ONNX file."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def look(self, pictures: Sequence[Rgb], prompts: Sequence[str]) -> list[float | None]:
        """Share of what each prompt asks for that is in its picture."""
        if not pictures:
            return []
        small = np.stack([resize(rgb, SIDE_PX, SIDE_PX) for rgb in pictures])
        x = small.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1.0
        (logits,) = self._session.run(["logits"], {"small": x})
        return [
            _share(np.asarray(row), *asked_of(prompt))
            for row, prompt in zip(logits, prompts, strict=True)
        ]


def asked_of(prompt: str) -> tuple[int | None, tuple[bool, ...]]:
    """Which framing a prompt names (None when it names none), and what it wants to be worn."""
    text = f" {prompt.lower()}"
    framing = next((i for i, name in enumerate(FRAMINGS) if name in text), None)
    return framing, tuple(word in text for word in WORN)


def _share(logits: np.ndarray, framing: int | None, worn: tuple[bool, ...]) -> float:
    told = [bool(seen > 0) == wanted for seen, wanted in zip(logits[3:], worn, strict=True)]
    if framing is not None:
        told.append(int(logits[:3].argmax()) == framing)
    return float(np.mean(told))
