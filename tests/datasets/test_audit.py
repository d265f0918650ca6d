"""The identity audit finds strangers and keeps hard but genuine faces."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from vultus.core.seeds import stream
from vultus.datasets.audit import audit_identity

Rows = npt.NDArray[np.float32]


def _faces(rng: np.random.Generator, who: npt.NDArray[np.float64], likeness: list[float]) -> Rows:
    rows = []
    for level in likeness:
        noise = rng.standard_normal(len(who))
        noise -= who * (noise @ who)
        noise /= np.linalg.norm(noise)
        rows.append(level * who + np.sqrt(1 - level**2) * noise)
    return np.asarray(rows, dtype=np.float32)


def _world(seed: int, strangers: int) -> Rows:
    rng = stream("audit", seed)
    who = rng.standard_normal(128)
    who /= np.linalg.norm(who)
    genuine = [0.95] * 16 + [0.85] * 6 + [0.75] * 2  # the last two are true profiles
    mine = _faces(rng, who, genuine)
    others = rng.standard_normal((strangers, 128)).astype(np.float32)
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    return np.concatenate([mine, others])


@pytest.mark.parametrize("strangers", [0, 2, 8])
def test_strangers_are_found_and_profiles_are_kept(strangers: int) -> None:
    worlds = 20
    for seed in range(worlds):
        audit = audit_identity(_world(seed, strangers), z_cut=3.5, ratio_cut=0.5)
        assert not audit.strangers[:24].any()
        assert audit.strangers[24:].all()
        assert len(audit.strangers) == 24 + strangers


def test_a_second_person_who_is_a_minority_does_not_win() -> None:
    rng = stream("audit", "two people")
    one, two = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 128)))
    rows = np.concatenate([_faces(rng, one, [0.9] * 14), _faces(rng, two, [0.95] * 8)])
    audit = audit_identity(rows, z_cut=3.5, ratio_cut=0.5)
    assert not audit.strangers[:14].any()
    assert audit.strangers[14:].all()


def test_leave_one_out_leaves_a_face_out_of_its_own_core() -> None:
    rng = stream("audit", "loo")
    rows = _faces(rng, np.eye(64)[0], [0.6] * 12)
    audit = audit_identity(rows, z_cut=3.5, ratio_cut=0.5)
    # Against a centroid that held the face itself, the mean would be well above 0.6.
    assert float(audit.cosines.mean()) < 0.62


def test_two_faces_cannot_outvote_each_other() -> None:
    audit = audit_identity(np.eye(2, 8, dtype=np.float32), z_cut=3.5, ratio_cut=0.5)
    assert not audit.strangers.any()
