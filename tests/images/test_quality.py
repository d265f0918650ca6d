"""Sharpness falls with blur, not with size or contrast."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.images.scenes import scene
from vultus.core.errors import PictureError
from vultus.images.geometry import resize
from vultus.images.quality import laplacian_p90, sharpness


def blurred(rgb: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma)) if sigma else rgb


def test_more_blur_is_less_sharp() -> None:
    falls = 0
    for name in ("a", "b", "c", "d", "e", "f"):
        picture = scene(name)
        steps = [sharpness(blurred(picture, s)) for s in (0.0, 1.0, 2.0, 4.0)]
        tiles = [laplacian_p90(blurred(picture, s)) for s in (0.0, 1.0, 2.0, 4.0)]
        assert steps == sorted(steps, reverse=True) and steps[0] > 1.4 * steps[2]
        assert tiles == sorted(tiles, reverse=True)
        falls += 1
    assert falls == 6


def test_contrast_and_brightness_do_not_count() -> None:
    picture = scene("contrast")
    dim = (picture // 2 + 40).astype(np.uint8)
    assert sharpness(dim) == pytest.approx(sharpness(picture), abs=0.02)
    assert laplacian_p90(dim) < 0.4 * laplacian_p90(picture)


def test_a_large_scan_and_its_working_copy_agree() -> None:
    large = scene("large", 1536, 1152)
    assert sharpness(large) == pytest.approx(sharpness(resize(large, 512, 384)), abs=0.005)


def test_only_the_box_counts() -> None:
    picture = scene("box")
    half = picture.copy()
    half[:, :160] = blurred(picture, 4.0)[:, :160]
    assert sharpness(half, (0, 0, 150, 240)) < 0.7 * sharpness(half, (170, 0, 320, 240))
    assert sharpness(half, (170.0, -50.0, 900.0, 400.0)) > 0.2  # clipped to the picture


def test_flat_is_not_sharp_and_nothing_is_an_error() -> None:
    assert sharpness(np.full((50, 50, 3), 99, np.uint8)) == 0.0
    assert laplacian_p90(np.full((50, 50, 3), 99, np.uint8)) == 0.0
    with pytest.raises(PictureError, match="covers nothing"):
        sharpness(scene("a"), (400, 10, 500, 20))
