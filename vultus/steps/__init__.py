"""Units of work that are asked for by meaning, done once, and remembered.

`step` is the request, `run` does it or looks it up, `environment` says where it was done,
`pools` say how many at a time, and `table` lists every kind of work there is.
"""

from __future__ import annotations

__all__: list[str] = []
