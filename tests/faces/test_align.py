"""The alignment is the least-squares similarity, mirrors nobody, and knows where (0, 0) is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.core.errors import FaceError
from vultus.faces.align import align, similarity_transform
from vultus.images.geometry import apply_affine

ARCFACE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)


@settings(max_examples=60, deadline=None)
@given(
    scale=st.floats(0.05, 20.0),
    angle=st.floats(-3.0, 3.0),
    x=st.floats(-500, 500),
    y=st.floats(-500, 500),
)
def test_an_exact_similarity_is_recovered(scale: float, angle: float, x: float, y: float) -> None:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    truth = np.array([[c, -s, x], [s, c, y]])
    found = similarity_transform(ARCFACE, apply_affine(truth, ARCFACE))
    assert np.allclose(found, truth, atol=1e-6 * max(1.0, scale, abs(x), abs(y)))


def test_it_is_the_optimum_of_the_squared_error() -> None:
    """The same problem as a linear one in (p, q, x, y), solved by numpy."""
    rng = np.random.default_rng(5)
    checked = 0
    for _ in range(50):
        source = ARCFACE * 3 + rng.normal(0, 12, (5, 2))
        x, y = source.T
        one, nil = np.ones(5), np.zeros(5)
        design = np.vstack([np.column_stack([x, -y, one, nil]), np.column_stack([y, x, nil, one])])
        p, q, dx, dy = np.linalg.lstsq(design, ARCFACE.T.reshape(-1), rcond=None)[0]
        expected = np.array([[p, -q, dx], [q, p, dy]])
        assert np.allclose(similarity_transform(source, ARCFACE), expected, atol=1e-8)
        checked += 1
    assert checked == 50


def test_it_never_mirrors() -> None:
    swapped = ARCFACE[[1, 0, 2, 4, 3]]
    found = similarity_transform(swapped, ARCFACE)
    assert np.linalg.det(found[:, :2]) > 0
    residual = np.abs(apply_affine(found, swapped) - ARCFACE).max()
    assert residual > 15.0


@pytest.mark.parametrize(("origin", "shift"), [("centre", 0.5), ("corner", 0.0)])
def test_a_mark_lands_on_its_template_point(origin: str, shift: float) -> None:
    """A soft dot at each point of a large face must appear at the template's point, per convention."""
    points = apply_affine(np.array([[2.0, -0.4, 40.0], [0.4, 2.0, 10.0]]), ARCFACE)
    for point, target in zip(points, ARCFACE, strict=True):
        columns, rows = np.meshgrid(np.arange(320) + 0.5, np.arange(320) + 0.5)
        x, y = point + shift  # where the mark is in corner coordinates
        glow = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 50.0)
        rgb = np.repeat(np.rint(glow).astype(np.uint8)[..., None], 3, axis=2)
        face = align(rgb, points, ARCFACE, 112, origin=origin).astype(np.float64)[..., 0]
        rows_out, columns_out = np.mgrid[:112, :112] + 0.5
        centre = np.array([(face * columns_out).sum(), (face * rows_out).sum()]) / face.sum()
        assert np.abs(centre - shift - target).max() < 0.1


def test_outside_the_picture_is_the_fill() -> None:
    rgb = np.full((50, 50, 3), 200, np.uint8)
    face = align(rgb, ARCFACE - 60, ARCFACE, 112, fill=7)
    assert face.shape == (112, 112, 3)
    assert (face[0, 0] == 7).all() and (face[75, 75] == 200).all()


def test_impossible_points_are_refused() -> None:
    with pytest.raises(FaceError, match="one point"):
        similarity_transform(np.ones((5, 2)), ARCFACE)
    with pytest.raises(FaceError, match="finite"):
        similarity_transform(np.full((5, 2), np.nan), ARCFACE)
