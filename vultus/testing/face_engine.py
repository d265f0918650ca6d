"""The exam of face engines: `check_face_engine(engine, pictures)` asserts what `faces.records.FaceEngine` promises."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vultus.faces.records import STATES, FaceEngine, FaceResult, Rgb


def check_face_engine(engine: FaceEngine, pictures: Sequence[Rgb]) -> None:
    """Read pictures alone, together and again. Among them must be one with a face and one without."""
    assert len(pictures) >= 3, "the exam needs at least three pictures"
    copies = [rgb.copy() for rgb in pictures]
    together = engine.read_many(pictures)
    assert len(together) == len(pictures), "one result per picture, in order"
    for rgb, copy in zip(pictures, copies, strict=True):
        assert np.array_equal(rgb, copy), "the engine wrote into its input"
    for rgb, result in zip(pictures, together, strict=True):
        _check_result(result, rgb, engine.pack.digest)
    alone = [engine.read(rgb) for rgb in pictures]
    for one, other in zip(alone, together, strict=True):
        _check_same(one, other)
    backwards = engine.read_many(pictures[::-1])[::-1]
    for one, other in zip(backwards, together, strict=True):
        _check_same(one, other)
    states = {result.state for result in together}
    assert "none" in states, "no picture of the exam is without a face"
    assert states - {"none"}, "no picture of the exam shows a face"
    assert engine.read_many([]) == []


def _check_result(result: FaceResult, rgb: Rgb, digest: str) -> None:
    assert result.state in STATES
    assert result.pack_digest == digest
    if result.state == "none":
        assert result.emb is None
        assert result.face is None
        return
    face = result.face
    assert face is not None
    assert face.points_px.shape == (5, 2)
    x0, y0, x1, y1 = face.box_px
    assert x1 > x0 and y1 > y0
    sizes = [one.size_px for one in result.faces]
    assert sizes == sorted(sizes, reverse=True), "faces are not sorted by size"
    if result.state == "too_small":
        assert result.emb is None
        return
    assert result.emb is not None and result.emb.dtype == np.float32
    assert abs(float(np.linalg.norm(result.emb.astype(np.float64))) - 1.0) < 1e-4


def _check_same(one: FaceResult, other: FaceResult) -> None:
    assert one.state == other.state, "the state depends on the neighbours"
    assert (one.emb is None) == (other.emb is None)
    if one.emb is not None and other.emb is not None:
        assert float(np.abs(one.emb - other.emb).max()) < 1e-4, (
            "the vector depends on the neighbours"
        )


__all__ = ["check_face_engine"]
