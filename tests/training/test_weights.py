"""A weight file is judged by its header, and every wrong one gets one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from vultus.core.errors import WeightsError
from vultus.core.weights import (
    light_print,
    read_header,
    require_base,
    require_lora,
    write_weights,
)

SD1 = "cond_stage_model.transformer.text_model.embeddings.position_ids"
UNET = "model.diffusion_model.input_blocks.0.0.weight"
LABEL = "model.diffusion_model.label_emb.0.0.weight"
PAIR = "lora_unet_input_blocks_4_1_proj_in.lora_down.weight"


def _file(path: Path, *names: str) -> Path:
    save_file({name: np.zeros((2, 3), np.float16) for name in names}, path)
    return path


def test_written_file_is_read_by_the_library(tmp_path: Path) -> None:
    tensors: dict[str, np.ndarray[Any, Any]] = {
        "b": np.arange(6, dtype=np.float16).reshape(2, 3),
        "a": np.asarray(4.0, dtype=np.float32),
        "c": np.zeros((0, 4), np.float16),
        "view": np.arange(12, dtype=np.float32).reshape(3, 4).T,
    }
    path = tmp_path / "x.safetensors"
    write_weights(path, tensors, {"z": "1", "é": "2"})
    read = load_file(path)
    assert set(read) == set(tensors)
    for name, values in tensors.items():
        assert read[name].dtype == values.dtype
        assert np.array_equal(read[name], values)
    header = read_header(path)
    assert header.metadata == {"z": "1", "é": "2"}
    assert header.tensors["view"].shape == (4, 3)
    first = path.read_bytes()
    write_weights(path, {name: tensors[name] for name in reversed(tensors)}, {"é": "2", "z": "1"})
    assert path.read_bytes() == first


def test_whole_file_or_an_error(tmp_path: Path) -> None:
    whole = _file(tmp_path / "a.safetensors", PAIR).read_bytes()
    torn = tmp_path / "torn.safetensors"
    refused = 0
    for length in range(len(whole)):
        torn.write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            read_header(torn)
        refused += 1
    assert refused == len(whole) > 100


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200), claim=st.none() | st.integers(0, 2**64 - 1))
def test_hostile_bytes_never_escape(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, claim: int | None
) -> None:
    path = tmp_path_factory.mktemp("hostile") / "x.safetensors"
    prefix = len(data) if claim is None else claim
    path.write_bytes(prefix.to_bytes(8, "little") + data)
    try:
        header = read_header(path)
    except WeightsError:
        return
    # only an empty table may pass
    assert not header.tensors


@pytest.mark.parametrize(
    "table",
    [
        [],
        {"a": 1},
        {"a": {}},
        {"a": {"dtype": "F16", "shape": "x", "data_offsets": [0, 0]}},
        {"a": {"dtype": "F16", "shape": [1], "data_offsets": []}},
        {"a": {"dtype": "F16", "shape": [1], "data_offsets": [0, 99]}},
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, table: object) -> None:
    raw = json.dumps(table).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(raw).to_bytes(8, "little") + raw)
    with pytest.raises(WeightsError):
        read_header(path)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((PAIR,), "is a LoRA, not a base"),
        ((SD1, UNET), "Stable Diffusion 1 or 2"),
        ((UNET, "x"), "Stable Diffusion 1 or 2"),
        ((UNET, LABEL), "lacks a part of SDXL"),
        (("weight",), "is not an SDXL checkpoint"),
    ],
)
def test_wrong_single_files_are_named(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    path = _file(tmp_path / "base.safetensors", *names)
    with pytest.raises(WeightsError, match=words) as caught:
        require_base(path)
    assert str(path) in caught.value.lines()[0]
    assert caught.value.expected
    assert caught.value.next_command


def test_pickles_and_missing_files_are_refused(tmp_path: Path) -> None:
    pickle = tmp_path / "model.ckpt"
    pickle.write_bytes(b"\x80\x04")
    with pytest.raises(WeightsError, match="pickle"):
        require_base(pickle)
    with pytest.raises(WeightsError, match="does not exist"):
        require_base(tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="does not exist"):
        require_lora(tmp_path / "none.safetensors")


def test_folders_are_judged_part_by_part(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"without model_index\.json"):
        require_base(tmp_path)
    index = tmp_path / "model_index.json"
    index.write_text("{", "utf-8")
    with pytest.raises(WeightsError, match="cannot be read as JSON"):
        require_base(tmp_path)
    index.write_text('{"_class_name": "FluxPipeline"}', "utf-8")
    with pytest.raises(WeightsError, match="FluxPipeline"):
        require_base(tmp_path)
    index.write_text('{"_class_name": "StableDiffusionXLPipeline"}', "utf-8")
    with pytest.raises(WeightsError, match="lacks unet, vae"):
        require_base(tmp_path)
    for part in ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"):
        (tmp_path / part).mkdir()
    (tmp_path / "scheduler").mkdir()
    with pytest.raises(WeightsError, match=r"no \.safetensors weights"):
        require_base(tmp_path)
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        _file(tmp_path / part / "model.safetensors", "w")
    assert require_base(tmp_path) == "folder"
    torn = tmp_path / "unet" / "model.safetensors"
    torn.write_bytes(torn.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="torn"):
        require_base(tmp_path)


def test_a_base_is_no_lora(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is not a LoRA"):
        require_lora(_file(tmp_path / "a.safetensors", UNET))
    assert PAIR in require_lora(_file(tmp_path / "b.safetensors", PAIR)).tensors


def test_light_print_sees_a_changed_end(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"\0" * (3 << 20))
    before = light_print(path)
    assert light_print(path) == before
    path.write_bytes(b"\0" * ((3 << 20) - 1) + b"\1")
    assert light_print(path) != before
