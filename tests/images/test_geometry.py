"""Frames and warps must tell the truth about where a point went, to a fraction of a pixel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.images.geometry import (
    Frame,
    apply_affine,
    crop_square,
    fit_within,
    invert_affine,
    letterbox,
    luma,
    mirror,
    mirror_points,
    resize,
    warp,
)

Rgb = npt.NDArray[np.uint8]


def dot(width: int, height: int, x: float, y: float, radius: float = 6.0) -> Rgb:
    """A soft bright dot whose centre of mass is (x, y) in corner coordinates."""
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    glow = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (radius / 2) ** 2))
    return np.repeat(np.rint(glow).astype(np.uint8)[..., None], 3, axis=2)


def centre_of_mass(rgb: Rgb) -> npt.NDArray[np.float64]:
    """Where the dot is, corner coordinates."""
    weight = rgb[..., 0].astype(np.float64)
    rows, columns = np.mgrid[: rgb.shape[0], : rgb.shape[1]] + 0.5
    centre = [float((weight * columns).sum()), float((weight * rows).sum())]
    return np.array(centre) / float(weight.sum())


@pytest.mark.parametrize(
    ("width", "height", "side"), [(200, 120, 128), (90, 160, 128), (64, 64, 128)]
)
def test_letterbox_frame_says_where_a_dot_went(width: int, height: int, side: int) -> None:
    x, y = 0.6 * width, 0.45 * height
    framed, frame = letterbox(dot(width, height, x, y), side, fill=0)
    assert framed.shape == (side, side, 3)
    assert np.abs(centre_of_mass(framed) - frame.to_frame([x, y])).max() < 0.1
    assert np.allclose(frame.to_picture(frame.to_frame([[x, y]])), [[x, y]])


def test_letterbox_fills_with_the_grey_it_was_given() -> None:
    framed, _ = letterbox(np.full((50, 100, 3), 255, np.uint8), 128, fill=77)
    assert (framed[0] == 77).all() and (framed[-1] == 77).all()
    assert (framed[64] == 255).all()


@pytest.mark.parametrize("side_px", [30.0, 61.7, 128.0, 300.0])
@pytest.mark.parametrize("centre", [(80.3, 60.9), (12.0, 110.0)])
def test_crop_square_frame_is_true_inside_and_over_the_edge(
    side_px: float, centre: tuple[float, float]
) -> None:
    picture = dot(160, 120, *centre)
    crop, frame = crop_square(picture, centre, side_px, 128)
    assert crop.shape == (128, 128, 3)
    # The dot sits in the middle of its own crop; half a pixel of the picture would show.
    if side_px < 130 and centre[0] > 30:
        assert np.abs(centre_of_mass(crop) - 64.0).max() < 0.15 * 128 / side_px
    assert np.allclose(frame.to_frame(centre), [64.0, 64.0])


def test_crop_outside_the_picture_is_only_fill() -> None:
    crop, _ = crop_square(np.full((40, 40, 3), 200, np.uint8), (-500.0, 20.0), 30.0, 16, fill=9)
    assert (crop == 9).all()


def test_crop_that_shrinks_a_lot_averages_instead_of_picking() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    crop, _ = crop_square(stripes, (128.0, 128.0), 256.0, 32)
    assert np.abs(crop[4:-4, 4:-4].astype(int) - 127).max() <= 2


@settings(max_examples=40, deadline=None)
@given(
    scale=st.floats(0.5, 2.0),
    angle=st.floats(-0.6, 0.6),
    dx=st.floats(-8, 8),
    dy=st.floats(-8, 8),
)
def test_warp_moves_a_dot_where_the_matrix_says(
    scale: float, angle: float, dx: float, dy: float
) -> None:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[c, -s], [s, c]])
    shift = np.array([48.0 + dx, 48.0 + dy]) - linear @ np.array([32.0, 32.0])
    matrix = np.column_stack([linear, shift])
    out = warp(dot(64, 64, 32.0, 32.0), matrix, 96, 96)
    assert np.abs(centre_of_mass(out) - (48.0 + dx, 48.0 + dy)).max() < 0.08
    points = np.array([[1.0, 2.0], [30.0, 5.0]])
    assert np.allclose(apply_affine(invert_affine(matrix), apply_affine(matrix, points)), points)


def test_shrinking_keeps_the_mean_and_the_identity_is_a_copy() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)
    small = resize(noise, 24, 16)
    assert abs(float(small.mean()) - float(noise.mean())) < 0.3
    same = resize(noise, 96, 64)
    assert np.array_equal(same, noise) and not np.shares_memory(same, noise)


def test_fit_within_never_enlarges() -> None:
    small, frame = fit_within(np.zeros((40, 30, 3), np.uint8), 100)
    assert small.shape == (40, 30, 3) and frame == Frame(1.0, 1.0, 0.0, 0.0)
    shrunk, _ = fit_within(np.zeros((40, 400, 3), np.uint8), 100)
    assert shrunk.shape == (10, 100, 3)


def test_mirrored_points_keep_their_names() -> None:
    points = np.array([[20, 30], [60, 31], [41, 50], [25, 70], [58, 71]], dtype=np.float32)
    turned = mirror_points(points, 100)
    assert turned[0, 0] < turned[1, 0] and turned[3, 0] < turned[4, 0]
    assert np.allclose(mirror_points(turned, 100), points)
    picture = dot(100, 80, 20.0, 30.0)
    assert np.abs(centre_of_mass(mirror(picture)) - turned[1] * 0 - (80.0, 30.0)).max() < 0.05


def test_luma_weighs_green_most() -> None:
    colours = np.eye(3, dtype=np.uint8)[None] * 255
    red, green, blue = (float(v) for v in luma(colours)[0])
    assert green > red > blue
    assert red + green + blue == pytest.approx(255.0, abs=0.01)
