"""What each kind of work does: thin functions from a job's inputs to files in its scratch folder."""

from __future__ import annotations

__all__: list[str] = []
