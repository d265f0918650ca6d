"""The renderer: same request, same bytes; captions tell circumstances; identity is geometry."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from vultus.core.seeds import stream
from vultus.standin.identity import (
    COLOURED,
    N_IDENTITY,
    PARAMETERS,
    SIDED,
    Identity,
    sample_identity,
    twin_of,
)
from vultus.standin.names import NAMES, RARE_WORDS
from vultus.standin.nuisance import (
    FRAMINGS,
    MAX_YAW,
    Nuisance,
    caption,
    sample_nuisance,
    without_accessories,
)
from vultus.standin.render import CANVAS_PX, STYLES, render

PERSON = sample_identity(stream("test", "person"))


def _scene(k: int = 0, framing: str = "close-up") -> Nuisance:
    scene = without_accessories(sample_nuisance(stream("test", "scene", k), framing=framing))
    return replace(scene, yaw=0.0, roll=0.0, expression="neutral", light="soft")


def test_a_picture_is_a_function_of_person_and_scene() -> None:
    first, again = render(PERSON, _scene()), render(PERSON, _scene())
    assert first.rgb.shape == (CANVAS_PX, CANVAS_PX, 3) and first.rgb.dtype == np.uint8
    assert np.array_equal(first.rgb, again.rgb)


def test_identity_has_enough_dimensions_and_most_are_geometry() -> None:
    assert N_IDENTITY >= 24
    assert len({p.name for p in PARAMETERS}) == N_IDENTITY
    assert int(SIDED.sum()) >= 4
    assert int((~COLOURED).sum()) > 3 * int(COLOURED.sum())


def test_every_identity_parameter_can_be_seen() -> None:
    """Moving one parameter from end to end changes some picture of the face."""
    seen = 0
    for i, parameter in enumerate(PARAMETERS):
        low, high = PERSON.z.copy(), PERSON.z.copy()
        low[i], high[i] = -1.0, 1.0
        if parameter.name.startswith("mole"):
            for z in (low, high):
                z[[p.name for p in PARAMETERS].index("mole_size")] = (
                    z[i] if parameter.name == "mole_size" else 1.0
                )
        a, b = (render(Identity(z), _scene()).rgb.astype(int) for z in (low, high))
        assert np.abs(a - b).max() >= 8, parameter.name
        seen += 1
    assert seen == N_IDENTITY


def test_a_sided_face_is_not_its_mirror_image() -> None:
    """With the sided parameters at rest a frontal face is nearly symmetric; with them it is not."""
    rest = Identity(np.where(SIDED, 0.0, PERSON.z).astype(np.float32))
    strong = Identity(np.where(SIDED, 1.0, PERSON.z).astype(np.float32))
    centred = replace(_scene(), centre=(63.75, 64.0), background="studio", pattern="plain")

    def asymmetry(person: Identity) -> float:
        drawn = render(person, centred)
        x0, y0, x1, y1 = (int(v) for v in drawn.face_px)
        grey = drawn.rgb[y0:y1, :, :].mean(2)
        return float(np.abs(grey - grey[:, ::-1])[:, x0:x1].mean())

    assert asymmetry(strong) > 1.5 * asymmetry(rest)


def test_the_five_points_follow_the_pose() -> None:
    ahead, turned = render(PERSON, _scene()), render(PERSON, replace(_scene(), yaw=0.4))
    assert ahead.points_px.shape == (5, 2)
    left, right, nose, mouth_left, mouth_right = ahead.points_px
    assert left[0] < nose[0] < right[0] and mouth_left[0] < mouth_right[0]
    assert left[1] < nose[1] < mouth_left[1]
    nose_share = [
        (p[2, 0] - p[0, 0]) / (p[1, 0] - p[0, 0]) for p in (ahead.points_px, turned.points_px)
    ]
    assert nose_share[1] > nose_share[0] + 0.1


def test_a_full_body_face_keeps_two_hundred_latent_numbers() -> None:
    checked = 0
    for k in range(60):
        scene = sample_nuisance(stream("test", "full", k), framing="full body")
        x0, y0, x1, y1 = render(sample_identity(stream("test", "who", k)), scene).face_px
        typical = 2 * 0.76 * (0.98 + 1.03) * scene.scale**2
        assert typical / 64 * 8 >= 180  # an average face; narrow ones have fewer
        assert abs(scene.yaw) <= MAX_YAW
        assert x1 > x0 and y1 > y0
        checked += 1
    assert checked == 60


def test_captions_tell_the_scene_and_nothing_of_the_person() -> None:
    scene = replace(_scene(), hat="red", glasses=True, dye="pink")
    words = caption(scene, "ohwx woman")
    for part in (
        "close-up photo of ohwx woman",
        "wearing a red hat",
        "wearing glasses",
        "dyed pink hair",
        "looking ahead",
    ):
        assert part in words
    assert caption(without_accessories(scene)).count("wearing") == 0
    assert {f.name for f in fields(Nuisance)}.isdisjoint({p.name for p in PARAMETERS})


def test_framing_decides_the_size_of_the_face() -> None:
    sizes = [render(PERSON, _scene(3, framing)).face_px for framing in FRAMINGS]
    heights = [y1 - y0 for _, y0, _, y1 in sizes]
    assert heights == sorted(heights, reverse=True) and heights[0] > 1.5 * heights[2]


def test_a_twin_shares_colours_and_no_geometry() -> None:
    twin = twin_of(PERSON, stream("test", "twin"))
    assert np.array_equal(twin.z[COLOURED], PERSON.z[COLOURED])
    assert not np.isclose(twin.z[~COLOURED], PERSON.z[~COLOURED]).any()


@pytest.mark.parametrize("style", STYLES)
def test_styles_paint_the_same_world_differently(style: str) -> None:
    drawn = render(PERSON, _scene(), style=style).rgb.astype(int)
    plain = render(PERSON, _scene()).rgb.astype(int)
    assert (np.abs(drawn - plain).mean() > 3) == (style != "plain")


def test_names_are_many_and_rare_words_are_none_of_them() -> None:
    assert len({*NAMES}) == 300
    assert len({*RARE_WORDS} - {*NAMES}) == 8
