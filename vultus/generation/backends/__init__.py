"""Ways to render: diffusers, and a fake with a planted truth."""

from __future__ import annotations

__all__: list[str] = []
