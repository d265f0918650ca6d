"""The workspace's memory: an append-only ledger and the files it speaks of."""

from __future__ import annotations

__all__: list[str] = []
