"""Datasets: a folder of pictures becomes a frozen list of references and training pictures."""

from __future__ import annotations

__all__: list[str] = []
