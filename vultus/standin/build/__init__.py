"""How the stand-in world's micro models are made, from the renderer's pictures to the shipped files."""

from __future__ import annotations

__all__: list[str] = []
