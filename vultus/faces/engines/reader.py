"""The one path from pictures to results: find, choose, measure again, align, embed, judge.

The chosen face is the largest. Two rules decide the rest of a picture's state (faces.records lists
all): a second face makes it `several` only from half the size of the chosen one on, so that a
passer-by does not spoil a portrait; and every limit comes from the pack, because detectors and
canvases differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from vultus.core.errors import FaceError
from vultus.faces.engines.detection import Detector, TwoPass
from vultus.faces.engines.recogniser import Recogniser
from vultus.faces.packs import LimitSpec, Pack
from vultus.faces.records import Emb, Face, FaceResult, Rgb, State
from vultus.images.quality import sharpness

__all__ = ["Reader", "judge", "open_reader"]

SECOND_FACE_SHARE: Final = 0.5
CHUNK: Final = 64


class Reader:
    """A `FaceEngine` made of a detector and a recogniser."""

    def __init__(self, pack: Pack, detector: Detector, recogniser: Recogniser) -> None:
        self._pack = pack
        self._detector = detector
        self._recogniser = recogniser

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
        found = self._detector.find_many([_checked(rgb)])[0]
        if not found:
            return None
        return self._recogniser.align(rgb, self._detector.refine_many([(rgb, found[0])])[0][0])

    def _read_chunk(self, pictures: Sequence[Rgb]) -> list[FaceResult]:
        checked = [_checked(rgb) for rgb in pictures]
        found = [
            sorted(faces, key=lambda f: -f.size_px) for faces in self._detector.find_many(checked)
        ]
        with_face = [i for i, faces in enumerate(found) if faces]
        refined = self._detector.refine_many([(checked[i], found[i][0]) for i in with_face])
        spreads: dict[int, float] = {}
        for i, (face, spread) in zip(with_face, refined, strict=True):
            found[i][0], spreads[i] = face, spread
        limits = self._pack.limits
        readable = [i for i in with_face if found[i][0].size_px >= limits.min_face_px]
        embs: dict[int, Emb] = {}
        if readable:
            rows = self._recogniser.embed(
                [self._recogniser.align(checked[i], found[i][0]) for i in readable]
            )
            embs = dict(zip(readable, rows, strict=True))
        return [
            self._result(rgb, found[i], spreads.get(i, 0.0), embs.get(i))
            for i, rgb in enumerate(checked)
        ]

    def _result(
        self, rgb: Rgb, faces: Sequence[Face], spread: float, emb: Emb | None
    ) -> FaceResult:
        sharp = sharpness_of(rgb, faces[0]) if faces else 0.0
        return FaceResult(
            state=judge(faces, spread, sharp, self._pack.limits),
            faces=tuple(faces),
            chosen=0 if faces else None,
            emb=emb,
            landmark_spread_px=spread,
            sharpness=sharp,
            pack_digest=self._pack.digest,
        )


def open_reader(pack: Pack, *, threads: int = 1) -> Reader:
    """Opens the nets of a pack."""
    return Reader(pack, _open_detector(pack, threads), Recogniser(pack, threads=threads))


def judge(faces: Sequence[Face], spread_px: float, sharp: float, limits: LimitSpec) -> State:
    """The state of a picture; faces largest first. The order of the questions is part of the
    contract."""
    if not faces:
        return "none"
    size = faces[0].size_px
    if size < limits.min_face_px:
        return "too_small"
    if len(faces) > 1 and faces[1].size_px >= SECOND_FACE_SHARE * size:
        return "several"
    if spread_px > limits.max_spread * size:
        return "uncertain_landmarks"
    if sharp < limits.min_sharpness:
        return "blurred"
    return "ok"


def sharpness_of(rgb: Rgb, face: Face) -> float:
    """Sharpness inside the box; 0 when the box lies outside the picture."""
    height, width = rgb.shape[:2]
    x0, y0 = max(0.0, face.box_px[0]), max(0.0, face.box_px[1])
    x1, y1 = min(float(width), face.box_px[2]), min(float(height), face.box_px[3])
    return sharpness(rgb, (x0, y0, x1, y1)) if x1 - x0 >= 2 and y1 - y0 >= 2 else 0.0


def _open_detector(pack: Pack, threads: int) -> Detector:
    kind, spec = pack.detector.kind, pack.detector
    if kind == "standin":
        from vultus.faces.engines.standin import StandinDetector

        return StandinDetector(pack, threads=threads)
    if kind == "scrfd":
        from vultus.faces.engines.scrfd import Scrfd

        look = Scrfd(pack.file(spec.file), threads=threads)
        return TwoPass(look, min_score=spec.min_score, two_pass=spec.two_pass)
    from vultus.faces.engines.yunet import YuNet

    return TwoPass(YuNet(pack.file(spec.file)), min_score=spec.min_score, two_pass=spec.two_pass)


def _checked(rgb: Rgb) -> Rgb:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or min(rgb.shape[:2]) < 2:
        raise FaceError(
            f"a picture of {rgb.dtype} {rgb.shape} cannot be read",
            expected="uint8 (H, W, 3), RGB, upright",
        )
    return rgb
