"""Videos: their shots and the sharpness of their frames, decoded once from beginning to end.

Notation
    frame      index in the order of display, from 0
    edge       `images.quality.laplacian_p90` of the frame at 360 px height, grey levels squared
    cut        index of the first frame of a shot (PySceneDetect's adaptive detector, frame-exact)

This is the one file that knows PyAV and PySceneDetect (the extra `video`). Pictures are handed on one at a time: an
hour of film never lies in memory.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vultus.core.errors import DatasetError, MissingExtraError
from vultus.images.quality import laplacian_p90
from vultus.images.records import Rgb

WORKING_HEIGHT_PX = 360
MOST_PIXELS = 64 * 1024 * 1024
CUT_MIN_FRAMES = 8


@dataclass(frozen=True)
class Film:
    """A video at first sight: what each frame is worth and where shots begin."""

    times_s: tuple[float, ...]
    edges: tuple[float, ...]
    cuts: tuple[int, ...]

    def shots(self) -> list[range]:
        """The frames of each shot."""
        bounds = sorted({0, *self.cuts, len(self.edges)})
        return [range(a, b) for a, b in itertools.pairwise(bounds)]


def watch(path: Path, advance: Callable[..., None] = lambda *_, **__: None) -> Film:
    """Look at every frame. Raises DatasetError for what is no video, MissingExtraError without the extra."""
    _refuse_missing()
    from scenedetect.common import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector

    detector = AdaptiveDetector(min_scene_len=CUT_MIN_FRAMES)
    cuts: list[int] = []
    times: list[float] = []
    edges: list[float] = []
    for index, frame, fps in _decode(path):
        height = min(WORKING_HEIGHT_PX, frame.height)
        width = max(2, round(frame.width * height / frame.height))
        small = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
        times.append(index / fps if frame.time is None else float(frame.time))
        edges.append(round(laplacian_p90(np.asarray(small, dtype=np.uint8)), 3))
        bgr = np.ascontiguousarray(small[..., ::-1])
        found = detector.process_frame(FrameTimecode(index, fps), bgr)
        cuts.extend(int(cut.frame_num) for cut in found)
        advance(1)
    if not edges:
        raise _no_video(path, "it holds no pictures")
    return Film(tuple(times), tuple(edges), tuple(sorted(set(cuts))))


def count_frames(path: Path) -> int:
    """How many frames the file says it has; an estimate, 0 where it says nothing."""
    _refuse_missing()
    with _opened(path) as container:
        stream = container.streams.video[0]
        if stream.frames:
            return int(stream.frames)
        rate = float(stream.average_rate or 25)
        return int((container.duration or 0) / 1e6 * rate)


def pick(path: Path, frames: set[int]) -> Iterator[tuple[int, Rgb]]:
    """Decode again and hand out these frames as upright RGB (H, W, 3), in order."""
    _refuse_missing()
    last = max(frames, default=-1)
    for index, frame, _ in _decode(path):
        if index > last:
            return
        if index in frames:
            yield index, _upright(frame)


def _decode(path: Path) -> Iterator[tuple[int, Any, float]]:
    import av

    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        fps = float(stream.average_rate or 25)
        try:
            for index, frame in enumerate(container.decode(stream)):
                if frame.width * frame.height > MOST_PIXELS:
                    raise _no_video(path, f"a frame has {frame.width} x {frame.height} px")
                yield index, frame, fps
        except av.FFmpegError as fault:
            raise _no_video(path, f"it breaks off ({fault.strerror or fault})") from fault


def _upright(frame: Any) -> Rgb:
    """The frame as it is shown: phones write upright films as lying ones with a turn."""
    rgb = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    turns = round(float(getattr(frame, "rotation", 0) or 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(rgb, turns))


def _opened(path: Path) -> Any:
    import av

    if not path.is_file():
        raise _no_video(path, "there is no such file")
    try:
        container = av.open(str(path), mode="r")
    except av.FFmpegError as fault:
        raise _no_video(path, f"it cannot be opened ({fault.strerror or fault})") from fault
    if not container.streams.video:
        container.close()
        raise _no_video(path, "it has no picture stream")
    return container


def _refuse_missing() -> None:
    for package in ("av", "scenedetect"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(
                f"videos need the package {package!r}, which is not installed",
                next_command="VULTUS_EXTRAS=video make setup",
            )


def _no_video(path: Path, what: str) -> DatasetError:
    return DatasetError(
        what,
        where=str(path),
        expected="a video file that FFmpeg can decode (MP4, MOV, MKV, WebM, ...)",
        next_command="vultus dataset frames DATASET VIDEO",
    )


__all__ = ["Film", "count_frames", "pick", "watch"]
