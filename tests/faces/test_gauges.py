"""Pose nets turn with the mirror, quality falls with blur, limits make the state: real nets, real faces."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from bench.faces.sets import SHARED, free_pack
from vultus.faces.engines import open_engine
from vultus.faces.engines.gauges import head_of
from vultus.faces.engines.reader import Gauged, judge
from vultus.faces.pack_spec import LimitSpec
from vultus.faces.records import Face, Pose
from vultus.images.load import load_picture

shared = [
    pytest.mark.shared,
    pytest.mark.skipif(
        not (SHARED / "models" / "pose_quality").is_dir(), reason=f"no weights under {SHARED}"
    ),
]
FACE = Face((20.0, 20.0, 80.0, 100.0), np.zeros((5, 2), np.float32), 0.9)


def test_a_head_at_the_edge_repeats_the_edge() -> None:
    rgb = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3).astype(np.uint8)
    inside = head_of(rgb, Face((20, 20, 40, 40), FACE.points_px, 0.9))
    assert inside.shape == (64, 64, 3)
    far = head_of(np.full((64, 64, 3), 9, np.uint8), Face((-30, -30, 30, 30), FACE.points_px, 0.9))
    assert (far == 9).all()


@pytest.mark.parametrize(
    ("pose", "state"),
    [
        (Pose(51.0, 0.0, 0.0), "extreme_pose"),
        (Pose(-51.0, 0.0, 0.0), "extreme_pose"),
        (Pose(0.0, -46.0, 0.0), "extreme_pose"),
        (Pose(49.0, 44.0, 80.0), "ok"),
        (Pose(80.0, 0.0, 0.0, "points"), "ok"),
        (None, "ok"),
    ],
)
def test_only_nets_may_call_a_pose_extreme(pose: Pose | None, state: str) -> None:
    limits = LimitSpec(max_yaw_deg=50.0, max_pitch_deg=45.0)
    assert judge([FACE], 0.0, Gauged(0.5, pose), limits) == state
    assert judge([FACE, FACE], 0.0, Gauged(0.5, pose), limits) == "several"


class TestOnPhotographs:
    """Obama looks to the image left in one picture and to its right in another."""

    pytestmark = shared

    def test_angles_and_quality(self) -> None:
        folder = SHARED / "photos" / "us_gov_public_domain"
        rgb = load_picture(folder / "obama2.jpg").rgb
        blurred = np.asarray(cv2.GaussianBlur(rgb, (0, 0), 18.0), np.uint8)
        mirrored = np.ascontiguousarray(rgb[:, ::-1])
        engine = open_engine(free_pack())
        plain, soft, other = engine.read_many([rgb, blurred, mirrored])
        assert plain.pose is not None and other.pose is not None and plain.pose.by == "nets"
        assert plain.pose.yaw_deg == pytest.approx(17, abs=5)
        assert other.pose.yaw_deg == pytest.approx(-plain.pose.yaw_deg, abs=2)
        assert other.pose.roll_deg == pytest.approx(-plain.pose.roll_deg, abs=3)
        assert plain.quality is not None and soft.quality is not None
        assert 0.5 < plain.quality < 0.7 and soft.quality < plain.quality - 0.2
        assert soft.sharpness < plain.sharpness

    def test_two_threads_read_what_one_reads(self) -> None:
        folder = SHARED / "photos" / "orl" / "s3"
        rgbs = [load_picture(folder / f"{i}.pgm").rgb for i in range(1, 6)]
        one = open_engine(free_pack()).read_many(rgbs)
        two = open_engine(free_pack(), threads=2).read_many(rgbs)
        assert len(two) == 5
        for a, b in zip(one, two, strict=True):
            assert a.state == b.state and a.emb is not None and b.emb is not None
            assert np.abs(a.emb - b.emb).max() < 1e-5
            assert a.pose == b.pose and a.quality == pytest.approx(b.quality, abs=1e-5)

    def test_a_limit_of_the_pack_is_obeyed(self) -> None:
        rgb = load_picture(SHARED / "photos" / "us_gov_public_domain" / "obama2.jpg").rgb
        pack = free_pack()
        narrow = replace(pack.spec, limits=replace(pack.limits, max_yaw_deg=5.0))
        result = open_engine(replace(pack, spec=narrow)).read(rgb)
        assert result.state == "extreme_pose" and result.emb is not None
