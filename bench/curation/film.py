"""A film of a stand-in persona whose every frame's blur is known: what the frame chooser is examined on.

Notation
    blur_px    standard deviation of the blur of one frame, px of the 128 px canvas; 0 = sharp
    shot       one place, one outfit, one framing; the head turns slowly
Episodes of blur begin and end at random places and last a quarter of a second to more than one, so that some windows
hold nothing but blurred frames: choosing the sharpest of a window is then not enough.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from vultus.core.files import staged
from vultus.core.seeds import stream
from vultus.standin.nuisance import FRAMINGS, Nuisance, sample_nuisance, without_accessories
from vultus.standin.personas import persona
from vultus.standin.render import render

__all__ = ["BLURRED_PX", "FPS", "Film", "make_film"]

FPS = 24
BLURRED_PX = 1.0
"""From here on a frame counts as blurred: at 128 px the eyes begin to run."""
SIDE_PX = 256


@dataclass(frozen=True)
class Film:
    """A film and the truth about its frames."""

    path: Path
    blur_px: tuple[float, ...]
    cuts: tuple[int, ...]
    yaw_deg: tuple[float, ...]


def make_film(path: Path, *, index: int, shots: int = 8, frames: int = 60) -> Film:
    """Draw and encode a film (H.264, near lossless)."""
    import av

    rng = stream("bench film", index)
    scenes = [
        without_accessories(sample_nuisance(rng, framing=FRAMINGS[k % 2])) for k in range(shots)
    ]
    blur = _blur(shots * frames, rng)
    yaws: list[float] = []
    with staged(path) as draft, av.open(str(draft), "w", format="mp4") as container:
        track = container.add_stream("libx264", rate=FPS)
        track.width = track.height = SIDE_PX
        track.pix_fmt = "yuv420p"
        track.options = {"crf": "12", "preset": "veryfast"}
        for n in range(shots * frames):
            scene = _moved(scenes[n // frames], (n % frames) / frames, n // frames)
            rgb = render(persona(index), replace(scene, blur_px=blur[n])).rgb
            yaws.append(-float(np.degrees(scene.yaw)))
            large = cv2.resize(rgb, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
            for packet in track.encode(
                av.VideoFrame.from_ndarray(np.asarray(large), format="rgb24")
            ):
                container.mux(packet)
        for packet in track.encode():
            container.mux(packet)
    cuts = tuple(range(frames, shots * frames, frames))
    return Film(path, tuple(float(b) for b in blur), cuts, tuple(yaws))


def _moved(scene: Nuisance, t: float, shot: int) -> Nuisance:
    """The scene at time t (0..1) of its shot: the head turns and nods, the body sways."""
    phase = 2 * np.pi * (t + 0.37 * shot)
    return replace(
        scene,
        yaw=float(0.40 * np.sin(phase)),
        pitch=float(0.15 * np.sin(0.7 * phase + shot)),
        centre=(float(64 + 5 * np.sin(phase)), scene.centre[1]),
    )


def _blur(count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    blur = np.zeros(count)
    n = int(rng.integers(4, 16))
    while n < count:
        length = int(rng.integers(6, 34))
        blur[n : n + length] = rng.uniform(1.4, 3.5)
        n += length + int(rng.integers(10, 30))
    return blur
