"""Equal meaning, equal key; other meaning, other key."""

from __future__ import annotations

import enum
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vultus.core.errors import DiskError
from vultus.core.keys import canonical, content_id, file_content_id, is_content_id, key_of

# No deadline: the machine may be busy, and no test asserts on elapsed time.
calm = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Numbers with at most nine digits: what people type. Equality of floats is then equality of texts.
numbers = st.one_of(
    st.integers(-(10**9), 10**9),
    st.decimals(-1000, 1000, places=6).map(float),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=8,
)


def meaning(value: Any) -> Any:
    """A value such that == on it is equality of meaning (Python's == thinks True is 1)."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list | tuple):
        return ("list", [meaning(v) for v in value])
    if isinstance(value, dict):
        return ("dict", {k: meaning(v) for k, v in value.items()})
    return value


@calm
@given(values, values)
def test_texts_are_equal_exactly_when_meanings_are(a: Any, b: Any) -> None:
    assert (canonical(a) == canonical(b)) == (meaning(a) == meaning(b))


@calm
@given(values)
def test_text_is_ascii_json_of_the_same_value(value: Any) -> None:
    text = canonical(value)
    assert text.isascii()
    assert meaning(json.loads(text)) == meaning(json.loads(json.dumps(value)))


@calm
@given(st.dictionaries(st.text(max_size=3), numbers, min_size=2, max_size=6))
def test_order_of_keys_is_no_meaning(table: dict[str, Any]) -> None:
    assert canonical(dict(reversed(table.items()))) == canonical(table)


@calm
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_written_plainly_and_close(value: float) -> None:
    text = canonical(value)
    assert "e" not in text.lower()
    assert math.isclose(float(text), value, rel_tol=1e-11, abs_tol=0.0)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, 1.0),
        (0.1 + 0.2, 0.3),
        (-0.0, 0),
        (1e-4, 0.0001),
        ((1, 2), [1, 2]),
        (np.int64(7), 7),
        (np.float64(0.7), 0.7),
        (2.0**52, 2**52),
    ],
)
def test_one_number_has_one_text(a: Any, b: Any) -> None:
    assert canonical(a) == canonical(b)


@pytest.mark.parametrize(
    ("a", "b"), [(1, True), (1, "1"), (None, "null"), (0.3, 0.3001), ([1], 1), ({}, [])]
)
def test_other_meanings_have_other_texts(a: Any, b: Any) -> None:
    assert canonical(a) != canonical(b)


def test_records_and_enums_are_their_values() -> None:
    class Kind(enum.Enum):
        SOFT = "soft"

    @dataclass
    class Spec:
        rate: float
        kind: Kind

    assert canonical(Spec(0.5, Kind.SOFT)) == '{"kind":"soft","rate":0.5}'


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
def test_what_cannot_be_compared_is_refused(odd: float) -> None:
    with pytest.raises(ValueError, match=r"value\.a\[1\]"):
        canonical({"a": [0, odd]})


@pytest.mark.parametrize("odd", [Path("/tmp/x"), {1, 2}, b"x", object(), np.float32(0.1)])
def test_what_has_no_meaning_of_its_own_is_refused(odd: Any) -> None:
    with pytest.raises(TypeError, match=r"value\.deep"):
        canonical({"deep": odd})


def test_keys_of_mappings_are_strings() -> None:
    with pytest.raises(TypeError, match="keys must be strings"):
        canonical({1: "a"})


def test_a_path_is_answered_with_what_to_use_instead() -> None:
    with pytest.raises(TypeError, match="use the content id"):
        canonical({"weights": Path("a.safetensors")})


def test_every_part_of_a_request_is_in_its_key() -> None:
    keys = {
        key_of("render", 1, {"seed": 1}),
        key_of("train", 1, {"seed": 1}),
        key_of("render", 2, {"seed": 1}),
        key_of("render", 1, {"seed": 2}),
        key_of("render", 1, {"seed": 1}, replicate=1),
        key_of("render", 1, {"seed": 1, "more": None}),
    }
    assert len(keys) == 6


def test_keys_do_not_change_between_releases() -> None:
    # Written down on 2026-11-22 by this function's first version, checked by hand with
    # printf '%s' '{"inputs":{"rate":0.1,"seed":7},"kind":"train","replicate":0,"version":1}' | sha256sum
    key = key_of("train", 1, {"seed": 7, "rate": 0.1})
    assert key == "77d3607e718f1721defd144ebec60dcb3e6d2b79147e7f9c9e734e6a37856f51"


def test_content_ids_of_bytes_and_files_agree(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(data)
    assert file_content_id(tmp_path / "a") == content_id(data)
    assert is_content_id(content_id(data))
    # The sha256 of nothing, as printed in FIPS 180-4's examples and by any sha256sum.
    assert content_id(b"") == (
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


@pytest.mark.parametrize("odd", ["", "sha256:", "sha256:" + "g" * 64, "md5:" + "0" * 64])
def test_what_is_not_a_content_id(odd: str) -> None:
    assert not is_content_id(odd)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot be read"):
        file_content_id(tmp_path / "none")
