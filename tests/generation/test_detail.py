"""The second pass: only the window changes, its seam fades, and drawing again stays near what was there."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.core.seeds import stream
from vultus.generation.backends.diffusers_backend import open_renderer
from vultus.generation.detail import cut_window, face_window, paste_window
from vultus.generation.records import Redraw, Redrawer, RenderRequest, RenderSpec
from vultus.studies.bases import packaged_base

SPEC = RenderSpec(steps=4, width_px=64, height_px=64)


def test_only_the_window_changes_and_its_edge_fades() -> None:
    rgb = stream("tests", "detail").integers(0, 256, (96, 128, 3), dtype=np.uint8)
    window = face_window((60.0, 30.0, 90.0, 60.0), 128, 96)
    left, top, side = window
    assert side == 54 and left >= 0 and left + side <= 128 and top + side <= 96
    white = np.full((64, 64, 3), 255, np.uint8)
    pasted = paste_window(rgb, white, window)
    outside = np.ones((96, 128), bool)
    outside[top : top + side, left : left + side] = False
    assert np.array_equal(pasted[outside], rgb[outside])
    assert (pasted[top + side // 2, left + side // 2] == 255).all()
    edge = pasted[top, left : left + side].astype(int) - rgb[top, left : left + side]
    assert np.abs(edge).max() <= 12, "no seam"
    same = paste_window(rgb, cut_window(rgb, window, side), window)
    assert np.array_equal(same, rgb)


@pytest.mark.parametrize("box", [(0, 0, 20, 20), (110, 80, 128, 96), (-5, -5, 200, 200)])
def test_windows_stay_inside(box: tuple[float, float, float, float]) -> None:
    left, top, side = face_window(box, 128, 96)
    assert left >= 0 and top >= 0 and 8 <= side <= 96
    assert left + side <= 128 and top + side <= 96


@pytest.mark.parametrize("scheduler", ["ddim", "euler", "dpmpp_2m_karras"])
def test_drawing_again_keeps_more_the_less_noise_it_gets(scheduler: str) -> None:
    # a trained base: an untrained latent space keeps nothing of a picture, whatever the noise
    spec = RenderSpec(steps=4, width_px=128, height_px=128, scheduler=scheduler)
    renderer = open_renderer(packaged_base("standin/plain"), spec, "cpu")
    assert isinstance(renderer, Redrawer)
    (before,) = renderer.render([RenderRequest("a photo of woman", 1)])
    again = [Redraw(RenderRequest("a photo of woman", 2), before, d) for d in (0.25, 1.0)]
    little, whole = list(renderer.redraw(again))
    assert little.shape == whole.shape == before.shape
    gap = [float(np.abs(one.astype(int) - before.astype(int)).mean()) for one in (little, whole)]
    assert gap[0] < gap[1]
    (after,) = renderer.render([RenderRequest("a photo of woman", 1)])
    assert np.array_equal(after, before), "the second pass leaves no trace"
