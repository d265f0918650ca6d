"""Telling a person who is not there how a job ended: `records` says what is told, `send` tells it."""

from __future__ import annotations

__all__: list[str] = []
