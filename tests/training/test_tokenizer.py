"""SDXL's tokenizer and configurations, made from constants."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from vultus.core.sdxl import architecture
from vultus.core.sdxl.tokenizer import merges, vocabulary

SHARED = Path(os.environ.get("VULTUS_SHARED", Path(__file__).resolve().parents[2] / "../shared"))
BPE = SHARED / "configs" / "clip_bpe" / "bpe_simple_vocab_16e6.txt.gz"
SDXL = SHARED / "configs" / "sdxl-base-1.0"


def test_vocabulary_has_clips_size_and_marks() -> None:
    words = vocabulary()
    assert len(merges()) == 48_894
    assert len(words) == 49_408
    assert (words["<|startoftext|>"], words["<|endoftext|>"]) == (49_406, 49_407)
    assert (words["!"], words["a</w>"], words["photo</w>"]) == (0, 320, 1125)


@pytest.mark.shared
@pytest.mark.skipif(not BPE.exists(), reason=f"no configs/clip_bpe under {SHARED}")
def test_merges_are_openais() -> None:
    lines = gzip.decompress(BPE.read_bytes()).decode("utf-8").split("\n")[1 : 48_894 + 1]
    assert [" ".join(pair) for pair in merges()] == lines


@pytest.mark.shared
@pytest.mark.skipif(not SDXL.exists(), reason=f"no configs/sdxl-base-1.0 under {SHARED}")
def test_configs_agree_with_the_published_ones() -> None:
    """Every constant equals the published value; what we leave out is a library default."""
    ours = {
        "scheduler/scheduler_config.json": architecture.SCHEDULER,
        "text_encoder/config.json": architecture.TEXT_ENCODER,
        "text_encoder_2/config.json": architecture.TEXT_ENCODER_2,
        "unet/config.json": architecture.UNET,
        "vae/config.json": architecture.VAE,
        "model_index.json": architecture.MODEL_INDEX,
    }
    checked = 0
    for name, table in ours.items():
        published = json.loads((SDXL / name).read_text("utf-8"))
        for key, value in table.items():
            assert published[key] == value, f"{name}: {key}"
            checked += 1
    assert checked >= 60


def test_written_folder_tokenizes_like_clip(tmp_path: Path) -> None:
    from transformers import CLIPTokenizer

    architecture.write_config_folder(tmp_path)
    assert len(list(tmp_path.rglob("*.*"))) == 12
    one = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer", local_files_only=True)
    two = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer_2", local_files_only=True)
    for tokenizer, pad in ((one, 49_407), (two, 0)):
        ids = tokenizer("a photo", padding="max_length", max_length=77).input_ids
        assert ids[:4] == [49_406, 320, 1125, 49_407]
        assert set(ids[4:]) == {pad}
        # unknown words fall apart into known pieces, never into an unknown mark
        assert 49_407 not in tokenizer("zorblax").input_ids[1:-1]
