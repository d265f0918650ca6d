"""What SDXL is, as constants: its configurations, its tokenizer, the names of its LoRA modules.

Training and rendering both need these facts and may not import each other, so the facts live in
the cellar. Nothing here imports torch.
"""

from __future__ import annotations

__all__: list[str] = []
