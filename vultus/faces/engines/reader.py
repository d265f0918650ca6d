"""The one path from pictures to results: find, choose, measure again, align, embed, judge.

The chosen face is the largest. Two rules decide the rest of a picture's state (faces.records lists
all): a second face makes it `several` only from half the size of the chosen one on, so that a
passer-by does not spoil a portrait; and every limit comes from the pack, because detectors and
canvases differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from vultus.core.errors import FaceError
from vultus.faces.engines.detection import Detector, TwoPass, to_picture
from vultus.faces.engines.gauges import Gauges
from vultus.faces.engines.recogniser import Recogniser
from vultus.faces.packs import LimitSpec, Pack
from vultus.faces.records import Emb, Face, FaceResult, Pose, Rgb, State
from vultus.images.quality import sharpness

__all__ = ["Desk", "Gauged", "Reader", "checked", "judge", "open_reader", "sharpness_of"]

SECOND_FACE_SHARE: Final = 0.5
CHUNK: Final = 64


@dataclass(frozen=True, eq=False)
class Desk:
    """Everything that one thread needs to read pictures. The recogniser may be shared."""

    detector: Detector
    recogniser: Recogniser
    gauges: Gauges


class Reader:
    """A `FaceEngine`: one desk per thread, pictures dealt out to them in turn."""

    def __init__(self, pack: Pack, desks: Sequence[Desk]) -> None:
        self._pack = pack
        self._desks = tuple(desks)

    @property
    def pack(self) -> Pack:
        """The data this engine runs on."""
        return self._pack

    def read(self, rgb: Rgb) -> FaceResult:
        """Reads one upright picture."""
        return self.read_many([rgb])[0]

    def read_many(self, pictures: Sequence[Rgb]) -> list[FaceResult]:
        """Reads pictures in order; the nets see them in batches."""
        results: list[FaceResult] = []
        for start in range(0, len(pictures), CHUNK):
            results += self._read_chunk(pictures[start : start + CHUNK])
        return results

    def aligned(self, rgb: Rgb) -> Rgb | None:
        """The chosen face as the recogniser sees it, for people to look at."""
        desk = self._desks[0]
        seen, _ = desk.detector.prepare(checked(rgb))
        found = desk.detector.find_many([seen])[0]
        if not found:
            return None
        return desk.recogniser.align(seen, desk.detector.refine_many([(seen, found[0])])[0][0])

    def _read_chunk(self, pictures: Sequence[Rgb]) -> list[FaceResult]:
        n = min(len(self._desks), len(pictures))
        if n == 1:
            return self._read_at(self._desks[0], pictures)
        shares = [pictures[i::n] for i in range(n)]
        with ThreadPoolExecutor(max_workers=n) as pool:
            read = list(pool.map(self._read_at, self._desks[:n], shares))
        results: list[FaceResult] = [read[i % n][i // n] for i in range(len(pictures))]
        return results

    def _read_at(self, desk: Desk, pictures: Sequence[Rgb]) -> list[FaceResult]:
        prepared = [desk.detector.prepare(checked(rgb)) for rgb in pictures]
        seen = [rgb for rgb, _ in prepared]
        found = [sorted(faces, key=lambda f: -f.size_px) for faces in desk.detector.find_many(seen)]
        with_face = [i for i, faces in enumerate(found) if faces]
        refined = desk.detector.refine_many([(seen[i], found[i][0]) for i in with_face])
        spreads: dict[int, float] = {}
        for i, (face, spread) in zip(with_face, refined, strict=True):
            found[i][0], spreads[i] = face, spread
        chosen = [(seen[i], found[i][0]) for i in with_face]
        poses = dict(zip(with_face, desk.gauges.poses(chosen), strict=True))
        qualities = dict(zip(with_face, desk.gauges.qualities(chosen), strict=True))
        small = self._pack.limits.min_face_px
        readable = [i for i in with_face if found[i][0].size_px / prepared[i][1].scale_x >= small]
        embs: dict[int, Emb] = {}
        if readable:
            rows = desk.recogniser.embed(
                [desk.recogniser.align(seen[i], found[i][0]) for i in readable]
            )
            embs = dict(zip(readable, rows, strict=True))
        results = []
        for i, (rgb, (_, frame)) in enumerate(zip(pictures, prepared, strict=True)):
            faces = [to_picture(face, frame) for face in found[i]]
            spread = spreads.get(i, 0.0) / frame.scale_x
            gauged = Gauged(
                sharpness_of(rgb, faces[0]) if faces else 0.0, poses.get(i), qualities.get(i)
            )
            results.append(self._result(faces, spread, gauged, embs.get(i)))
        return results

    def _result(
        self, faces: Sequence[Face], spread: float, gauged: Gauged, emb: Emb | None
    ) -> FaceResult:
        return FaceResult(
            state=judge(faces, spread, gauged, self._pack.limits),
            faces=tuple(faces),
            chosen=0 if faces else None,
            emb=emb,
            landmark_spread_px=spread,
            sharpness=gauged.sharpness,
            pack_digest=self._pack.digest,
            pose=gauged.pose,
            quality=gauged.quality,
        )


@dataclass(frozen=True)
class Gauged:
    """What was measured of the chosen face beside its points and its vector."""

    sharpness: float
    pose: Pose | None = None
    quality: float | None = None


def open_reader(pack: Pack, *, threads: int = 1) -> Reader:
    """Opens the nets of a pack, once for each thread that reads pictures.

    Only the recogniser is shared, because ONNX Runtime's sessions may be.
    """
    recogniser = Recogniser(pack)
    desks = [Desk(_open_detector(pack), recogniser, Gauges(pack)) for _ in range(max(1, threads))]
    return Reader(pack, desks)


def judge(faces: Sequence[Face], spread_px: float, gauged: Gauged, limits: LimitSpec) -> State:
    """The state of a picture; faces largest first. The order of the questions is part of the
    contract."""
    if not faces:
        return "none"
    size = faces[0].size_px
    if size < limits.min_face_px:
        return "too_small"
    if len(faces) > 1 and faces[1].size_px >= SECOND_FACE_SHARE * size:
        return "several"
    pose = gauged.pose
    # Five points cannot tell a profile from a detector's mistake: only nets may call it extreme.
    if (
        pose is not None
        and pose.by == "nets"
        and (abs(pose.yaw_deg) > limits.max_yaw_deg or abs(pose.pitch_deg) > limits.max_pitch_deg)
    ):
        return "extreme_pose"
    if spread_px > limits.max_spread * size:
        return "uncertain_landmarks"
    if gauged.sharpness < limits.min_sharpness:
        return "blurred"
    return "ok"


def sharpness_of(rgb: Rgb, face: Face) -> float:
    """Sharpness inside the box; 0 when the box lies outside the picture."""
    height, width = rgb.shape[:2]
    x0, y0 = max(0.0, face.box_px[0]), max(0.0, face.box_px[1])
    x1, y1 = min(float(width), face.box_px[2]), min(float(height), face.box_px[3])
    return sharpness(rgb, (x0, y0, x1, y1)) if x1 - x0 >= 2 and y1 - y0 >= 2 else 0.0


def _open_detector(pack: Pack) -> Detector:
    spec = pack.detector
    if spec.kind == "standin":
        from vultus.faces.engines.standin import StandinDetector

        return StandinDetector(pack)
    if spec.kind == "scrfd":
        from vultus.faces.engines.scrfd import Scrfd

        return TwoPass(Scrfd(pack.file(spec.file)), spec)
    from vultus.faces.engines.yunet import YuNet

    return TwoPass(YuNet(pack.file(spec.file)), spec)


def checked(rgb: Rgb) -> Rgb:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or min(rgb.shape[:2]) < 2:
        raise FaceError(
            f"a picture of {rgb.dtype} {rgb.shape} cannot be read",
            expected="uint8 (H, W, 3), RGB, upright",
        )
    return rgb
