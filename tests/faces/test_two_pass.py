"""The two-pass median: rescue of faces without context, median against outliers, truthful maps back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from vultus.faces.engines.detection import TwoPass, drop_overlaps, median_points, to_picture
from vultus.faces.pack_spec import DetectorSpec
from vultus.faces.records import Face
from vultus.images.geometry import resize

Rgb = npt.NDArray[np.uint8]
FIVE = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])

SPEC = DetectorSpec(kind="yunet", file="red.onnx", min_score=0.6)


class RedSquare:
    """Finds the red square, like a detector with a taste for sizes: `smallest` to `largest` px, with `margin` px of
    picture around it. Its points shift by `bias` of the square when the square is larger than `trained_px`."""

    def __init__(
        self, smallest: float = 8, largest: float = 400, margin: float = 0, bias: float = 0.0
    ) -> None:
        self.smallest, self.largest, self.margin, self.bias = smallest, largest, margin, bias
        self.trained_px = 120.0
        self.looks = 0

    def detect(self, rgb: Rgb, min_score: float) -> list[Face]:
        self.looks += 1
        red = (rgb[..., 0] > 128) & (rgb[..., 1] < 128)
        if not red.any():
            return []
        rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
        x0, y0, x1, y1 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        size = max(x1 - x0, y1 - y0)
        space = min(x0, y0, rgb.shape[1] - x1, rgb.shape[0] - y1)
        if not self.smallest <= size <= self.largest or space < self.margin:
            return []
        points = FIVE * (x1 - x0, y1 - y0) + (x0, y0)
        points += self.bias * size * (size > self.trained_px)
        return [Face((float(x0), float(y0), float(x1), float(y1)), points.astype(np.float32), 0.9)]


def red_square(width: int, height: int, x: int, y: int, size: int) -> Rgb:
    rgb = np.full((height, width, 3), 200, np.uint8)
    rgb[y : y + size, x : x + size] = (255, 0, 0)
    return rgb


def find(look: RedSquare, rgb: Rgb) -> tuple[Face, float] | None:
    detector = TwoPass(look, SPEC)
    seen, frame = detector.prepare(rgb)
    faces = detector.find_many([seen])[0]
    if not faces:
        return None
    face, spread = detector.refine_many([(seen, faces[0])])[0]
    return to_picture(face, frame), spread / frame.scale_x


@pytest.mark.parametrize(
    ("width", "height", "x", "y", "size"),
    [
        (640, 480, 200, 100, 130),
        (1600, 1200, 900, 300, 500),
        (92, 112, 12, 20, 66),
        (512, 512, 9, 9, 50),
    ],
)
def test_points_come_back_to_the_picture(
    width: int, height: int, x: int, y: int, size: int
) -> None:
    found = find(RedSquare(), red_square(width, height, x, y, size))
    assert found is not None
    face, spread = found
    expected = FIVE * size + (x, y)
    assert np.abs(face.points_px - expected).max() < 0.02 * size
    assert spread < 0.02 * size
    assert np.abs(np.array(face.box_px) - (x, y, x + size, y + size)).max() < 0.03 * size


def test_the_second_pass_undoes_a_bias_that_depends_on_size() -> None:
    rgb = red_square(1600, 1200, 500, 300, 640)
    look = RedSquare(bias=0.08)
    detector = TwoPass(look, SPEC)
    first = detector.find_many([rgb])[0][0]
    refined, spread = detector.refine_many([(rgb, first)])[0]
    expected = FIVE * 640 + (500, 300)
    assert np.abs(first.points_px - expected).max() > 40
    assert (
        np.abs(refined.points_px - expected).max() < 12
    )  # two of three scales lie in the trained range
    assert spread > 5  # and the third says that it disagreed
    alone = TwoPass(look, replace(SPEC, two_pass=False)).refine_many([(rgb, first)])[0]
    assert alone == (first, 0.0)


def test_a_face_that_fills_the_frame_is_rescued_by_padding() -> None:
    rgb = red_square(600, 600, 4, 4, 592)
    assert RedSquare(margin=40).detect(rgb, 0.6) == []
    found = find(RedSquare(margin=40, largest=500), rgb)
    assert found is not None
    assert np.abs(np.array(found[0].box_px) - (4, 4, 596, 596)).max() < 15


def test_a_tiny_face_is_rescued_by_enlarging() -> None:
    rgb = red_square(400, 400, 200, 100, 14)
    found = find(RedSquare(smallest=20), rgb)
    assert found is not None
    assert np.abs(np.array(found[0].box_px) - (200, 100, 214, 114)).max() < 1.5


def test_a_small_face_in_a_large_picture_is_found_at_a_larger_size() -> None:
    rgb = red_square(2400, 1800, 1500, 600, 40)
    assert RedSquare(smallest=18).detect(resize(rgb, 640, 480), 0.6) == []
    found = find(RedSquare(smallest=18), rgb)
    assert found is not None
    assert np.abs(np.array(found[0].box_px) - (1500, 600, 1540, 640)).max() < 3


def test_nobody_is_found_where_nobody_is() -> None:
    look = RedSquare()
    assert find(look, np.full((400, 300, 3), 200, np.uint8)) is None
    assert 0 < look.looks <= 8  # the rescues end


def test_a_face_found_once_but_not_again_keeps_its_first_points_and_is_uncertain() -> None:
    look = RedSquare()
    detector = TwoPass(look, SPEC)
    rgb = red_square(640, 480, 200, 100, 130)
    first = detector.find_many([rgb])[0][0]
    look.largest = 1
    assert detector.refine_many([(rgb, first)])[0] == (first, first.size_px)


def test_mirrored_votes_cancel_a_sideways_bias_and_one_size_asks_the_first_pass() -> None:
    look = RedSquare(bias=0.08)
    look.trained_px = 60.0
    detector = TwoPass(look, SPEC)
    rgb = red_square(320, 320, 140, 130, 50)
    first = detector.find_many([rgb])[0][0]
    look.smallest, look.largest = 100, 120  # only the crop at 112 px still sees it, with its bias
    refined, spread = detector.refine_many([(rgb, first)])[0]
    # The bias of 4 px to the right is one to the left in the mirror; downwards both agree.
    assert np.abs(refined.points_px - (first.points_px + np.array((0, 4)))).max() < 1.0
    assert spread == pytest.approx(4, abs=1.0)


def test_the_median_ignores_one_outlier() -> None:
    seen = np.stack([FIVE, FIVE + 0.001, FIVE + 50]).astype(np.float32)
    points, spread = median_points(seen)
    assert np.abs(points - FIVE).max() < 0.01
    assert spread == pytest.approx(np.hypot(50, 50) / 3, rel=0.01)


def test_overlapping_boxes_keep_the_best_score() -> None:
    def at(x: float, size: float, score: float) -> Face:
        return Face((x, 0.0, x + size, size), np.zeros((5, 2), np.float32), score)

    kept = drop_overlaps([at(0, 100, 0.7), at(10, 100, 0.9), at(20, 20, 0.8), at(300, 50, 0.65)])
    assert [f.score for f in kept] == [0.9, 0.65]


def test_shrinking_the_picture_does_not_move_the_face() -> None:
    large = red_square(1400, 1000, 600, 200, 300)
    small = resize(large, 700, 500)
    found = [find(RedSquare(), rgb) for rgb in (large, small)]
    assert found[0] is not None and found[1] is not None
    assert np.abs(found[0][0].points_px / 2 - found[1][0].points_px).max() < 2.5


def test_points_are_put_into_our_order() -> None:
    names = ("nose", "eye_right", "eye_left", "mouth_right", "mouth_left")
    rgb = red_square(640, 480, 200, 100, 130)
    plain = TwoPass(RedSquare(), SPEC).find_many([rgb])[0][0].points_px
    odd = TwoPass(RedSquare(), replace(SPEC, landmark_order=names)).find_many([rgb])[0][0].points_px
    assert np.array_equal(odd, plain[[2, 1, 0, 4, 3]])


def test_with_a_first_pass_of_zero_the_picture_is_seen_as_it_is() -> None:
    seen: list[tuple[int, ...]] = []

    class Watcher(RedSquare):
        def detect(self, rgb: Rgb, min_score: float) -> list[Face]:
            seen.append(rgb.shape)
            return super().detect(rgb, min_score)

    detector = TwoPass(Watcher(largest=900), replace(SPEC, first_pass_px=(0,), two_pass=False))
    tiny, large = red_square(92, 112, 12, 20, 66), red_square(1400, 1000, 600, 200, 300)
    for rgb in (tiny, large):
        assert detector.prepare(rgb)[0] is rgb
        assert len(detector.find_many([rgb])[0]) == 1
    assert seen == [tiny.shape, large.shape]
