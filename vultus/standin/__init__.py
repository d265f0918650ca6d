"""The stand-in world: a procedural renderer of people and the micro models trained on it."""

from __future__ import annotations

__all__: list[str] = []
