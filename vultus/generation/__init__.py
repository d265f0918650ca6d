"""Generation: a base, a checkpoint and a strength become renders of a panel."""

from __future__ import annotations

__all__: list[str] = []
