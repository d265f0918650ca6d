"""Cosines by hand, and no meeting of two packs."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.core.errors import FaceError
from vultus.faces.records import FaceResult, State
from vultus.faces.similarity import (
    Vectors,
    centroid,
    cosine,
    cosine_to_centroid,
    gather,
    leave_one_out,
)


def some(n: int, seed: int = 0, digest: str = "sha256:a") -> Vectors:
    rows = np.random.default_rng(seed).standard_normal((n, 16))
    rows[:, 0] += 2.0
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return Vectors(unit.astype(np.float32), digest)


def test_every_pair_and_the_centroid_by_hand() -> None:
    a, b = some(5, 1), some(3, 2)
    table = cosine(a, b)
    mean = b.rows.astype(np.float64).mean(axis=0)
    mean /= np.linalg.norm(mean)
    assert table.shape == (5, 3) and table.dtype == np.float64
    for i, j in np.ndindex(5, 3):
        assert table[i, j] == pytest.approx(float(a.rows[i] @ b.rows[j]), abs=1e-6)
    assert np.allclose(centroid(b), mean, atol=1e-6)
    assert np.allclose(cosine_to_centroid(a, b), a.rows @ mean, atol=1e-6)


def test_leave_one_out_leaves_the_one_out() -> None:
    v = some(7, 3)
    found = leave_one_out(v)
    for i in range(7):
        rest = Vectors(np.delete(v.rows, i, axis=0), v.pack_digest)
        one = Vectors(v.rows[i : i + 1], v.pack_digest)
        assert found[i] == pytest.approx(float(cosine_to_centroid(one, rest)[0]), abs=1e-6)
    assert found.mean() < float(cosine_to_centroid(v, v).mean())  # itself among them flatters


def test_two_packs_refuse_to_meet() -> None:
    with pytest.raises(FaceError, match="different packs"):
        cosine(some(2), some(2, digest="sha256:b"))
    with pytest.raises(FaceError, match="different packs"):
        cosine_to_centroid(some(2), some(2, digest="sha256:b"))
    short = Vectors(np.eye(4, dtype=np.float32), "sha256:a")
    with pytest.raises(FaceError, match="length 16 met length 4"):
        cosine(some(2), short)


def test_rows_must_be_unit_vectors() -> None:
    with pytest.raises(FaceError, match="unit length"):
        Vectors(np.ones((2, 4), np.float32), "sha256:a")
    with pytest.raises(FaceError, match="unit length"):
        Vectors(np.full((2, 4), np.nan, np.float32), "sha256:a")
    with pytest.raises(FaceError, match="shape"):
        Vectors(np.ones(4, np.float32), "sha256:a")


def test_gather_takes_the_states_it_is_asked_for() -> None:
    rows = some(4).rows
    states: tuple[State, ...] = ("ok", "blurred", "none", "ok")
    results = [
        FaceResult(state, (), None, None if state == "none" else row, 0.0, 1.0, "sha256:a")
        for state, row in zip(states, rows, strict=True)
    ]
    assert len(gather(results)) == 2
    assert len(gather(results, ("ok", "blurred"))) == 3
    assert np.array_equal(gather(results).rows, rows[[0, 3]])
    with pytest.raises(FaceError, match="none of 1 pictures"):
        gather([results[2]])
    with pytest.raises(FaceError, match="none of 0 pictures"):
        gather([])


def test_degenerate_sets_are_refused() -> None:
    with pytest.raises(FaceError, match="at least two"):
        leave_one_out(some(1))
    opposite = Vectors(np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32), "sha256:a")
    with pytest.raises(FaceError, match="cancel out"):
        centroid(opposite)
