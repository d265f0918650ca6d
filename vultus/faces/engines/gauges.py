"""What a pack's small nets say about a face beside who it is: where it looks, how good it is.

**Notation**
    head      the head, FSA-Net's view   float32 (2N, 3, 64, 64), BGR, (v - 127.5) / 127.5: a square
                                         of 1.4 box sides, edge pixels repeated outside the picture
    angles    FSA-Net's answer           float32 (2N, 3): yaw, pitch, roll in degrees (signs:
                                         `faces.records`)
    face      LightQNet's view           float32 (1, 3, 96, 96), RGB, (v - 128) / 128: the ArcFace
                                         crop of 112 px, shrunk by area
Both read pictures as their authors trained them; colour orders were settled by measurement
(reference "faces", sections 11 and 12). Each head is shown twice, as it is and mirrored: what the
mirror says with opposite yaw and roll is averaged in, which costs one more row of a tiny batch and
removes the nets' own left-right lean (1.0 degree of yaw on photographs).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from vultus.core.errors import FaceError, PackError
from vultus.faces.align import align
from vultus.faces.engines.session import Net
from vultus.faces.occlusion import ARCFACE_PX
from vultus.faces.packs import Pack
from vultus.faces.pose import pose_from_points
from vultus.faces.records import Face, Pose, Rgb
from vultus.images.geometry import resize

__all__ = ["Gauges", "head_of"]

HEAD_SHARE: Final = 1.4
HEAD_PX: Final = 64
QUALITY_PX: Final = 96


class Gauges:
    """Pose and quality of faces. One object belongs to one thread (OpenCV's nets do)."""

    def __init__(self, pack: Pack, *, threads: int = 1) -> None:
        self._pose = [Net(pack.file(name), threads=threads) for name in pack.spec.pose.files]
        name = pack.spec.quality.file
        self._quality: Any = _quality_net(pack.file(name)) if name else None

    def poses(self, faces: Sequence[tuple[Rgb, Face]]) -> list[Pose | None]:
        """The direction of each head; None for points that are no face."""
        if not self._pose or not faces:
            return [_by_points(face) for _, face in faces]
        heads = np.stack([head_of(rgb, face) for rgb, face in faces])[..., ::-1]
        both = np.concatenate([heads, heads[:, :, ::-1]]).astype(np.float32)
        batch = ((both - np.float32(127.5)) / np.float32(127.5)).transpose(0, 3, 1, 2)
        angles = np.mean([net.run(batch)[net.outputs[0]] for net in self._pose], axis=0)
        seen, mirrored = angles[: len(faces)], angles[len(faces) :]
        middle = (seen + mirrored * (-1.0, 1.0, -1.0)) / 2
        return [Pose(float(y), float(p), float(r)) for y, p, r in middle]

    def qualities(self, faces: Sequence[tuple[Rgb, Face]]) -> list[float | None]:
        """The quality of each face; None where the pack has no quality net."""
        if self._quality is None:
            return [None for _ in faces]
        return [self._one_quality(rgb, face) for rgb, face in faces]

    def _one_quality(self, rgb: Rgb, face: Face) -> float:
        aligned = resize(align(rgb, face.points_px, ARCFACE_PX, 112), QUALITY_PX, QUALITY_PX)
        x = (aligned.astype(np.float32) - np.float32(128.0)) / np.float32(128.0)
        self._quality.setInput(np.ascontiguousarray(x.transpose(2, 0, 1)[None]))
        return float(np.asarray(self._quality.forward()).reshape(-1)[0])


def head_of(rgb: Rgb, face: Face) -> Rgb:
    """The square around the box as FSA-Net sees it: uint8 (64, 64, 3), RGB."""
    x0, y0, x1, y1 = face.box_px
    side = max(2, round(HEAD_SHARE * face.size_px))
    left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
    height, width = rgb.shape[:2]
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    inside = rgb[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    part = inside[np.ix_(rows - rows[0], columns - columns[0])]
    return resize(np.ascontiguousarray(part), HEAD_PX, HEAD_PX)


def _by_points(face: Face) -> Pose | None:
    try:
        return pose_from_points(face.points_px)
    except FaceError:
        return None


def _quality_net(path: Path) -> Any:
    try:
        return cv2.dnn.readNetFromTensorflow(str(path))
    except cv2.error as fault:
        words = " ".join(str(fault).split())[:160]
        raise PackError(
            f"OpenCV cannot open it ({words})", where=str(path), expected="a LightQNet .pb file"
        ) from fault
