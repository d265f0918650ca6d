"""The command line: one thin file per noun; `main` finds it, `wording` gives it its manners."""

from __future__ import annotations

__all__: list[str] = []
