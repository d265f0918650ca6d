"""Pictures: safe loading, fingerprints, matching, sharpness, geometry, and writing with
provenance."""

from __future__ import annotations

__all__: list[str] = []
