"""Captions keep the user's words and always hold the trigger."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from vultus.core.errors import DatasetError
from vultus.datasets.captions import (
    MAX_CAPTION_BYTES,
    find_leaks,
    read_caption,
    with_trigger,
    words_of,
)
from vultus.datasets.persona import Persona

ADA = Persona("Ada", "ohwx", "woman", "synthetic", True)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("", "photo of ohwx woman"),
        ("photo of {persona}, smiling", "photo of ohwx woman, smiling"),
        ("photo of woman, smiling", "photo of ohwx woman, smiling"),
        ("photo of ohwx woman", "photo of ohwx woman"),
        ("a red hat", "photo of ohwx woman, a red hat"),
        ("two womanly hats", "photo of ohwx woman, two womanly hats"),
        ("woman beside a woman", "ohwx woman beside a woman"),
    ],
)
def test_the_trigger_is_put_in_once(caption: str, expected: str) -> None:
    assert with_trigger(caption, ADA) == expected


def test_words_are_text_or_a_reason() -> None:
    assert words_of("\ufeffa hät\r\nred".encode()) == "a hät red"
    assert [words_of("ein Hüt".encode(code)) for code in ("utf-16", "utf-8-sig")] == ["ein Hüt"] * 2
    assert words_of(codecs.BOM_UTF16_BE + "ein Hüt".encode("utf-16-be")) == "ein Hüt"
    odd = {
        "ein Hüt".encode("latin-1"): "not UTF-8",
        "a hat".encode("utf-16-le"): "not text",
        b"x" * (MAX_CAPTION_BYTES + 1): "more than 16384 bytes",
    }
    for data, reason in odd.items():
        with pytest.raises(ValueError, match=reason):
            words_of(data)
    assert len(words_of(b"x" * MAX_CAPTION_BYTES)) == MAX_CAPTION_BYTES


def test_a_caption_is_read_as_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\ufeffa  red\nhat ", encoding="utf-8")
    assert read_caption(tmp_path / "a.png") == "a red hat"
    assert read_caption(tmp_path / "b.png") == ""


@pytest.mark.parametrize("data", [b"\xe4\xfe\x00\x41", b"x" * (MAX_CAPTION_BYTES + 1)])
def test_a_caption_that_is_no_text_is_one_clear_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(DatasetError) as caught:
        read_caption(tmp_path / "a.png")
    assert caught.value.where.endswith("a.txt")
    assert caught.value.next_command


def test_leaks_are_fragments_in_nearly_all_captions() -> None:
    captions = [f"photo of ohwx woman, grey beard, view {i}" for i in range(9)]
    captions.append("photo of ohwx woman, view 9")
    leaks = find_leaks(captions, ADA)
    assert [leak.fragment for leak in leaks] == ["grey beard"]
    assert leaks[0].share == pytest.approx(0.9)
    assert find_leaks(captions[:3], ADA) == []
