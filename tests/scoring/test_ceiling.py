"""The ceiling says how much likeness is left, counts faces that were lost, and knows its luck."""

from __future__ import annotations

import json
import math

import pytest

from vultus.scoring.ceiling import CeilingRow, ceiling_row, widths_for


def test_a_perfect_codec_leaves_everything_and_a_lost_face_counts_as_nothing() -> None:
    own = [0.6, 0.7, 0.65, 0.7]
    whole = ceiling_row(64, own, own, own)
    assert whole.share.value == pytest.approx(1.0) and whole.small == pytest.approx(1.0)
    assert whole.share.half_width == pytest.approx(0.0, abs=1e-9)
    assert (whole.found, whole.tried) == (4, 4) and "face found" not in whole.words
    lost = ceiling_row(16, own, own, [0.3, math.nan, 0.3, 0.3])
    assert lost.share.value == pytest.approx(0.9 / 2.65)
    assert (lost.found, lost.tried) == (3, 4) and "face found in 3 of 4" in lost.words
    assert lost.share.low < lost.share.value < lost.share.high


def test_a_row_survives_json_and_one_picture_has_no_interval() -> None:
    row = ceiling_row(32, [0.5], [0.4], [0.25])
    assert not row.share.bounded and row.share.value == 0.5 and row.small == 0.8
    assert CeilingRow.from_json(json.loads(json.dumps(row.to_json()))) == row
    with pytest.raises(ValueError, match="not of the same pictures"):
        ceiling_row(32, [0.5], [0.4], [])


def test_widths_grow_with_the_render() -> None:
    assert widths_for(1024) == (64, 128, 192, 256, 384, 512, 768)
    assert list(widths_for(128)) == sorted(set(widths_for(128)))
