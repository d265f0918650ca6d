"""The window of a picture that a bucket sees lies inside the picture, whatever its size."""

from __future__ import annotations

import numpy as np
from PIL import Image

from vultus.training.native.data import window_of

BUCKETS = ((64, 64), (96, 160), (128, 128), (1024, 1024), (832, 1216))


def test_no_window_leaves_its_box() -> None:
    seen = rounded_out = 0
    for width in range(16, 400):
        for height in (width, width + 1, width * 2 // 3 + 1):
            for size in BUCKETS:
                left, top, right, bottom, scale = window_of((0, 0, width, height), size)
                assert 0 <= left < right <= width and 0 <= top < bottom <= height
                assert abs((right - left) * scale - size[0]) < 1e-6
                assert abs((bottom - top) * scale - size[1]) < 1e-6
                naive = min((width - size[0] / scale) / 2, (height - size[1] / scale) / 2)
                rounded_out += naive < 0
                seen += 1
    assert seen == 384 * 3 * len(BUCKETS)
    assert rounded_out > 100, "the sizes whose division rounds up were among them"


def test_pillow_takes_the_window() -> None:
    picture = Image.fromarray(np.zeros((399, 399, 3), np.uint8))
    done = 0
    for side in range(16, 400):
        left, top, right, bottom, _ = window_of((0, 0, side, side), (64, 64))
        part = picture.crop((0, 0, side, side))
        assert part.resize((64, 64), box=(left, top, right, bottom)).size == (64, 64)
        done += 1
    assert done == 384
