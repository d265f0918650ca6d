"""Tells a run on one self-contained page: verdict, heat map, curves, contact sheets."""

from __future__ import annotations

__all__: list[str] = []
