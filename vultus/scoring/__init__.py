"""Scores renders against held-out references on the anchored 0 to 10 scale."""

from __future__ import annotations

__all__: list[str] = []
