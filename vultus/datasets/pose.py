"""Where a head looks, sorted into bins: left, ahead or right by up, level or down.

Notation
    pose     yaw, pitch, roll     degrees, signs of `faces.records`: yaw > 0 = the nose points to the image left,
                                  pitch > 0 = chin up, roll > 0 = clockwise
    square   the aligned face     uint8 (32, 32, 3), RGB, 2.4 head units wide: the outline of the head is inside
    net      one hidden layer     (3072,) -> hidden -> (yaw, pitch)

The pose comes from what the face pack measured. The stand-in's pack has only five points, and on its flat faces a
skewed nose looks like 17 degrees of yaw (the mean error of points alone is 9 degrees); it is therefore read by a small
regression on the aligned face, which sees the features slide against the outline of the head.
Pose nets are about 5 degrees wrong, so the bins are 30 degrees wide and wider.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus.core.errors import FaceError
from vultus.faces.align import align
from vultus.faces.packs import Pack
from vultus.faces.pose import pose_from_points
from vultus.faces.records import FaceResult, Points, Pose, Rgb

YAW_BINS = ("profile left", "three-quarter left", "ahead", "three-quarter right", "profile right")
"""Left and right are sides of the picture."""
PITCH_BINS = ("up", "level", "down")
YAW_EDGES_DEG = (50.0, 15.0, -15.0, -50.0)
PITCH_EDGES_DEG = (12.0, -12.0)
NET_SIDE_PX = 32
NET_FILE = Path(__file__).parent / "standin_pose.npz"
NET_TEMPLATE_PX = np.array(
    [[-0.335, -0.08], [0.335, -0.08], [0.0, 0.32], [-0.245, 0.6], [0.245, 0.6]]
) * (NET_SIDE_PX / 2.4) + (16.0, 14.5)
"""Where the five points of the stand-in's mean face lie in the square, px."""


def yaw_bin(yaw_deg: float) -> str:
    """The name of a yaw in YAW_BINS."""
    return YAW_BINS[sum(yaw_deg < edge for edge in YAW_EDGES_DEG)]


def pitch_bin(pitch_deg: float) -> str:
    """The name of a pitch in PITCH_BINS."""
    return PITCH_BINS[sum(pitch_deg < edge for edge in PITCH_EDGES_DEG)]


def read_pose(rgb: Rgb, result: FaceResult, pack: Pack) -> Pose | None:
    """The pose of the chosen face of one upright picture (H, W, 3), read with this pack; None without a face."""
    face = result.face
    if face is None:
        return None
    if pack.detector.kind != "standin":
        return result.pose or _by_points(face.points_px)
    dx, dy = (float(v) for v in face.points_px[1] - face.points_px[0])
    yaw, pitch = PoseNet.open().read(rgb, face.points_px)
    return Pose(yaw, pitch, float(np.degrees(np.arctan2(dy, dx))))


def _by_points(points_px: Points) -> Pose | None:
    """For packs that measure no pose; None for points that are no face."""
    try:
        return pose_from_points(points_px)
    except FaceError:
        return None


@dataclass(frozen=True, eq=False)
class PoseNet:
    """The stand-in's pose regression, made by `python -m bench.curation.build_pose`; float16 on disk."""

    mean: npt.NDArray[np.float32]
    inner: npt.NDArray[np.float32]
    inner_bias: npt.NDArray[np.float32]
    outer: npt.NDArray[np.float32]
    outer_bias: npt.NDArray[np.float32]

    @classmethod
    def open(cls) -> PoseNet:
        """Read the regression from the package, once per process."""
        return _open_net(NET_FILE)

    def read(self, rgb: Rgb, points_px: Points) -> tuple[float, float]:
        """Yaw and pitch of one face, deg."""
        yaw, pitch = self.run(square_of(rgb, points_px)[None])[0]
        return float(yaw), float(pitch)

    def run(self, squares: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Aligned squares (n, 32, 32, 3) to yaw and pitch in degrees (n, 2)."""
        rows = squares.reshape(len(squares), -1).astype(np.float32) / np.float32(255.0) - self.mean
        hidden = np.maximum(rows @ self.inner + self.inner_bias, 0.0)
        return np.asarray(hidden @ self.outer + self.outer_bias, dtype=np.float32)


def square_of(rgb: Rgb, points_px: npt.ArrayLike) -> Rgb:
    """The face as the regression looks at it: uint8 (32, 32, 3)."""
    return align(rgb, points_px, NET_TEMPLATE_PX, NET_SIDE_PX, origin="corner", fill=128)


@functools.cache
def _open_net(path: Path) -> PoseNet:
    names = ("mean", "inner", "inner_bias", "outer", "outer_bias")
    with np.load(path, allow_pickle=False) as table:
        return PoseNet(*(table[name].astype(np.float32) for name in names))


__all__ = [
    "NET_FILE",
    "NET_SIDE_PX",
    "NET_TEMPLATE_PX",
    "PITCH_BINS",
    "PITCH_EDGES_DEG",
    "YAW_BINS",
    "YAW_EDGES_DEG",
    "PoseNet",
    "pitch_bin",
    "read_pose",
    "square_of",
    "yaw_bin",
]
