"""Sweeps: which cells (base x checkpoint x strength) to render next, and which one to choose."""

from __future__ import annotations

__all__: list[str] = []
