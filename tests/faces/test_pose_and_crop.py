"""Angles from five points, crops that tell the truth about themselves, and what the linter says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from vultus.core.errors import FaceError
from vultus.faces.crop import VIEWS, crop_face, cut_box, pad_around
from vultus.faces.occlusion import ARCFACE_PX, occlusion
from vultus.faces.pose import MEAN_MM, pose_from_points
from vultus.faces.records import Face, FaceResult, Pose, Rgb, State
from vultus.faces.reference import lint_reference, make_reference

FIVE = np.array(ARCFACE_PX, dtype=np.float32)


def seen(yaw: float, pitch: float, roll: float) -> npt.NDArray[np.float64]:
    """The mean face turned by these angles (records.Pose's signs), flat, 3 px a mm."""
    y, p, r = np.radians([-yaw, pitch, roll])
    turn_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    turn_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    turn_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    flat: npt.NDArray[np.float64] = (MEAN_MM @ (turn_z @ turn_y @ turn_x).T)[:, :2] * 3 + 200
    return flat


def test_a_turned_mean_face_gives_back_its_angles() -> None:
    checked = 0
    for yaw in (-40, -15, 0, 25):
        for pitch in (-20, 0, 15):
            for roll in (-30, 0, 10):
                pose = pose_from_points(seen(yaw, pitch, roll))
                assert pose.yaw_deg == pytest.approx(yaw, abs=4)
                assert pose.pitch_deg == pytest.approx(pitch, abs=4)
                assert pose.roll_deg == pytest.approx(roll, abs=8)
                assert pose.by == "points"
                checked += 1
    assert checked == 36


def test_signs_of_the_angles_are_those_of_the_records() -> None:
    left = FIVE + np.array([[0, 0], [0, 0], [-8, 0], [0, 0], [0, 0]])
    up = FIVE + np.array([[0, 0], [0, 0], [0, -8], [0, 0], [0, 0]])
    plain = pose_from_points(FIVE)
    assert abs(plain.yaw_deg) < 3 and abs(plain.roll_deg) < 3
    assert pose_from_points(left).yaw_deg > plain.yaw_deg + 8
    assert pose_from_points(up).pitch_deg > plain.pitch_deg + 5


def test_points_that_are_no_face_have_no_pose() -> None:
    for bad in (np.ones((5, 2)), np.full((5, 2), np.nan), np.zeros((4, 2))):
        with pytest.raises(FaceError):
            pose_from_points(bad)


def picture(width: int = 300, height: int = 200) -> Rgb:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns % 256, rows % 256, (columns + rows) % 256], axis=-1).astype(np.uint8)


def face(x: float, y: float, size: float) -> Face:
    points = (FIVE - 56) / 112 * size + (x + size / 2, y + size / 2)
    return Face((x, y, x + size, y + size), points.astype(np.float32), 0.9)


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_training_views_stay_inside_and_tell_where_they_lie(view: str) -> None:
    rgb = picture()
    checked = 0
    for x, y, size in ((100, 60, 40), (0, 0, 60), (250, 150, 48), (20, 10, 190)):
        crop = crop_face(rgb, face(x, y, size), view, (64, 64))  # type: ignore[arg-type]
        x0, y0, x1, y1 = (round(v) for v in crop.box_px)
        assert 0 <= x0 < x1 <= 300 and 0 <= y0 < y1 <= 200 and crop.padded_share == 0
        assert x1 - x0 == y1 - y0 and crop.size == (64, 64)
        scale = 64 / (x1 - x0)
        expected = (200, 300, round(y0 * scale), round(x0 * scale), 64, 64)
        assert crop.time_ids() == expected
        whole = crop_face(rgb, face(x, y, size), view)  # type: ignore[arg-type]
        assert np.array_equal(whole.rgb, rgb[y0:y1, x0:x1])
        assert whole.time_ids() == (200, 300, y0, x0, y1 - y0, x1 - x0)
        checked += 1
    assert checked == 4


def test_the_frame_of_a_crop_carries_points_there_and_back() -> None:
    crop = cut_box(picture(), (40, 30, 140, 80), (200, 100), view="head")
    assert np.allclose(
        crop.frame.to_frame([[40, 30], [140, 80], [90, 55]]), [[0, 0], [200, 100], [100, 50]]
    )
    assert np.allclose(crop.frame.to_picture([[100, 50]]), [[90, 55]])


def test_padding_repeats_the_edge_and_is_told() -> None:
    rgb = picture()
    crop = pad_around(rgb, face(0, 0, 50), 1.0)
    assert crop.size == (150, 150) and crop.box_px == (-50.0, -50.0, 100.0, 100.0)
    assert crop.padded_share == pytest.approx(1 - 100 * 100 / 150**2)
    assert np.array_equal(crop.rgb[0, 0], rgb[0, 0]) and np.array_equal(
        crop.rgb[50:, 50:], rgb[:100, :100]
    )
    with pytest.raises(FaceError, match="not a training view"):
        crop.time_ids()
    with pytest.raises(FaceError, match="outside"):
        cut_box(rgb, (400, 10, 500, 60), view="face")


def result(found: Face, *, state: State = "ok", yaw: float = 0.0, sharp: float = 0.6) -> FaceResult:
    return FaceResult(state, (found,), 0, None, 0.01, sharp, "sha256:0", Pose(yaw, 0.0, 0.0), 0.6)


def skin(width: int = 600, height: int = 600) -> Rgb:
    return np.full((height, width, 3), (200, 160, 140), np.uint8)


def test_a_plain_face_has_no_findings_and_is_cut_with_room() -> None:
    found = face(200, 200, 200)
    assert lint_reference(skin(), result(found)) == []
    crop = make_reference(skin(), result(found))
    assert crop.size == (600, 600) and crop.padded_share == 0


def test_what_speaks_against_a_reference_is_named() -> None:
    found = face(200, 200, 200)

    def names(rgb: Rgb, read: FaceResult) -> dict[str, str]:
        return {lint.name: lint.level for lint in lint_reference(rgb, read)}

    k = 200 / 112
    glasses, hat, scarf = skin(), skin(), skin()
    bar = round(200 + 52 * k)
    glasses[bar - 4 : bar + 4, round(200 + 30 * k) : round(200 + 80 * k)] = 20
    hat[: round(200 + 34 * k)] = (30, 30, 90)
    scarf[round(200 + 80 * k) :] = (20, 90, 20)
    assert names(glasses, result(found)) == {"glasses": "risk"}
    assert names(hat, result(found)) == {"forehead": "risk"}
    assert names(scarf, result(found)) == {"lower": "risk"}
    assert names(skin(), result(found, yaw=-25)) == {"yaw": "risk"}
    assert names(skin(), result(found, yaw=50)) == {"yaw": "fault"}
    assert names(skin(), result(face(200, 200, 90))) == {"size": "risk"}
    assert names(skin(), result(face(200, 200, 50))) == {"size": "fault"}
    assert names(skin(), result(found, state="several")) == {"several": "fault"}
    assert names(skin(), result(found, sharp=0.1)) == {"sharpness": "risk"}
    assert "cut" in names(skin(), result(face(-80, 200, 200)))
    empty = FaceResult("none", (), None, None, 0.0, 0.0, "sha256:0")
    assert names(skin(), empty) == {"face": "fault"}
    with pytest.raises(FaceError, match="nobody is found"):
        make_reference(skin(), empty)


def test_the_share_outside_the_picture_is_counted() -> None:
    assert occlusion(skin(), face(200, 200, 200)).outside == 0
    half = occlusion(skin(), face(-100, 200, 200)).outside
    assert half == pytest.approx(0.5, abs=0.1)
