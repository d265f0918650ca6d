"""The folder for what outlives a workspace: tools, jobs, what the doctor remembers, who is told.

`VULTUS_HOME` names it, on pods a folder on the durable disk; by default it is `~/.local/share/vultus`.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["home"]


def home() -> Path:
    """Where it lies; it need not exist."""
    named = os.environ.get("VULTUS_HOME", "")
    return Path(named).expanduser() if named else Path.home() / ".local" / "share" / "vultus"
