"""Command lines that outlive their terminal, and who may use the graphics card meanwhile."""

from __future__ import annotations

__all__: list[str] = []
