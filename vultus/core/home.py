"""The folder for what outlives a workspace: jobs, tools, model files, settings, what the doctor remembers, who is told.

`VULTUS_HOME` names it, on pods a folder on the durable disk; by default it is `$XDG_DATA_HOME/vultus`, which is
`~/.local/share/vultus` where nobody set that variable.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["home"]


def home() -> Path:
    """Where it lies, as an absolute path; it need not exist."""
    named = os.environ.get("VULTUS_HOME", "")
    if named:
        return Path(named).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME", "")
    return (Path(data) if data else Path.home() / ".local" / "share").absolute() / "vultus"
