"""Studies: the question a user asks, answered by steps that the ledger remembers."""

from __future__ import annotations

__all__: list[str] = []
