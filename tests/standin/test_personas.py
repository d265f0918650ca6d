"""Planted diseases are what they say they are, and the answer sheet names each of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from vultus.core.seeds import stream
from vultus.standin.nuisance import sample_nuisance
from vultus.standin.personas import Diseases, clean_pictures, persona, write_persona_folder
from vultus.standin.render import render


def _rgb(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_the_folder_holds_what_was_ordered(tmp_path: Path) -> None:
    order = Diseases(
        exact=2, edited=3, cropped=1, strangers=2, blurred=1, with_glasses=2, wrong_captions=1
    )
    truth = write_persona_folder(tmp_path / "pictures", 1, good=12, sick=order)
    assert {k: len(v) for k, v in truth.items()} == {
        "exact": 2,
        "edited": 3,
        "cropped": 1,
        "strangers": 2,
        "blurred": 1,
    }
    assert json.loads((tmp_path / "planted.json").read_text()) == truth
    pictures = sorted(p for p in (tmp_path / "pictures").iterdir() if p.suffix != ".txt")
    assert len(pictures) == 12 + 9
    assert all(p.with_suffix(".txt").read_text().count("{persona}") == 1 for p in pictures)


def test_exact_copies_equal_a_good_picture_and_edits_do_not(tmp_path: Path) -> None:
    truth = write_persona_folder(tmp_path / "pictures", 2, good=9, sick=Diseases(exact=2, edited=2))
    good = [_rgb(p) for p in sorted((tmp_path / "pictures").glob("picture_*.png"))]
    assert len(good) == 9
    for name in truth["exact"]:
        assert any(np.array_equal(_rgb(tmp_path / "pictures" / name), g) for g in good)
    for name in truth["edited"]:
        assert not any(np.array_equal(_rgb(tmp_path / "pictures" / name), g) for g in good)


def test_the_same_number_gives_the_same_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_persona_folder(tmp_path / name / "pictures", 3, good=4, sick=Diseases(strangers=1))
    files = sorted(p.name for p in (tmp_path / "one" / "pictures").iterdir())
    assert len(files) == 10
    for name in files:
        assert (tmp_path / "one" / "pictures" / name).read_bytes() == (
            tmp_path / "two" / "pictures" / name
        ).read_bytes()


def test_good_pictures_show_one_person_without_accessories() -> None:
    scenes = [scene for _, scene in clean_pictures(4, 9, glasses=2)]
    assert [s.glasses for s in scenes] == [True, True] + [False] * 7
    assert not any(s.hat or s.dye for s in scenes)
    assert len({s.framing for s in scenes}) == 3


def test_every_fourth_persona_lies_outside_the_training_range() -> None:
    reach = [float(np.abs(persona(i).z).max()) for i in range(8)]
    assert all(r <= 1.0 for i, r in enumerate(reach) if i % 4 != 3)
    assert all(r > 1.0 for i, r in enumerate(reach) if i % 4 == 3)


def test_people_outside_the_training_range_can_be_drawn() -> None:
    """119 and 419 are paler than any trained person: their skin's depth is below zero."""
    drawn = 0
    for index in (3, 119, 419):
        assert index % 4 == 3
        scene = sample_nuisance(stream("tests", "outside", index))
        assert render(persona(index), scene).rgb.std() > 5
        drawn += 1
    assert drawn == 3
