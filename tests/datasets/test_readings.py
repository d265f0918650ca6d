"""Pictures are measured once: the second time they are looked up, after a kill only what is missing is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.sets import planted_library
from vultus.datasets.readings import BATCH, read_library
from vultus.datasets.records import Entry, Lineage
from vultus.faces.engines.fake import FakeEngine, fake_pack
from vultus.faces.records import FaceResult
from vultus.images.records import Rgb
from vultus.images.write import png_bytes


class Counting(FakeEngine):
    """A fake engine that counts, and may be killed."""

    def __init__(self, last: int = 10**9) -> None:
        super().__init__(fake_pack())
        self.read_pictures, self.last = 0, last

    def read_many(self, pictures: Sequence[Rgb]) -> list[FaceResult]:
        if self.read_pictures + len(pictures) > self.last:
            raise KeyboardInterrupt
        self.read_pictures += len(pictures)
        return super().read_many(pictures)


def test_what_was_measured_is_looked_up(tmp_path: Path) -> None:
    with planted_library(tmp_path) as library:
        first, second = Counting(), Counting()
        a = read_library(library, first, library.kept())
        b = read_library(library, second, library.kept())
    assert (first.read_pictures, second.read_pictures) == (24, 0)
    assert [x.name for x in a] == sorted(x.name for x in a) and len(a) == 24
    for x, y in zip(a, b, strict=True):
        assert x.emb is not None and y.emb is not None
        np.testing.assert_array_equal(x.emb, y.emb)
        assert (x.box_px, x.pose, x.bars_px) == (y.box_px, y.pose, y.bars_px)


def test_a_killed_reading_goes_on(tmp_path: Path) -> None:
    with planted_library(tmp_path) as library:
        with pytest.raises(KeyboardInterrupt):
            read_library(library, Counting(last=2 * BATCH), library.kept())
        rest = Counting()
        assert len(read_library(library, rest, library.kept())) == 24
    assert rest.read_pictures == 24 - 2 * BATCH


def test_progress_tells_remembered_ones_apart(tmp_path: Path) -> None:
    heard: list[tuple[float, bool]] = []

    def advance(n: float = 1, *, remembered: bool = False) -> None:
        heard.append((n, remembered))

    with planted_library(tmp_path) as library:
        read_library(library, Counting(), library.kept()[:8])
        read_library(library, Counting(), library.kept(), advance)
    assert sum(n for n, remembered in heard if remembered) == 8
    assert sum(n for n, remembered in heard if not remembered) == 16


def test_views_do_not_vote(tmp_path: Path) -> None:
    with planted_library(tmp_path) as library:
        parent = library.kept()[0]
        view = Entry("v.png", "", "", 8, 8, "PNG", lineage=Lineage(parent.name, "view"))
        library.derive(view, png_bytes(np.zeros((64, 64, 3), np.uint8), xmp_ai=False))
        assert len(library.kept()) == 25
        names = [r.name for r in read_library(library, Counting(), library.kept())]
    assert len(names) == 24 and "v.png" not in names
