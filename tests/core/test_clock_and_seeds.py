"""Time that stands still until told, and randomness that has a name."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vultus.core.clock import Clock, FakeClock, SystemClock
from vultus.core.seeds import seed_of, stream

# No deadline: the machine may be busy, and no test asserts on elapsed time.
calm = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
names = st.lists(
    st.one_of(st.text(max_size=5), st.integers(-(10**6), 10**6)), min_size=1, max_size=4
)


def test_a_fake_clock_moves_only_when_told() -> None:
    clock: Clock = FakeClock(start=100.0)
    assert (clock.now(), clock.monotonic()) == (100.0, 0.0)
    clock.sleep(2.5)
    assert (clock.now(), clock.monotonic()) == (102.5, 2.5)
    with pytest.raises(ValueError, match="does not go back"):
        FakeClock().advance(-1)


def test_the_systems_clock_goes_forward() -> None:
    clock: Clock = SystemClock()
    seen = [clock.monotonic() for _ in range(5)]
    clock.sleep(0)
    assert all(a <= b for a, b in pairwise([*seen, clock.monotonic()]))
    assert clock.now() > 1_700_000_000


@calm
@given(names, names)
def test_seeds_are_equal_exactly_when_names_are(a: list[str | int], b: list[str | int]) -> None:
    assert 0 <= seed_of(*a) < 2**63
    assert (seed_of(*a) == seed_of(*b)) == (a == b)


def test_a_seed_is_the_top_of_a_hash() -> None:
    digest = hashlib.sha256(b'["panel",3]').digest()
    assert seed_of("panel", 3) == int.from_bytes(digest, "big") >> (256 - 63)


def test_joined_names_are_other_names() -> None:
    assert len({seed_of("a", "b"), seed_of("ab"), seed_of("b", "a"), seed_of("1"), seed_of(1)}) == 5


def test_a_stream_starts_anew_each_time() -> None:
    first = stream("noise", 1).standard_normal(8)
    assert np.array_equal(first, stream("noise", 1).standard_normal(8))
    assert not np.array_equal(first, stream("noise", 2).standard_normal(8))


def test_a_streams_draws_are_the_same_on_every_machine() -> None:
    # PCG64's integers are exact by numpy's own promise; written down on 2026-11-22 (numpy 2.4.6).
    assert stream("vultus").integers(0, 10**6, 4).tolist() == [741137, 324648, 132375, 987227]


@pytest.mark.parametrize("odd", [(), (True,), (1.5,), (None,)])
def test_names_are_words_and_whole_numbers(odd: tuple[object, ...]) -> None:
    with pytest.raises((TypeError, ValueError)):
        seed_of(*odd)  # type: ignore[arg-type]
