"""Training: a frozen dataset and a base become checkpoints of a LoRA."""

from __future__ import annotations

__all__: list[str] = []
