"""Fingerprints: equal for copies, far apart for strangers, and never blind to a mirror."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from tests.images.scenes import jpeg, photographs, scene
from vultus.images.geometry import mirror, resize
from vultus.images.hashing import (
    LOW_QUALITY,
    N_BITS,
    SAME_PICTURE_BITS,
    bits_from_hex,
    bits_to_hex,
    hamming,
    hamming_matrix,
    hash_picture,
    mirrored_hash,
    perceptual_hash,
    pixel_id,
)
from vultus.images.load import load_picture

NAMES = [f"s{i}" for i in range(24)]


def test_copies_are_near_and_strangers_are_far() -> None:
    pictures = [scene(name) for name in NAMES]
    hashes = [perceptual_hash(p) for p in pictures]
    near = []
    for picture, bits in zip(pictures, hashes, strict=True):
        lighter = np.clip(picture.astype(int) + 18, 0, 255).astype(np.uint8)
        copies = (jpeg(picture, 40), resize(picture, 160, 120), resize(picture, 500, 375), lighter)
        near += [hamming(bits, perceptual_hash(copy)) for copy in copies]
    assert len(near) == 4 * 24
    assert max(near) <= SAME_PICTURE_BITS
    far = [hamming(a, b) for a, b in combinations(hashes, 2)]
    assert len(far) == 276
    assert min(far) > 2 * SAME_PICTURE_BITS


def test_the_mirrored_hash_is_the_hash_of_the_mirrored_picture() -> None:
    differences = [
        hamming(mirrored_hash(scene(name)), perceptual_hash(mirror(scene(name)))) for name in NAMES
    ]
    assert len(differences) == 24
    assert max(differences) <= 2  # rounding at the median only
    assert hamming(perceptual_hash(scene("s0")), perceptual_hash(mirror(scene("s0")))) > 60


def test_bits_survive_hex_and_half_of_them_are_set() -> None:
    bits = perceptual_hash(scene("hex"))
    assert bits.shape == (N_BITS,) and bits.dtype == np.bool_
    assert int(bits.sum()) == N_BITS // 2
    text = bits_to_hex(bits)
    assert len(text) == 64 and np.array_equal(bits_from_hex(text), bits)


def test_the_matrix_counts_what_the_pairs_count() -> None:
    stack = np.stack([perceptual_hash(scene(name)) for name in NAMES[:6]])
    table = hamming_matrix(stack, stack[:4])
    assert table.shape == (6, 4)
    for i, j in np.ndindex(6, 4):
        assert table[i, j] == hamming(stack[i], stack[j])


def test_flat_pictures_say_that_their_bits_mean_nothing() -> None:
    assert hash_picture(np.full((200, 200, 3), 130, np.uint8)).quality < LOW_QUALITY
    assert hash_picture(scene("s1")).quality > LOW_QUALITY


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (500, 3), (64, 64)])
def test_any_shape_has_a_hash(shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert perceptual_hash(rgb).shape == (N_BITS,)


def test_pixel_id_knows_pixels_and_shape() -> None:
    picture = scene("id")
    assert pixel_id(picture) == pixel_id(picture.copy())
    other = picture.copy()
    other[5, 5, 0] ^= 1
    assert pixel_id(other) != pixel_id(picture)
    assert pixel_id(picture.reshape(picture.shape[1], picture.shape[0], 3)) != pixel_id(picture)


@pytest.mark.shared
def test_people_are_told_apart_and_mirrors_are_never_found_where_none_are() -> None:
    people = [load_picture(p).rgb for p in photographs("orl", "s*/1.pgm", 30)]
    generated = [load_picture(p).rgb for p in photographs("gyro_lora_sweep", "*.png", 45)[:30]]
    faces = [hash_picture(rgb) for rgb in people]
    far = [hamming(a.plain, b.plain) for a, b in combinations(faces, 2)]
    assert len(far) == 435 and min(far) > SAME_PICTURE_BITS
    # Renders of one starting noise are near copies of each other, but never mirrored ones.
    both = [*faces, *(hash_picture(rgb) for rgb in generated)]
    turned = [hamming(a.plain, b.mirrored) for a, b in combinations(both, 2)]
    assert len(turned) == 1770 and min(turned) > 2 * SAME_PICTURE_BITS
    copies = [
        hamming(h.plain, perceptual_hash(jpeg(resize(rgb, 200, 200), 50)))
        for h, rgb in zip(both, [*people, *generated], strict=True)
    ]
    assert len(copies) == 60 and max(copies) <= SAME_PICTURE_BITS
