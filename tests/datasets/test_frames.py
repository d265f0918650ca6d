"""Frames: sharp ones, one per moment, spread over shots and directions, on a film that this test makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.curation.film import BLURRED_PX, Film, make_film
from tests.datasets.sets import reading
from vultus.core.errors import DatasetError
from vultus.core.seeds import stream
from vultus.datasets.frames import FramesSpec, Seen, choose, refuse_nothing, windows
from vultus.datasets.kinship import parents_of
from vultus.datasets.library import Library
from vultus.datasets.makings import frames_into_library, remember_film, take_frames_out
from vultus.datasets.video import Film as Watched
from vultus.datasets.video import count_frames, pick, watch
from vultus.faces.engines import open_engine
from vultus.faces.packs import find_pack
from vultus.images.hashing import hash_picture
from vultus.images.matching import extract

SHOTS, FRAMES, WANTED = 4, 40, 10


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    path = tmp_path_factory.mktemp("film") / "clip.mp4"
    return make_film(path, index=900, shots=SHOTS, frames=FRAMES)


def test_chosen_frames_are_sharp_and_every_nth_are_not(film: Film, tmp_path: Path) -> None:
    engine = open_engine(find_pack("standin"))
    with Library.create(tmp_path / "set") as library:
        spec = FramesSpec(count=WANTED)
        choice, added = frames_into_library(library, engine, film.path, spec, apply=True)
        entries = library.entries()
    frames = [one.frame for one in choice.chosen]
    assert choice.frames == SHOTS * FRAMES and 6 <= len(frames) <= WANTED
    assert [i for i in frames if film.blur_px[i] >= BLURRED_PX] == []
    every = [int(i) for i in np.linspace(0, SHOTS * FRAMES - 1, WANTED)]
    assert sum(film.blur_px[i] >= BLURRED_PX for i in every) >= 1, "the film is no trap"
    assert len({one.shot for one in choice.chosen}) >= 3
    assert len(added) == len(entries) == len(frames)
    assert all(("origin", "video") in entry.origin for entry in entries)
    lineage = entries[0].lineage
    assert lineage is not None and lineage.how == "frame" and lineage.parent == "clip.mp4"
    parents = parents_of({entry.name: entry for entry in entries})
    assert len(set(parents.values())) == len({one.shot for one in choice.chosen}), (
        "frames of one shot are family, frames of two shots are not"
    )


def test_frames_are_taken_out_and_brought_back(film: Film, tmp_path: Path) -> None:
    engine = open_engine(find_pack("standin"))
    spec = FramesSpec(count=4)
    with Library.create(tmp_path / "set") as library:
        _, added = frames_into_library(library, engine, film.path, spec, apply=True)
        assert len(library.kept()) == len(added) == 4
        assert take_frames_out(library, tmp_path / "another.mp4") == []
        out = take_frames_out(library, film.path)
        assert {one.name for one in out} == {entry.name for entry in added}
        assert library.kept() == () and len(library.entries()) == 4, "nothing is deleted"
        frames_into_library(library, engine, film.path, spec)
        assert library.kept() == (), "a proposal brings nothing back"
        frames_into_library(library, engine, film.path, spec, apply=True)
        assert library.kept() == library.entries() and len(library.kept()) == 4


def test_every_frame_is_looked_at_and_cuts_are_frame_exact(film: Film, tmp_path: Path) -> None:
    seen = watch(film.path)
    assert len(seen.edges) == len(seen.times_s) == SHOTS * FRAMES == count_frames(film.path)
    assert set(seen.cuts) == set(film.cuts)
    assert [len(shot) for shot in seen.shots()] == [FRAMES] * SHOTS
    with Library.create(tmp_path / "set") as library:
        heard: list[float] = []
        remember_film(library, film.path, lambda n=1, **_: heard.append(n))
        remember_film(library, film.path, lambda *_, **__: pytest.fail("watched twice"))
    assert sum(heard) == SHOTS * FRAMES


def test_picked_frames_are_the_ones_asked_for(film: Film) -> None:
    found = dict(pick(film.path, {0, 57, 120}))
    assert sorted(found) == [0, 57, 120]
    assert all(rgb.shape == (256, 256, 3) and rgb.dtype == np.uint8 for rgb in found.values())


def test_windows_take_the_sharpest_and_do_not_cross_cuts() -> None:
    edges = (1.0, 5.0, 2.0, 9.0, 1.0, 3.0)
    seen = Watched(tuple(i * 0.1 for i in range(6)), edges, (3,))
    assert windows(seen, 0.2) == {1: 0, 2: 0, 3: 1, 5: 1}
    assert windows(seen, 10.0) == {1: 0, 3: 1}


def looked(i: int, *, yaw: float, shot: int = 0, sharpness: float = 0.5, who: int = 1) -> Seen:
    rgb = np.asarray(stream("frame", i, shot).integers(0, 256, (64, 64, 3)), dtype=np.uint8)
    one = reading(f"f{i}-{shot}", yaw=yaw, sharpness=sharpness, who=who)
    return Seen(i, i / 24, shot, one, hash_picture(rgb), extract(rgb))


def a_film(shots: int) -> Watched:
    return Watched(tuple(range(100)), (1.0,) * 100, tuple(10 * k for k in range(1, shots)))


def test_the_choice_spreads_over_directions_and_caps_each_shot() -> None:
    seen = [looked(i, yaw=0.2 * i) for i in range(12)] + [looked(50, yaw=40), looked(51, yaw=-40)]
    choice = choose(seen, a_film(1), FramesSpec(count=3, per_shot=12))
    yaws = sorted(one.reading.pose.yaw_deg for one in choice.chosen if one.reading.pose)
    assert len(yaws) == 3 and yaws[0] == -40 and yaws[-1] == 40
    many = [looked(i, yaw=3 * i, shot=i % 2) for i in range(20)]
    capped = choose(many, a_film(2), FramesSpec(count=20, per_shot=4))
    assert [sum(one.shot == k for one in capped.chosen) for k in (0, 1)] == [4, 4]
    assert capped.fallen["more than per_shot of one shot"] == 12


def test_blurred_frames_strangers_and_bursts_fall_with_their_counts() -> None:
    good = [looked(i, yaw=8 * i) for i in range(6)]
    blurred = [looked(20 + i, yaw=50, sharpness=0.2) for i in range(3)]
    strangers = [looked(30 + i, yaw=-30, who=2) for i in range(2)]
    burst = [Seen(40, 1.7, 0, good[0].reading, good[0].hashes, good[0].features)]
    rows = [reading(f"own{i}").emb for i in range(6)]
    persona = np.stack([row for row in rows if row is not None])
    choice = choose(
        [*good, *blurred, *strangers, *burst], a_film(1), FramesSpec(per_shot=20), persona
    )
    assert {one.frame for one in choice.chosen} <= {0, 1, 2, 3, 4, 5, 40}
    assert choice.fallen == {"blurred": 3, "of another person": 2, "of a burst": 1}
    with pytest.raises(DatasetError, match="3 blurred"):
        refuse_nothing(type(choice)((), choice.fallen, 1, 10), Path("clip.mp4"))


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "not.mp4"
    path.write_bytes(b"nothing that a decoder knows" * 50)
    for ask in (watch, count_frames):
        with pytest.raises(DatasetError, match="cannot be opened"):
            ask(path)
    with pytest.raises(DatasetError, match="no such file"):
        watch(tmp_path / "absent.mp4")
