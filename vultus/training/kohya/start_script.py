"""Started by the *tool's* interpreter, not by ours: runs kohya's script as if it had been called itself.

    python start_script.py CHECKOUT SCRIPT ARGUMENTS...

It dies with its parent, whatever killed that; it imports nothing of vultus.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from pathlib import Path

__all__: list[str] = []


def _die_with_parent() -> None:
    import ctypes

    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, Linux
    except (OSError, AttributeError):
        return
    if os.getppid() == 1:
        os._exit(1)


def main() -> None:
    """Run the script."""
    _die_with_parent()
    checkout, script, *words = sys.argv[1:]
    os.chdir(checkout)
    sys.path[0] = checkout
    sys.argv = [script, *words]
    runpy.run_path(str(Path(checkout) / script), run_name="__main__")


if __name__ == "__main__":
    main()
