"""Foreign tools (kohya's trainer, ComfyUI) in environments of their own, and what is installed where.

`installed` reads and checks packages, `recipes` says what a tool is made from, `build` makes its environment,
`places` finds it again.
"""

from __future__ import annotations

__all__: list[str] = []
