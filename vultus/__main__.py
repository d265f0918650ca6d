"""`python -m vultus ...` is the same as `vultus ...`."""

from __future__ import annotations

import sys

from vultus.cli.main import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
