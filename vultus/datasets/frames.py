"""Which frames of a video are worth training on: sharp, with a good face, and unlike each other.

    watch every frame -> the sharpest of each half second -> a readable, sharp face of the persona
      -> bursts collapsed -> at most `per_shot` of a shot -> farthest-point choice

Notation
    n         frames wanted
    d(a, b)   distance of two frames: (yaw / 30 deg, pitch / 20 deg, (1 - cosine) / 0.2), Euclidean
    worth     sharpness of the face x quality of the face (1 where the pack has no quality net)
Farthest-point: the first is the frame of most worth, each next one lies farthest from all chosen (Gonzalez 1985: at
most twice as far from its nearest chosen one as the best choice of n would allow). Every frame carries where it comes
from (lineage "frame", origin "video"), so that an arm without them can always be trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus.core.errors import DatasetError
from vultus.core.specs import setting
from vultus.datasets.readings import Reading, pack_reading, unpack
from vultus.datasets.video import Film, pick
from vultus.faces.records import FaceEngine
from vultus.images.hashing import Hashes, hamming, hash_picture
from vultus.images.matching import Features, extract, match
from vultus.images.records import Rgb

BATCH = 8
BURST_BITS = 31
BURST_CELLS = 20
BURST_YAW_DEG = 6.0
USABLE = ("ok", "uncertain_landmarks", "extreme_pose")


@dataclass(frozen=True)
class FramesSpec:
    """How frames are chosen from a video."""

    count: int = setting(20, help="frames to choose", low=1, high=1000)
    window_s: float = setting(
        0.5, help="of every so many seconds only the sharpest frame is looked at", low=0.04, high=60
    )
    per_shot: int = setting(5, help="most frames of one shot", low=1, high=1000)
    sharpness_share: float = setting(
        0.7,
        help="share of the video's own best face sharpness below which a frame is blurred",
        low=0.0,
        high=1.0,
    )
    persona_share: float = setting(
        0.5,
        help="share of the persona's median cosine below which a frame shows somebody else",
        low=0.0,
        high=1.0,
    )


@dataclass(frozen=True, eq=False)
class Seen:
    """One frame that was looked at closely."""

    frame: int
    time_s: float
    shot: int
    reading: Reading
    hashes: Hashes
    features: Features

    @property
    def worth(self) -> float:
        """Sharpness of the face, weighed with its quality where a net tells it."""
        quality = self.reading.quality
        return self.reading.sharpness * (1.0 if quality is None else max(quality, 0.01))


@dataclass(frozen=True)
class Choice:
    """What became of a video: the chosen frames in order of choice, and how many fell where."""

    chosen: tuple[Seen, ...]
    fallen: dict[str, int]
    shots: int
    frames: int


def windows(film: Film, window_s: float) -> dict[int, int]:
    """The sharpest frame of each window, and the shot it lies in. Windows do not cross cuts."""
    best: dict[tuple[int, int], int] = {}
    for number, shot in enumerate(film.shots()):
        for i in shot:
            window = int((film.times_s[i] - film.times_s[shot[0]]) / window_s + 1e-9)
            key = (number, window)
            if key not in best or film.edges[i] > film.edges[best[key]]:
                best[key] = i
    return {frame: shot for (shot, _), frame in best.items()}


def look(
    path: Path,
    film: Film,
    engine: FaceEngine,
    spec: FramesSpec,
    advance: Callable[..., None] = lambda *_, **__: None,
) -> list[Seen]:
    """Read the face in the sharpest frame of every window."""
    shots = windows(film, spec.window_s)
    seen: list[Seen] = []
    batch: list[tuple[int, Rgb]] = []
    for index, rgb in pick(path, set(shots)):
        batch.append((index, rgb))
        if len(batch) == BATCH:
            seen += _read(path, batch, shots, film, engine)
            advance(len(batch))
            batch = []
    seen += _read(path, batch, shots, film, engine)
    advance(len(batch))
    return seen


def choose(
    seen: Sequence[Seen],
    film: Film,
    spec: FramesSpec,
    persona: npt.NDArray[np.float32] | None = None,
) -> Choice:
    """Choose frames. `persona` are face vectors (m, d) of the persona's pictures, unit rows, same pack."""
    fallen: dict[str, int] = {}
    left = _usable(seen, spec, persona, fallen)
    left = _collapse(left, fallen)
    capped: list[Seen] = []
    for shot in sorted({one.shot for one in left}):
        own = [one for one in left if one.shot == shot]
        chosen = _farthest(own, spec.per_shot)
        fallen["more than per_shot of one shot"] = (
            fallen.get("more than per_shot of one shot", 0) + len(own) - len(chosen)
        )
        capped += chosen
    final = _farthest(capped, spec.count)
    fallen["not needed"] = len(capped) - len(final)
    return Choice(
        tuple(final), {k: v for k, v in fallen.items() if v}, len(film.shots()), len(film.edges)
    )


