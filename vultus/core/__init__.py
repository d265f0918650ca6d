"""The cellar's floor: errors, settings, keys, files, locks, clocks, seeds, names, logs, progress.

Nothing here knows what a picture is. Every other room may import this one; it imports only the
standard library (numpy is loaded inside `seeds.stream`), so importing it costs milliseconds.
"""

from __future__ import annotations

__all__: list[str] = []
