"""A base's name finds weights that fit, and its digest follows their content."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vultus.core.errors import WeightsError
from vultus.studies.bases import base_digest, find_base
from vultus.testing.planted import make_base


def test_a_path_is_relative_to_the_workspace(tmp_path: Path) -> None:
    make_base(tmp_path / "weights" / "plain")
    base = find_base("weights/plain", tmp_path, tmp_path / "memory")
    assert base.name == "weights/plain"
    assert base.path == (tmp_path / "weights" / "plain").resolve()


def test_the_digest_follows_content_not_place_or_time(tmp_path: Path) -> None:
    one, two = make_base(tmp_path / "one"), make_base(tmp_path / "two")
    memory = tmp_path / "memory"
    digest = base_digest(one, memory)
    assert base_digest(two, memory) == digest
    os.utime(one / "fake.json", (1, 1))
    assert base_digest(one, memory) == digest
    (two / "README.md").write_text("words", encoding="utf-8")
    assert base_digest(two, memory) == digest, "documentation is no weight"
    (two / "merges.txt").write_text("a b", encoding="utf-8")
    assert base_digest(two, memory) != digest, "a tokenizer's merges are part of a base"


def test_a_digest_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, memory = make_base(tmp_path / "one"), tmp_path / "memory"
    digest = base_digest(base, memory)

    def refuse(path: Path) -> str:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr("vultus.studies.bases.file_content_id", refuse)
    assert base_digest(base, memory) == digest
    (memory / "digests.json").write_text("torn", encoding="utf-8")
    with pytest.raises(AssertionError):
        base_digest(base, memory)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere", "there is no base"),
        ("standin/plian", "there is no stand-in base"),
        ("lora.safetensors", "LoRA"),
        ("words.safetensors", "not a safetensors"),
        ("pickle.ckpt", "pickle"),
        ("empty", "model_index.json"),
    ],
)
def test_what_is_no_base_is_one_clear_error(tmp_path: Path, name: str, told: str) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"x.lora_down.weight": np.zeros((1, 1))}, str(tmp_path / "lora.safetensors"))
    (tmp_path / "words.safetensors").write_text("not weights at all", encoding="utf-8")
    (tmp_path / "pickle.ckpt").write_bytes(b"\x80\x04.")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError) as caught:
        find_base(name, tmp_path, tmp_path / "memory")
    assert told in caught.value.what


def test_a_part_that_is_a_link_belongs_to_the_base(tmp_path: Path) -> None:
    part, base, memory = tmp_path / "vae", tmp_path / "soft", tmp_path / "memory"
    part.mkdir()
    base.mkdir()
    memory.mkdir()
    (part / "model.safetensors").write_bytes(b"one")
    (base / "model_index.json").write_text("{}")
    (base / "vae").symlink_to(part)
    digest = base_digest(base, memory)
    (part / "model.safetensors").write_bytes(b"another")
    assert base_digest(base, memory) != digest
