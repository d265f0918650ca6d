"""Bars, light, colours of regions: measured where they were planted and nowhere else."""

from __future__ import annotations

from dataclasses import replace as _replace
from typing import Any

import numpy as np
import pytest

from vultus.core.seeds import stream
from vultus.datasets.scenes import find_bars, mouth_width, palette, read_scene
from vultus.images.records import Rgb
from vultus.standin.identity import sample_identity
from vultus.standin.nuisance import sample_nuisance, without_accessories
from vultus.standin.render import Rendered, render


def picture(seed: int) -> Rgb:
    return np.asarray(stream("scene", seed).integers(0, 256, (120, 160, 3)), dtype=np.uint8)


@pytest.mark.parametrize("side", [0, 1, 2, 3])
@pytest.mark.parametrize("level", [0, 255, 117])
def test_a_planted_bar_is_measured_to_the_pixel(side: int, level: int) -> None:
    rgb = picture(side)
    rows = [rgb[:, :9], rgb[:9], rgb[:, -9:], rgb[-9:]][side]
    rows[...] = level
    assert find_bars(rgb)[side] == 9
    assert sum(find_bars(rgb)) == 9


def test_a_jpeg_softened_bar_is_still_one_and_a_gradient_is_none() -> None:
    rgb = picture(9)
    noise = stream("bar noise", 1).normal(0, 2, (12, 160, 3))
    rgb[:12] = np.clip(30 + noise, 0, 255).astype(np.uint8)
    assert find_bars(rgb)[1] == 12
    wall = np.broadcast_to(np.linspace(40, 220, 120)[:, None, None], (120, 160, 3))
    assert find_bars(wall.astype(np.uint8)) == (0, 0, 0, 0)
    assert find_bars(np.full((120, 160, 3), 90, np.uint8)) == (0, 0, 0, 0), (
        "a flat picture has no bars"
    )


def drawn(seed: int, **change: Any) -> Rendered:
    rng = stream("scene render", seed)
    who = sample_identity(rng)
    scene = without_accessories(sample_nuisance(rng, framing="half body"))
    return render(who, _replace(scene, yaw=0.0, light="soft", **change))


def box_of(one: Rendered) -> tuple[float, float, float, float]:
    return one.face_px


def test_side_light_has_its_side() -> None:
    seen = 0
    for seed in range(6):
        sides = []
        for light in ("left", "soft", "right"):
            one = drawn(seed)
            one = render(one.person, _replace(one.scene, light=light, light_strength=1.0))
            sides.append(read_scene(one.rgb, box_of(one), one.points_px).side)
        assert sides[0] > sides[1] > sides[2]
        assert sides[0] > 0.03 > -0.03 > sides[2]
        seen += 1
    assert seen == 6


def test_a_smile_is_a_wide_mouth_and_surprise_a_narrow_one() -> None:
    for seed in range(6):
        widths = [
            mouth_width(
                render(
                    drawn(seed).person,
                    _replace(drawn(seed).scene, expression=expression, intensity=1.0),
                ).points_px
            )
            for expression in ("surprised", "neutral", "smiling")
        ]
        assert widths[0] < 0.93 * widths[1] and widths[2] > 1.08 * widths[1], widths


def test_one_shirt_twice_is_one_palette_and_another_shirt_is_not() -> None:
    same, other = [], []
    for seed in range(6):
        one = drawn(seed, cloth_colour="red", pattern="plain", background="studio")
        moved = render(one.person, _replace(one.scene, centre=(60.0, 60.0)))
        blue = render(one.person, _replace(one.scene, cloth_colour="blue"))
        outfit = [read_scene(x.rgb, box_of(x), x.points_px).outfit for x in (one, moved, blue)]
        same.append(float(outfit[0] @ outfit[1]))
        other.append(float(outfit[0] @ outfit[2]))
    assert min(same) > 0.9, same
    assert max(other) < 0.85, other


def test_a_palette_is_a_unit_vector_whatever_it_is_made_of() -> None:
    for pixels in (np.zeros((50, 3), np.uint8), picture(1).reshape(-1, 3)):
        assert float(np.linalg.norm(palette(pixels))) == pytest.approx(1.0, abs=1e-5)
    assert not palette(np.zeros((10, 3), np.uint8)).any(), "a few pixels say nothing"
