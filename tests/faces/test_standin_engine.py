"""The stand-in's detector path on planted nets: positions to a fraction of a pixel, any size, any place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.faces.planted_nets import face_picture, planted_pack
from vultus.core.errors import FaceError, PackError
from vultus.faces.engines import open_engine
from vultus.faces.records import FaceEngine
from vultus.faces.similarity import cosine, gather


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaceEngine]:
    yield open_engine(planted_pack(tmp_path_factory.mktemp("packs") / "planted"))


@pytest.mark.parametrize(
    ("size_px", "centre", "width", "height", "turn"),
    [
        (64.0, (64.0, 64.0), 128, 128, 0.0),
        (30.0, (40.3, 71.8), 128, 128, 0.2),
        (22.0, (100.2, 30.1), 128, 128, -0.15),
        (90.0, (150.7, 140.2), 320, 240, 0.1),
        (60.0, (60.5, 220.9), 200, 300, 0.0),
        (120.0, (290.0, 60.0), 360, 240, 0.3),
        (40.0, (33.0, 40.0), 90, 90, 0.0),
    ],
)
def test_points_are_found_where_they_are(
    engine: FaceEngine,
    size_px: float,
    centre: tuple[float, float],
    width: int,
    height: int,
    turn: float,
) -> None:
    rgb, points = face_picture("ada", size_px, centre, width, height, turn)
    result = engine.read(rgb)
    assert result.state == "ok" and result.face is not None and len(result.faces) == 1
    error = np.abs(result.face.points_px - points).max()
    # Resampled marks of two pixels cost 0.15 px; a frame that forgot half a pixel costs 0.5 or more.
    assert error < 0.25, f"{error:.3f} px"
    assert result.landmark_spread_px < 0.2
    extent = float((points.max(axis=0) - points.min(axis=0)).max())
    assert result.face.size_px == pytest.approx(2.2 * extent, rel=0.02)
    assert result.emb is not None
    assert np.linalg.norm(result.emb) == pytest.approx(1.0, abs=1e-6)


def test_one_person_is_one_direction_wherever_the_face_is(engine: FaceEngine) -> None:
    poses = [(64.0, (64.0, 64.0), 0.0), (44.0, (50.0, 80.0), 0.2), (80.0, (70.0, 60.0), -0.25)]
    seen = {
        who: gather(engine.read_many([face_picture(who, s, c, turn=t)[0] for s, c, t in poses]))
        for who in ("ada", "bea", "cleo")
    }
    same = [cosine(v, v)[np.triu_indices(3, 1)].min() for v in seen.values()]
    other = [cosine(seen[a], seen[b]).max() for a, b in (("ada", "bea"), ("ada", "cleo"))]
    assert min(same) > 0.93
    assert max(other) < min(same) - 0.15


def test_a_batch_reads_like_one_by_one(engine: FaceEngine) -> None:
    pictures = [
        face_picture(f"p{i}", 40.0 + i, width=120 + i)[0] for i in range(70)
    ]  # more than one chunk
    pictures[5] = np.full((128, 128, 3), 128, np.uint8)
    together = engine.read_many(pictures)
    assert len(together) == 70 and together[5].state == "none"
    compared = 0
    for i in (0, 1, 5, 33, 63, 64, 69):
        alone, among = engine.read(pictures[i]), together[i]
        assert alone.state == among.state
        if alone.emb is not None:
            assert among.emb is not None
            assert np.abs(alone.emb - among.emb).max() < 1e-5
            compared += 1
    assert compared == 6


def test_no_face_is_a_result(engine: FaceEngine) -> None:
    result = engine.read(np.full((100, 140, 3), 128, np.uint8))
    assert result.state == "none" and result.faces == () and result.chosen is None
    assert result.emb is None and result.face is None
    assert engine.read_many([]) == []


@pytest.mark.parametrize(
    ("limits", "state", "has_emb"),
    [
        ({"min_face_px": 200.0}, "too_small", False),
        ({"max_spread": 0.0}, "uncertain_landmarks", True),
        ({"min_sharpness": 0.99}, "blurred", True),
    ],
)
def test_limits_of_the_pack_make_the_state(
    tmp_path: Path, limits: dict[str, float], state: str, has_emb: bool
) -> None:
    result = open_engine(planted_pack(tmp_path, **limits)).read(face_picture("ada", 50.3)[0])
    assert result.state == state
    assert (result.emb is not None) == has_emb
    assert result.face is not None


def test_results_carry_the_digest_of_their_recogniser(tmp_path: Path) -> None:
    pack = planted_pack(tmp_path)
    rgb = face_picture("ada")[0]
    a = open_engine(pack).read(rgb)
    b = open_engine(pack.choose("b")).read(rgb)
    assert a.pack_digest == pack.digest != b.pack_digest
    with pytest.raises(FaceError, match="different packs"):
        cosine(gather([a]), gather([b]))
    with pytest.raises(FaceError, match="different packs"):
        gather([a, b])


def test_the_picture_is_not_touched(engine: FaceEngine) -> None:
    rgb = face_picture("ada")[0]
    before = rgb.copy()
    rgb.flags.writeable = False
    engine.read(rgb)
    assert np.array_equal(rgb, before)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((1, 1, 3), np.uint8),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(engine: FaceEngine, bad: object) -> None:
    with pytest.raises(FaceError, match="cannot be read"):
        engine.read(bad)  # type: ignore[arg-type]


def test_a_net_that_is_none_is_a_pack_error(tmp_path: Path) -> None:
    pack = planted_pack(tmp_path)
    (tmp_path / "landmarks.onnx").write_bytes(b"not a net")
    with pytest.raises(PackError, match="cannot open"):
        open_engine(pack)


def test_a_net_of_another_size_is_a_pack_error(tmp_path: Path) -> None:
    pack = planted_pack(tmp_path)
    toml = (tmp_path / "pack.toml").read_text().replace("size_px = 56", "size_px = 112")
    (tmp_path / "pack.toml").write_text(toml)
    from vultus.faces.packs import load_pack

    assert pack.digest != load_pack(tmp_path).digest
    with pytest.raises(PackError, match=r"pack\.toml says 112"):
        open_engine(load_pack(tmp_path))
