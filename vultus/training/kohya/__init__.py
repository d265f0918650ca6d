"""Kohya's sd-scripts as a trainer: another program, in its own environment, asked the same and read back."""

from __future__ import annotations

__all__: list[str] = []
