"""SCRFD and ArcFace as InsightFace runs them: planted answers, and the package's own recorded ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.faces.insight_nets import PICTURE_SIZES, pictures, save_detector, save_recogniser
from tests.faces.planted_nets import TEMPLATE, constant_net, recogniser_net
from vultus.core.errors import PackError
from vultus.faces.engines import open_engine
from vultus.faces.engines.recogniser import Recogniser
from vultus.faces.engines.scrfd import Scrfd
from vultus.faces.packs import DetectorSpec, Pack, PackSpec, RecogniserSpec, write_pack
from vultus.faces.records import Face

SIDE = 64
FIVE = np.array([[-6, -8], [6, -8], [0, 0], [-5, 7], [5, 7]], dtype=np.float32)


def answers() -> list[npt.NDArray[np.float32]]:
    """Nine outputs; two anchors speak: stride 8 cell (3, 2) weakly, stride 16 cell (2, 1) strongly.

    Both describe the same face around (30, 17): only the strong one may survive.
    """
    scores, boxes, points = [], [], []
    for stride in (8, 16, 32):
        n = (SIDE // stride) ** 2 * 2
        scores.append(np.zeros((n, 1), np.float32))
        boxes.append(np.ones((n, 4), np.float32))
        points.append(np.zeros((n, 10), np.float32))
    for level, stride, column, row, anchor, score in ((0, 8, 3, 2, 1, 0.6), (1, 16, 2, 1, 0, 0.9)):
        i = (row * (SIDE // stride) + column) * 2 + anchor
        x, y = column * stride, row * stride
        scores[level][i] = score
        boxes[level][i] = np.array([x - 20, y - 5, 40 - x, 29 - y]) / stride
        points[level][i] = ((FIVE + np.array((30, 17)) - (x, y)) / stride).reshape(-1)
    return [*scores, *boxes, *points]


@pytest.fixture(name="net")
def make_net(tmp_path: Path) -> Path:
    constant_net(tmp_path / "det.onnx", SIDE, answers())
    return tmp_path / "det.onnx"


@pytest.mark.parametrize(("width", "height", "k"), [(64, 64, 1.0), (128, 128, 2.0), (32, 24, 0.5)])
def test_the_planted_face_is_decoded_and_scaled_back(
    net: Path, width: int, height: int, k: float
) -> None:
    faces = Scrfd(net).detect(np.full((height, width, 3), 90, np.uint8), 0.5)
    assert len(faces) == 1
    assert faces[0].score == pytest.approx(0.9, abs=1e-6)
    assert np.allclose(faces[0].box_px, np.array([20, 5, 40, 29]) * k, atol=1e-4)
    assert np.allclose(faces[0].points_px, (FIVE + np.array((30, 17))) * k, atol=1e-4)


def test_a_threshold_above_both_finds_nobody(net: Path) -> None:
    assert Scrfd(net).detect(np.full((64, 64, 3), 90, np.uint8), 0.95) == []


def test_graphs_of_another_shape_are_refused(tmp_path: Path) -> None:
    constant_net(tmp_path / "six.onnx", SIDE, answers()[:6])
    with pytest.raises(PackError, match="6 outputs"):
        Scrfd(tmp_path / "six.onnx")
    wrong = answers()
    wrong[0] = wrong[0][:-2]
    constant_net(tmp_path / "odd.onnx", SIDE, wrong)
    with pytest.raises(PackError, match="126 anchors at stride 8, not 128"):
        Scrfd(tmp_path / "odd.onnx").detect(np.zeros((64, 64, 3), np.uint8), 0.5)


def test_a_pack_with_it_reads_a_picture(net: Path, tmp_path: Path) -> None:
    recogniser_net(tmp_path / "rec.onnx")
    spec = PackSpec(
        name="user",
        licence="non-commercial",
        judge="r",
        detector=DetectorSpec(
            kind="scrfd", file="det.onnx", min_score=0.5, two_pass=False, first_pass_px=(0,)
        ),
        recognisers={"r": RecogniserSpec(file="rec.onnx", size_px=56, template_px=TEMPLATE)},
    )
    result = open_engine(write_pack(tmp_path, spec)).read(np.full((640, 640, 3), 90, np.uint8))
    assert result.state == "ok" and result.face is not None
    assert np.allclose(result.face.box_px, np.array([20, 5, 40, 29]) * 10, atol=1e-3)
    assert result.emb is not None and result.emb.shape == (192,)


def insight_pack(folder: Path) -> Pack:
    """The random graphs under the settings of the catalogue's InsightFace packs."""
    from vultus.core.specs import load
    from vultus.faces.packs import CATALOGUE

    listed = load(PackSpec, CATALOGUE / "buffalo_l.toml")
    save_detector(folder / listed.detector.file)
    save_recogniser(folder / listed.recognisers[listed.judge].file)
    return write_pack(folder, listed)


def test_faces_and_vectors_are_those_of_the_insightface_package(tmp_path: Path) -> None:
    """Six pictures of all shapes, 141 to 197 overlapping boxes each: every box the same."""
    golden = json.loads((Path(__file__).parent / "golden" / "insightface.json").read_text())
    assert golden["provenance"].startswith("insightface 2.1 (SCRFD, ArcFaceONNX)")
    pack = insight_pack(tmp_path)
    detector, recogniser = Scrfd(pack.file(pack.detector.file)), Recogniser(pack)
    compared = vectors = 0
    for rgb, row in zip(pictures(), golden["rows"], strict=True):
        found = detector.detect(rgb, pack.detector.min_score)
        assert len(found) == row["count"]
        for ours, theirs in zip(found, row["faces"], strict=False):
            assert ours.score == pytest.approx(theirs["score"], abs=1e-4)
            assert np.abs(np.array(ours.box_px) - theirs["box"]).max() < 0.02
            assert np.abs(ours.points_px - np.array(theirs["points"])).max() < 0.02
            compared += 1
            if "emb" in theirs:
                face = Face(ours.box_px, np.array(theirs["points"], np.float32), ours.score)
                emb = recogniser.embed([recogniser.align(rgb, face)])[0]
                assert float(emb @ np.array(theirs["emb"], np.float32)) > 0.9999
                vectors += 1
    assert compared == 12 * len(PICTURE_SIZES) and vectors == 2 * len(PICTURE_SIZES)
