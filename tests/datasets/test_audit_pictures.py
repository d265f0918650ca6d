"""Everything that speaks against a picture, with its number: planted and found, and nothing else accused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.datasets.sets import reading
from vultus.datasets.audit import FINDING_WORDS, Finding, audit_identity, audit_pictures
from vultus.datasets.readings import Reading
from vultus.datasets.records import CurateSpec


def audited(readings: list[Reading], resolution_px: int = 512) -> dict[str, list[Finding]]:
    found, _ = audit_pictures(readings, CurateSpec(), resolution_px=resolution_px)
    table: dict[str, list[Finding]] = {}
    for one in found:
        table.setdefault(one.name, []).append(one)
    return table


def own(n: int = 20) -> list[Reading]:
    return [reading(f"own{i:02d}", likeness=0.9 + 0.004 * i) for i in range(n)]


def test_a_clean_set_has_no_findings() -> None:
    assert audited(own()) == {}


def test_strangers_are_proposed_and_unlike_pictures_only_shown() -> None:
    found = audited(
        [*own(), reading("stranger", who=2), reading("drifted", likeness=0.62), reading("too")]
    )
    assert set(found) == {"stranger", "drifted"}
    assert (found["stranger"][0].reason, found["stranger"][0].verdict) == ("off_persona", "drop")
    assert (found["drifted"][0].reason, found["drifted"][0].verdict) == ("doubtful", "look")
    # Far by the set's own spread, and yet three quarters as like as usual: that is another pose, not worth a look.
    turned = [*own(), reading("turned", likeness=0.75)]
    audit = audit_identity(
        np.stack([r.emb for r in turned if r.emb is not None]), z_cut=3.5, ratio_cut=0.5
    )
    assert audit.z[-1] < -3.5 and audited(turned) == {}
    z = found["stranger"][0].z
    assert z is not None and z < -3.5 and f"z {z:.1f}" in found["stranger"][0].detail


def test_faces_that_cannot_be_used_are_told_and_do_not_vote() -> None:
    states = {"n": "none", "s": "several", "t": "too_small", "b": "blurred"}
    found = audited(
        [*own(), *(reading(name, state=state, who=9) for name, state in states.items())]
    )
    reasons = {name: [one.reason for one in rows] for name, rows in found.items()}
    assert reasons["n"] == ["no_face"] and reasons["s"] == ["several_faces"]
    assert reasons["t"] == ["small_face"]
    assert "blurred" in reasons["b"]
    assert set(found) == set(states)


def test_blur_is_judged_by_the_set() -> None:
    dull = [replace(r, sharpness=0.2) for r in own()]
    assert audited(dull) == {}, "a soft lens is no fault"
    found = audited([*own(), reading("moved", sharpness=0.1)])
    assert [one.reason for one in found["moved"]] == ["blurred"]


def test_size_shape_and_bars() -> None:
    wide = reading("wide", size=(3000, 1000))
    small = reading("small", size=(300, 300))
    barred = replace(reading("barred"), bars_px=(0, 60, 0, 60))
    thin = replace(reading("thin"), bars_px=(1, 0, 0, 3))
    found = audited([*own(), wide, small, barred, thin])
    assert {name: [f.reason for f in rows] for name, rows in found.items()} == {
        "wide": ["odd_shape"],
        "small": ["small_picture"],
        "barred": ["bars"],
    }
    assert found["barred"][0].detail == "60 px top, 60 px bottom"
    assert all(one.verdict == "look" for rows in found.values() for one in rows)


def test_a_mark_that_pictures_share_is_found_and_a_shared_middle_is_not() -> None:
    def marked(one: Reading) -> Reading:
        grey = one.grey.copy()
        grey[54:60, 44:60] = 255
        grey[56:58, 48:56] = 0
        return replace(one, grey=grey)

    plain = own(12)
    assert audited(plain) == {}
    found = audited([*(marked(one) for one in plain[:9]), *plain[9:]])
    assert {name for name, rows in found.items()} == {one.name for one in plain[:9]}
    assert all("bottom right" in rows[0].detail for rows in found.values())
    faces = [replace(one, grey=_with_middle(one.grey)) for one in plain]
    assert audited(faces) == {}, "a face in the middle of every picture is no watermark"


def _with_middle(
    grey: np.ndarray[tuple[int, int], np.dtype[np.uint8]],
) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    out = grey.copy()
    out[24:40, 24:40] = 20
    return out


def test_findings_come_in_name_order_and_every_reason_has_words() -> None:
    readings = [*own(), reading("z", who=2), reading("a", state="none")]
    found, median = audit_pictures(readings, CurateSpec(), resolution_px=512)
    assert [one.name for one in found] == ["a", "z"]
    assert 0.8 < median < 1.0
    assert {one.reason for one in found} <= set(FINDING_WORDS)
