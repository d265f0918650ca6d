"""The house's own trainer: one recipe, read top to bottom in `recipe.py`."""

from __future__ import annotations

__all__: list[str] = []
