"""Views tell the truth about size and crop, and a mask that does nothing cannot pass for one that does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.datasets.sets import reading
from vultus.core.errors import SpecError
from vultus.core.specs import parse
from vultus.datasets.views import ViewsSpec, bucket, cut, face_mask, mask_effect, plan_views

ALL = ViewsSpec(("full", "three-quarter", "face"), resolution_px=512, enlarge_max=4.0)


def test_a_full_view_is_told_as_the_whole_picture() -> None:
    views, left_out = plan_views(
        [reading(size=(1200, 800))], ViewsSpec(("full",), resolution_px=512)
    )
    (view,) = views
    assert left_out == []
    assert view.original_size == (1200, 800)
    x0, y0, x1, y1 = view.crop_px
    assert (x1 - x0) / (y1 - y0) == pytest.approx(view.target[0] / view.target[1], rel=0.01)
    assert (x1 - x0) == 1200 or (y1 - y0) == 800
    assert max(view.crop_top_left) <= 30, "only what the bucket's shape cuts off"


def test_crops_are_told_in_pixels_of_the_scaled_picture() -> None:
    one = reading(size=(2000, 2000), share=0.2)
    views, _ = plan_views([one], ALL)
    assert [view.kind for view in views] == ["full", "three-quarter", "face"]
    for view in views:
        x0, y0, x1, y1 = view.crop_px
        k = view.target[0] / (x1 - x0)
        assert k == pytest.approx(view.target[1] / (y1 - y0), rel=0.02), "nothing is stretched"
        assert view.crop_top_left == (round(x0 * k), round(y0 * k))
        assert view.original_size == (2000, 2000)
    face = views[-1]
    assert one.box_px is not None and face.face_px is not None
    x0, y0, x1, y1 = face.crop_px
    assert x0 < one.box_px[0] and y0 < one.box_px[1] and x1 > one.box_px[2] and y1 > one.box_px[3]
    assert face.face_px[3] - face.face_px[1] > 0.25 * face.target[1], "the face fills a face view"


def test_cut_pixels_come_from_where_the_view_says() -> None:
    rgb = np.zeros((1000, 1000, 3), np.uint8)
    one = reading(size=(1000, 1000), share=0.2)
    assert one.box_px is not None
    x0, y0, x1, y1 = (round(v) for v in one.box_px)
    rgb[y0:y1, x0:x1] = 255
    for view in plan_views([one], ALL)[0]:
        pixels = cut(rgb, view)
        assert pixels.shape == (view.target[1], view.target[0], 3)
        assert view.face_px is not None
        a, b, c, d = (round(v) for v in view.face_px)
        assert pixels[b + 2 : d - 2, a + 2 : c - 2].min() > 240
        assert float(pixels.mean()) < 255 * 1.15 * (d - b) * (c - a) / pixels[..., 0].size + 1


def test_what_would_be_the_whole_picture_or_mush_is_left_out_with_its_reason() -> None:
    close = reading("close", share=0.8)
    tiny = reading("tiny", share=0.05)
    faceless = reading("faceless", state="none")
    spec = ViewsSpec(("full", "face"), resolution_px=1024, enlarge_max=2.0)
    views, left_out = plan_views([close, tiny, faceless], spec)
    assert [(view.parent, view.kind) for view in views] == [
        ("close", "full"),
        ("tiny", "full"),
        ("faceless", "full"),
    ]
    assert len(left_out) == 3
    assert "whole picture" in left_out[0] and "enlarged" in left_out[1] and "no face" in left_out[2]


@pytest.mark.parametrize("size", [(1000, 1000), (1920, 1080), (600, 1500), (5000, 1000)])
def test_buckets_are_multiples_of_64_with_the_area_of_the_resolution(size: tuple[int, int]) -> None:
    w, h = bucket(*size, 1024)
    assert w % 64 == h % 64 == 0
    assert 0.85 * 1024**2 <= w * h <= 1024**2
    wanted = min(max(size[0] / size[1], 1 / 2.5), 2.5)
    assert abs(np.log(w / h / wanted)) < 0.12


def test_a_mask_weighs_the_face_and_only_it() -> None:
    (view,) = plan_views([reading(share=0.3)], ViewsSpec(("full",), resolution_px=512))[0]
    spec = ViewsSpec(("full",), resolution_px=512, mask_rest=64)
    mask = face_mask(view, spec)
    assert mask.shape == (view.target[1], view.target[0]) and mask.dtype == np.uint8
    assert view.face_px is not None
    x0, y0, x1, y1 = (round(v) for v in view.face_px)
    assert mask[(y0 + y1) // 2, (x0 + x1) // 2] == 255
    assert mask[0, 0] == mask[-1, -1] == 64
    assert 0.05 < float((mask > 200).mean()) < 0.5
    assert mask_effect(mask) > 2.0


def test_a_mask_that_does_nothing_says_so() -> None:
    (view,) = plan_views([reading(share=0.3)], ViewsSpec(("full",), resolution_px=512))[0]
    assert mask_effect(face_mask(view, ViewsSpec(mask_rest=255))) == pytest.approx(1.0)
    assert mask_effect(face_mask(replace(view, face_px=None), ViewsSpec())) == pytest.approx(1.0)


def test_unknown_views_are_refused() -> None:
    with pytest.raises(SpecError, match="three-quarter"):
        parse(ViewsSpec, {"kinds": ["fulll"]}, "command line")
