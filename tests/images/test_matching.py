"""Edited copies are found through crops, mirrors and turns; strangers share nothing."""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tests.images.scenes import jpeg, photographs, scene
from vultus.images.geometry import apply_affine, mirror, resize
from vultus.images.load import load_picture
from vultus.images.matching import SAME_SHOT_CELLS, cells_outside, extract, match

Rgb = npt.NDArray[np.uint8]


def edits(rgb: Rgb) -> dict[str, Rgb]:
    """What re-runs, re-crops and re-posts do to a picture."""
    h, w = rgb.shape[:2]
    turn = cv2.getRotationMatrix2D((w / 2, h / 2), 5, 1.0)
    crop = rgb[h // 5 : h // 5 + int(0.6 * h), w // 4 : w // 4 + int(0.6 * w)]
    return {
        "jpeg": jpeg(rgb, 25),
        "half": resize(rgb, w // 2, h // 2),
        "crop 60": np.ascontiguousarray(crop),
        "mirror": mirror(rgb),
        "mirror + crop + jpeg": jpeg(mirror(np.ascontiguousarray(crop)), 60),
        "turn 5": np.asarray(cv2.warpAffine(rgb, turn, (w, h))),
        "letterbox": np.pad(rgb, ((60, 60), (0, 0), (0, 0))),
    }


def test_every_edit_is_found_and_its_orientation_is_told() -> None:
    found = 0
    for name in ("m0", "m1", "m2"):
        picture = scene(name, 480, 360)
        whole = extract(picture)
        for edit, copy in edits(picture).items():
            result = match(extract(copy), whole)
            assert result.cells >= SAME_SHOT_CELLS, f"{name} {edit}: {result.cells} cells"
            assert result.mirrored == ("mirror" in edit)
            found += 1
    assert found == 21


def test_strangers_share_no_evidence() -> None:
    features = [extract(scene(f"x{i}")) for i in range(6)]
    cells = [match(a, b).cells for a, b in combinations(features, 2)]
    assert len(cells) == 15
    assert max(cells) < SAME_SHOT_CELLS // 2


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_map_lays_the_copy_onto_the_original(mirrored: bool) -> None:
    picture = scene("map", 400, 300)
    copy = np.ascontiguousarray(picture[60:240, 80:320])
    if mirrored:
        copy = mirror(copy)
    a, b = extract(copy), extract(picture)
    result = match(a, b)
    assert result.matrix is not None
    corner = np.array([[0.0, 0.0], [240.0, 180.0]])
    there = b.frame.to_picture(apply_affine(result.matrix, a.frame.to_frame(corner)))
    expected = [[320, 60], [80, 240]] if mirrored else [[80, 60], [320, 240]]
    assert np.abs(there - expected).max() < 2.0


def test_evidence_inside_a_box_can_be_left_out() -> None:
    picture = scene("face", 400, 300)
    other = scene("elsewhere", 400, 300)
    other[70:230, 120:280] = picture[70:230, 120:280]  # only the "face" is shared
    whole = extract(picture)
    result = match(extract(other), whole)
    assert result.cells > 0
    assert cells_outside(result, whole, (115, 65, 285, 235)) < result.cells / 4
    assert cells_outside(result, whole, (0, 0, 1, 1)) == result.cells


def test_a_flat_picture_matches_nothing() -> None:
    flat = extract(np.full((100, 100, 3), 128, np.uint8))
    assert match(flat, extract(scene("m0"))).cells == 0
    assert match(flat, flat).cells == 0


@pytest.mark.shared
def test_photographs_of_one_person_are_not_one_shot() -> None:
    paths = [p for p in photographs("us_gov_public_domain", "*.jpg", 4) if "obama" in p.name]
    assert len(paths) == 3
    pictures = [load_picture(path).rgb for path in paths]
    features = [extract(p) for p in pictures]
    pairs = [match(a, b).cells for a, b in combinations(features, 2)]
    assert len(pairs) == 3 and max(pairs) < SAME_SHOT_CELLS
    h, w = pictures[0].shape[:2]
    crop = mirror(np.ascontiguousarray(pictures[0][h // 8 : 3 * h // 4, w // 6 : 5 * w // 6]))
    result = match(extract(jpeg(crop, 60)), features[0])
    assert result.cells >= SAME_SHOT_CELLS and result.mirrored
