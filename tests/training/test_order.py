"""Batch order and picture sizes are pure functions."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.training.native.order import BatchOrder, bucket_size


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    batch=st.integers(1, 6),
    seed=st.integers(0, 2**40),
)
def test_every_epoch_sees_every_picture_once_and_never_mixes_sizes(
    sizes: list[int], batch: int, seed: int
) -> None:
    buckets, start = [], 0
    for size in sizes:
        buckets.append(tuple(range(start, start + size)))
        start += size
    order = BatchOrder(buckets, batch, seed)
    for epoch in range(2):
        first = epoch * order.batches_per_epoch
        batches = [order.at(first + i) for i in range(order.batches_per_epoch)]
        assert Counter(i for rows in batches for i in rows) == Counter(range(start))
        for rows in batches:
            assert 1 <= len(rows) <= batch
            assert sum(set(rows) <= set(bucket) for bucket in buckets) == 1


def test_order_depends_on_seed_and_epoch_only() -> None:
    one, two = BatchOrder([range(12)], 4, 7), BatchOrder([range(12)], 4, 7)
    # asked backwards: nothing is remembered from call to call
    backwards = [two.at(step) for step in reversed(range(9))]
    assert [one.at(step) for step in range(9)] == backwards[::-1]
    assert [one.at(s) for s in range(3)] != [one.at(s) for s in range(3, 6)]
    assert [one.at(s) for s in range(3)] != [BatchOrder([range(12)], 4, 8).at(s) for s in range(3)]


def test_nothing_to_order_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        BatchOrder([()], 4, 0)


@pytest.mark.parametrize(
    ("size", "resolution", "multiple", "wanted"),
    [
        ((128, 128), 128, 32, (128, 128)),
        ((3000, 3000), 1024, 32, (1024, 1024)),
        ((832, 1216), 1024, 64, (832, 1216)),
        ((1216, 832), 1024, 64, (1216, 832)),
        ((4000, 1000), 1024, 64, (1408, 704)),
        ((100, 100), 16, 32, (32, 32)),
    ],
)
def test_bucket_sizes(
    size: tuple[int, int], resolution: int, multiple: int, wanted: tuple[int, int]
) -> None:
    assert bucket_size(size, resolution, multiple) == wanted


@settings(max_examples=200, deadline=None)
@given(st.integers(16, 5000), st.integers(16, 5000))
def test_bucket_is_within_budget_and_near_in_shape(width: int, height: int) -> None:
    w, h = bucket_size((width, height), 1024, 64)
    assert w % 64 == h % 64 == 0
    assert 0.6 * 1024**2 <= w * h <= 1024**2
    aspect = min(max(width / height, 0.5), 2.0)
    assert 0.9 <= (w / h) / aspect <= 1 / 0.9
