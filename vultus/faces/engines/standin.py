"""The stand-in world's detector: a small net that answers a 128 px frame with five points.

**Notation**
    image     framed picture     float32 (N, 3, 128, 128), RGB 0..1, grey outside the picture
    points    five points        float32 (N, 5, 2), shares of the frame (corner coordinates)
    score     probability        float32 (N,), that a face is in the frame
First the whole picture, letterboxed; where the score reaches the pack's `min_score`, three crops
around the points, 3.0 times their extent and that times 0.9 and 1.15; median of each coordinate,
spread = alignment uncertainty. The net answers with one face, so this detector never sees two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from vultus.core.errors import PackError
from vultus.faces.engines.detection import box_of, median_points
from vultus.faces.engines.session import Net
from vultus.faces.packs import Pack
from vultus.faces.records import Face, Rgb
from vultus.images.geometry import Frame, crop_square, letterbox

__all__ = ["StandinDetector"]

SIDE_PX: Final = 128
GREY: Final = 128
CROP_SHARE: Final = 3.0
CROP_SCALES: Final = (0.9, 1.0, 1.15)
# A box is this much larger than its five points, as boxes of real detectors are (YuNet 2.1-2.4).
BOX_SHARE: Final = 2.2
BATCH: Final = 32


class StandinDetector:
    """A `Detector` for frames of one face."""

    def __init__(self, pack: Pack, *, threads: int = 1) -> None:
        self._net = Net(pack.file(pack.detector.file), threads=threads)
        self._min_score = pack.detector.min_score
        self._two_pass = pack.detector.two_pass
        if not {"points", "score"} <= set(self._net.outputs):
            raise PackError(
                f"the landmark net answers with {', '.join(self._net.outputs)}",
                where=str(self._net.path),
                expected="outputs named points and score",
            )

    def prepare(self, rgb: Rgb) -> tuple[Rgb, Frame]:
        """See `detection.Detector`: as it is."""
        return rgb, Frame(1.0, 1.0, 0.0, 0.0)

    def find_many(self, pictures: Sequence[Rgb]) -> list[list[Face]]:
        """See `detection.Detector`."""
        framed = [letterbox(rgb, SIDE_PX, GREY) for rgb in pictures]
        points, scores = self._run([image for image, _ in framed])
        found: list[list[Face]] = []
        for (_, frame), seen, score in zip(framed, points, scores, strict=True):
            sure = float(score) >= self._min_score
            found.append([_face(seen, frame, float(score))] if sure else [])
        return found

    def refine_many(self, faces: Sequence[tuple[Rgb, Face]]) -> list[tuple[Face, float]]:
        """See `detection.Detector`. A crop in which the net sees no face does not vote."""
        if not self._two_pass or not faces:
            return [(face, 0.0) for _, face in faces]
        crops = [self._crop(rgb, face, scale) for rgb, face in faces for scale in CROP_SCALES]
        points, scores = self._run([image for image, _ in crops])
        refined: list[tuple[Face, float]] = []
        n = len(CROP_SCALES)
        for i, (_, face) in enumerate(faces):
            votes = [
                frame.to_picture(points[j] * SIDE_PX)
                for j, (_, frame) in enumerate(crops[i * n : (i + 1) * n], start=i * n)
                if float(scores[j]) >= self._min_score
            ]
            if not votes:
                refined.append(
                    (face, face.size_px)
                )  # nobody agrees: as uncertain as the face is large
                continue
            middle, spread = median_points(np.stack(votes).astype(np.float32))
            refined.append((Face(box_of(middle, BOX_SHARE), middle, face.score), spread))
        return refined

    def _crop(self, rgb: Rgb, face: Face, scale: float) -> tuple[Rgb, Frame]:
        x0, y0, x1, y1 = face.box_px
        side = max(CROP_SHARE / BOX_SHARE * face.size_px * scale, 1.0)
        return crop_square(rgb, ((x0 + x1) / 2, (y0 + y1) / 2), side, SIDE_PX, GREY)

    def _run(
        self, images: Sequence[Rgb]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        points: list[npt.NDArray[np.float32]] = []
        scores: list[npt.NDArray[np.float32]] = []
        for start in range(0, len(images), BATCH):
            batch = np.stack(images[start : start + BATCH]).astype(np.float32) / np.float32(255.0)
            found = self._net.run(batch.transpose(0, 3, 1, 2))
            points.append(found["points"].reshape(-1, 5, 2))
            scores.append(found["score"].reshape(-1))
        return np.concatenate(points), np.concatenate(scores)


def _face(points: npt.NDArray[np.float32], frame: Frame, score: float) -> Face:
    px = frame.to_picture(points * SIDE_PX).astype(np.float32)
    return Face(box_of(px, BOX_SHARE), px, score)
