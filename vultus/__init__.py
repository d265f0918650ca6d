"""Vultus: a folder of pictures of one persona becomes an SDXL LoRA whose face match is measured."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
