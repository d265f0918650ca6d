"""Engines: the only files of this room that load face nets.

`open_engine(pack)` looks at the pack's detector kind and returns a `FaceEngine`. Nothing heavy is
imported before that.
"""

from __future__ import annotations

from vultus.faces.packs import Pack
from vultus.faces.records import FaceEngine

__all__ = ["open_engine"]


def open_engine(pack: Pack, *, threads: int = 1) -> FaceEngine:
    """An engine for this pack. `threads` is how many pictures `read_many` reads side by side.

    One is the default because runs use one process per core; every net works with one thread, so
    two threads read two pictures instead of sharing one. Engines are not shared between threads:
    open one each.
    """
    if pack.detector.kind == "fake":
        from vultus.faces.engines.fake import open_fake_engine

        return open_fake_engine(pack)
    from vultus.faces.engines.reader import open_reader

    return open_reader(pack, threads=threads)
