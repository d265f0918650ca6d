"""Randomness with a name: the same names always give the same draws, on every machine.

**Notation**: a seed is an int in [0, 2^63), the top 63 bits of the sha256 of the names' canonical
text; a stream is a `numpy.random.Generator` (PCG64) that starts from such a seed. Draw only in
the branch that uses the draw: two branches that share a stream share their luck.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from vultus.core.keys import canonical

if TYPE_CHECKING:
    import numpy as np

__all__ = ["seed_of", "stream"]


def seed_of(*names: str | int) -> int:
    """The seed that these names stand for. `("a", "b")` and `("ab",)` are different names."""
    if not names:
        raise ValueError("a seed needs at least one name")
    for name in names:
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise TypeError(f"a seed is named by strings and whole numbers, not by {name!r}")
    digest = hashlib.sha256(canonical(list(names)).encode("ascii")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(*names: str | int) -> np.random.Generator:
    """A fresh random stream with this name, at its first draw."""
    import numpy as np  # 0.1 s of import that most commands never need

    return np.random.Generator(np.random.PCG64(seed_of(*names)))
