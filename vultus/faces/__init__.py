"""Faces: who is in a picture, measured by a face pack (data), and how far the measurement can be
trusted."""

from __future__ import annotations

__all__: list[str] = []
