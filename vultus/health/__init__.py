"""What of this machine is ready: checks that look, tell one remedy each, and never raise.

`findings` is what a check tells; `machine`, `cards`, `packages`, `checkout` and `weights` look.
"""

from __future__ import annotations

__all__: list[str] = []
