"""Views: every crop tells the truth about its place, its size and its framing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.tiny_base import write_pictures
from vultus.datasets.views import view_caption
from vultus.training.native.data import encode_pictures
from vultus.training.native.parts import load_parts
from vultus.training.records import TrainPicture, TrainSpec
from vultus.training.views import expand_views

SPEC = TrainSpec(resolution_px=64)
FULL = TrainPicture(
    Path("full.png"),
    "full body photo of ohwx woman, garden",
    (256, 384),
    faces=((110.0, 40.0, 142.0, 72.0),),
)
CLOSE = TrainPicture(
    Path("close.png"), "photo of ohwx woman", (256, 256), faces=((60.0, 60.0, 200.0, 200.0),)
)


def test_full_is_what_was_given() -> None:
    assert expand_views(SPEC, [FULL, CLOSE]) == ([FULL, CLOSE], ())


def test_added_crops_stand_beside_the_picture() -> None:
    views, told = expand_views(replace(SPEC, views="added"), [FULL, CLOSE])
    assert [v.crop is None for v in views] == [True, False, False, True]
    assert [v.caption for v in views] == [
        "full body photo of ohwx woman, garden",
        "half body photo of ohwx woman, garden",
        "close-up photo of ohwx woman, garden",
        "photo of ohwx woman",
    ]
    face = views[2].crop
    assert face is not None
    # three faces wide: the box and its own size on every side
    assert face == (78, 8, 174, 104)
    assert all(v.faces == FULL.faces and v.original_size == (256, 384) for v in views[:3])
    assert len(told) == 2 and all("would be the whole picture" in line for line in told)


def test_substituted_crops_stand_in_its_place_and_nobody_is_lost() -> None:
    views, _ = expand_views(replace(SPEC, views="substituted"), [FULL, CLOSE])
    assert [(v.path.name, v.crop is None) for v in views] == [
        ("full.png", False),
        ("full.png", False),
        ("close.png", True),
    ]


def test_crops_that_would_be_blown_up_are_left_out() -> None:
    spec = replace(SPEC, views="added", resolution_px=256, view_enlarge_max=2.0)
    views, told = expand_views(spec, [FULL])
    assert len(views) == 2
    assert "face view, it would be enlarged 2.7 times" in told[0]


def test_a_view_tells_sdxl_the_truth(tiny_base: Path, tmp_path: Path) -> None:
    """The original's size, where the crop begins in trained pixels, and the trained size."""
    path = write_pictures(tmp_path, 1, (256, 384))[0]
    views, _ = expand_views(replace(SPEC, views="added"), [replace(FULL, path=path)])
    parts = load_parts(tiny_base, torch.float32, torch.device("cpu"))
    encoded = encode_pictures(parts, views, 64, torch.device("cpu"))
    ids = [view.time_ids.tolist() for view in encoded.views]
    assert ids[2] == [384, 256, round(8 * 64 / 96), round(78 * 64 / 96), 64, 64]
    assert all(row[:2] == [384, 256] for row in ids)
    shares = [float(view.face.mean()) for view in encoded.views]
    assert shares[0] < shares[1] < shares[2]


@pytest.mark.parametrize(
    ("caption", "kind", "wanted"),
    [
        ("Full-body photo of ohwx woman", "face", "close-up photo of ohwx woman"),
        ("photo of ohwx woman, closeup", "three-quarter", "photo of ohwx woman, half body"),
        ("ohwx woman smiling", "face", "ohwx woman smiling, close-up"),
        ("", "face", "close-up"),
        ("full body photo", "full", "full body photo"),
    ],
)
def test_a_caption_names_the_framing_that_is_seen(caption: str, kind: str, wanted: str) -> None:
    assert view_caption(caption, kind) == wanted  # type: ignore[arg-type]
