"""What each foreign tool is made from: source, commit, digest, and the lock of its packages with hashes."""

from __future__ import annotations

__all__: list[str] = []
