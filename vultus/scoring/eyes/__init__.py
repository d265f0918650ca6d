"""Eyes: who can say how much of a prompt is in a picture.

`scene` knows the stand-in world, `clip` any picture, given the weights of a CLIP model. Their numbers have different
units and are compared with the base's only, never with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vultus.core.errors import ScoreError
from vultus.images.records import Rgb

__all__ = ["Eye", "EyeFile", "open_eye"]


@dataclass(frozen=True)
class EyeFile:
    """Which eye looks: its kind, the digest of its weights (enters keys), where they lie (does not), its unit."""

    kind: str
    digest: str
    path: Path
    unit: str

    @property
    def words(self) -> str:
        """Kind and weights, for people."""
        return f"{self.kind} {self.digest.removeprefix('sha256:')[:8]}"


class Eye(Protocol):
    """Says for each picture how much of its prompt is there; None where it cannot tell."""

    def look(self, pictures: Sequence[Rgb], prompts: Sequence[str]) -> list[float | None]: ...


def open_eye(kind: str, path: Path) -> Eye:
    """Open an eye. Raises ScoreError for one that nobody knows."""
    if kind == "scene":
        from vultus.scoring.eyes.scene import SceneEye

        return SceneEye(path)
    if kind == "clip":
        from vultus.scoring.eyes.clip import ClipEye

        return ClipEye(path)
    raise ScoreError(f"there is no eye called {kind!r}", expected="scene or clip")
