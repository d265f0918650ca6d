"""For tests, ours and those of third parties: exams for implementations, and a world whose truth is planted."""

from __future__ import annotations

__all__: list[str] = []