def refuse_nothing(choice: Choice, path: Path) -> None:
    """Raise DatasetError when no frame was chosen, with what the frames fell for."""
    if not choice.chosen:
        told = ", ".join(f"{n} {why}" for why, n in choice.fallen.items()) or "no frames"
        raise DatasetError(
            f"no frame can be used: {told}",
            where=str(path),
            expected="a video with sharp frames that show one clear face",
            next_command="choose another video, or the face pack that fits it (--pack)",
        )


def _read(
    path: Path,
    batch: Sequence[tuple[int, Rgb]],
    shots: dict[int, int],
    film: Film,
    engine: FaceEngine,
) -> list[Seen]:
    results = engine.read_many([rgb for _, rgb in batch]) if batch else []
    return [
        Seen(
            frame=index,
            time_s=film.times_s[index],
            shot=shots[index],
            reading=unpack(
                f"{path.stem}-{index:06d}.png", "", pack_reading(rgb, result, engine.pack)
            ),
            hashes=hash_picture(rgb),
            features=extract(rgb),
        )
        for (index, rgb), result in zip(batch, results, strict=True)
    ]


def _usable(
    seen: Sequence[Seen],
    spec: FramesSpec,
    persona: npt.NDArray[np.float32] | None,
    fallen: dict[str, int],
) -> list[Seen]:
    """Frames with one readable, sharp face, of the persona where its pictures are known."""
    faces = [
        one for one in seen if one.reading.face_state in USABLE and one.reading.emb is not None
    ]
    fallen["without one readable face"] = len(seen) - len(faces)
    if not faces:
        return []
    best = float(np.percentile([one.reading.sharpness for one in faces], 90))
    sharp = [one for one in faces if one.reading.sharpness >= spec.sharpness_share * best]
    fallen["blurred"] = len(faces) - len(sharp)
    if persona is None or len(persona) < 3:
        return sharp
    rows = persona.astype(np.float64)
    others = rows.sum(axis=0) - rows
    own = (rows * others).sum(axis=1) / np.linalg.norm(others, axis=1)
    centre = rows.sum(axis=0) / np.linalg.norm(rows.sum(axis=0))
    cut = spec.persona_share * float(np.median(own))
    same = [one for one in sharp if float(_emb(one) @ centre) >= cut]
    fallen["of another person"] = len(sharp) - len(same)
    return same


def _collapse(seen: Sequence[Seen], fallen: dict[str, int]) -> list[Seen]:
    """Of frames that show one moment keep the best: same shot, and one picture by hash or by key points and pose."""
    kept: list[Seen] = []
    for one in sorted(seen, key=lambda s: (-s.worth, s.frame)):
        if not any(_one_moment(one, other) for other in kept):
            kept.append(one)
    fallen["of a burst"] = len(seen) - len(kept)
    return sorted(kept, key=lambda s: s.frame)


def _one_moment(a: Seen, b: Seen) -> bool:
    if a.shot != b.shot:
        return False
    if hamming(a.hashes.plain, b.hashes.plain) <= BURST_BITS:
        return True
    p, q = a.reading.pose, b.reading.pose
    if p is None or q is None or abs(p.yaw_deg - q.yaw_deg) > BURST_YAW_DEG:
        return False
    if abs(p.pitch_deg - q.pitch_deg) > BURST_YAW_DEG or float(_emb(a) @ _emb(b)) < 0.9:
        return False
    return match(a.features, b.features).cells >= 2 * BURST_CELLS


def _farthest(seen: Sequence[Seen], count: int) -> list[Seen]:
    """Farthest-point choice of at most `count` frames, the one of most worth first."""
    if len(seen) <= count:
        return sorted(seen, key=lambda s: (-s.worth, s.frame))
    places = np.stack([_place(one) for one in seen])
    chosen = [max(range(len(seen)), key=lambda i: (seen[i].worth, -seen[i].frame))]
    nearest = np.full(len(seen), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, _distances(places, seen, chosen[-1]))
        nearest[chosen] = -1.0
        chosen.append(int(nearest.argmax()))
    return [seen[i] for i in chosen]


def _distances(
    places: npt.NDArray[np.float64], seen: Sequence[Seen], i: int
) -> npt.NDArray[np.float64]:
    faces = np.array([1.0 - float(_emb(one) @ _emb(seen[i])) for one in seen]) / 0.2
    return np.asarray(np.hypot(np.linalg.norm(places - places[i], axis=1), faces))


def _place(one: Seen) -> npt.NDArray[np.float64]:
    pose = one.reading.pose
    return np.array([0.0, 0.0] if pose is None else [pose.yaw_deg / 30.0, pose.pitch_deg / 20.0])


def _emb(one: Seen) -> npt.NDArray[np.float64]:
    assert one.reading.emb is not None  # `_usable` let no other pass
    return one.reading.emb.astype(np.float64)


__all__ = ["Choice", "FramesSpec", "Seen", "choose", "look", "refuse_nothing", "windows"]
