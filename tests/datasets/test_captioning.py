"""Captions: the user's words kept, the rest from measurements; faults told with their numbers; captioners that run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.datasets.sets import ADA, reading
from vultus.core.errors import DatasetError, UnknownNameError
from vultus.core.seeds import stream
from vultus.datasets.caption_lint import Lint, lint_captions
from vultus.datasets.captioners import CAPTIONERS, CaptionerSpec
from vultus.datasets.captioners.image_to_text import clean
from vultus.datasets.captioning import Caption, write_captions
from vultus.datasets.coverage import measure_coverage
from vultus.datasets.tokens import count_tokens
from vultus.images.records import Rgb


def written(own: dict[str, str], described: dict[str, str]) -> dict[str, Caption]:
    readings = [
        reading("a", share=0.5, yaw=30, light=(0.5, 0.2)),
        reading("b", share=0.2, pitch=-20),
        reading("c", share=0.05),
        reading("d", state="none"),
    ]
    coverage = measure_coverage(readings, own, wanted=4)
    captions = write_captions(readings, own, described, coverage, ADA, "template")
    assert len(captions) == 4
    return {caption.name: caption for caption in captions}


def test_what_was_measured_is_said_and_what_is_usual_is_not() -> None:
    found = written({}, {"b": "wearing glasses, red scarf"})
    assert found["a"].text == (
        "close-up photo of ohwx woman, three-quarter view facing left, light from the left"
    )
    assert (
        found["b"].text == "half body photo of ohwx woman, looking down, wearing glasses, red scarf"
    )
    assert found["c"].text == "full body photo of ohwx woman"
    assert found["d"].text == "photo of ohwx woman"


def test_the_users_words_are_kept() -> None:
    found = written({"a": "{persona} at the sea", "b": "a red hat", "c": "ohwx woman asleep"}, {})
    assert [found[n].text for n in "abc"] == [
        "ohwx woman at the sea",
        "photo of ohwx woman, a red hat",
        "ohwx woman asleep",
    ]
    assert [found[n].by for n in "abcd"] == ["user", "user", "user", "template"]


def lints(texts: list[str], seen: dict[str, str] | None = None) -> dict[str, Lint]:
    captions = [Caption(f"{i}", text, "user") for i, text in enumerate(texts)]
    found = lint_captions(captions, ADA, seen)
    assert len({(one.kind, one.detail) for one in found}) == len(found)
    return {one.kind: one for one in found}


def test_every_fault_carries_its_number() -> None:
    texts = [f"photo of ohwx woman, grey beard, place {i}" for i in range(8)]
    texts += ["a woman in a park", "ohwx woman and ohwx woman, " + "very tall and slim " * 20]
    found = lints(texts, {"0": "glasses, indoors", "1": "glasses"})
    assert set(found) == {"fragment", "missing", "leaking", "long", "accessory"}
    assert (found["fragment"].count, found["fragment"].of) == (8, 10)
    assert "grey beard" in found["fragment"].detail
    assert found["missing"].names == ("8",)
    assert found["leaking"].names == ("9",)
    assert found["long"].names == ("9",) and "86" in found["long"].detail
    assert found["accessory"].names == ("0", "1")


def test_name_and_longer_words_leak() -> None:
    assert lints(["ohwx woman named Ada", "b ohwx", "c ohwx", "d ohwx"])["leaking"].names == ("0",)
    assert lints(["ohwxish ohwx woman", "b ohwx", "c ohwx", "d ohwx"])["leaking"].names == ("0",)


def test_good_captions_have_no_faults() -> None:
    assert lints([f"photo of ohwx woman, view {i}" for i in range(12)]) == {}


def test_one_caption_for_many_pictures_is_a_fault() -> None:
    found = lints(["photo of ohwx woman"] * 3 + [f"ohwx woman {i}" for i in range(9)])
    assert found["repeated"].count == 3


def test_tokens_are_counted_like_the_text_encoders_count(tmp_path: Path) -> None:
    from transformers import CLIPTokenizer

    from vultus.core.sdxl.tokenizer import write_tokenizer_folder

    write_tokenizer_folder(tmp_path, pad_token="<|endoftext|>")
    clip = CLIPTokenizer.from_pretrained(tmp_path)
    texts = [
        "photo of ohwx woman, three-quarter view",
        "Élodie's café at 17:45, naïve — it's 100% ok!!",
        "supercalifragilistic antidisestablishmentarianism",
        "snow_covered  _tree_ (masterpiece:1.2)",
        "",
    ]
    for text in texts:
        assert count_tokens(text) == len(clip(text)["input_ids"]) - 2, text


def test_an_unknown_captioner_is_told_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="template"):
        CAPTIONERS.entry("templat")
    assert set(CAPTIONERS.names()) == {"template", "transformers", "wd14"}


def picture(level: int) -> Rgb:
    return np.full((40, 60, 3), level, dtype=np.uint8)


def make_tagger(folder: Path) -> Path:
    """A tagger of one weight: a tag's probability is the mean of one channel of the white-padded square."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["p"]),
    ]
    w = np.zeros((3, 5), np.float32)
    w[0] = [1 / 255, 0, 0, 1 / 255, 1 / 255]  # blue comes first: BGR
    w[2] = [0, 1 / 255, 0, 0, 0]
    graph = helper.make_graph(
        nodes,
        "tagger",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 8, 3])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, [1, 5])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
            helper.make_tensor("w", TensorProto.FLOAT, [3, 5], w.ravel().tolist()),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    folder.mkdir()
    onnx.save(model, str(folder / "model.onnx"))
    rows = ["blue_shirt,0", "red_hat,0", "never,0", "somebody,4", "1girl,0"]
    lines = ["tag_id,name,category,count", *(f"{i},{row},9" for i, row in enumerate(rows))]
    (folder / "selected_tags.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_a_tagger_names_general_tags_only_in_order_of_probability(tmp_path: Path) -> None:
    folder = make_tagger(tmp_path / "tagger")
    tagger = CAPTIONERS.get("wd14")(CaptionerSpec("wd14", str(folder), threshold=0.5))
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 0] = 200
    blue = red[..., ::-1].copy()
    both = np.full((40, 40, 3), 180, np.uint8)
    both[..., 2] = 220
    assert tagger.describe([red, blue, both]) == ["red hat", "blue shirt", "blue shirt, red hat"]
    assert tagger.describe([picture(0)])[0] == "", "white padding alone names nothing above 0.5"
    assert tagger.mark.startswith("wd14 ") and tagger.mark.endswith(">= 0.5")


def test_a_folder_that_is_no_tagger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"lacks model\.onnx and selected_tags\.csv"):
        CAPTIONERS.get("wd14")(CaptionerSpec("wd14", str(tmp_path)))
    folder = make_tagger(tmp_path / "tagger")
    (folder / "selected_tags.csv").write_text("tag_id,name,category\n0,a,0\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="1 tags met a net"):
        CAPTIONERS.get("wd14")(CaptionerSpec("wd14", str(folder)))


def make_blip(folder: Path) -> Path:
    """The smallest model of the BLIP family, with random weights: the code path is the real one."""
    import torch
    from transformers import (
        BertTokenizer,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]", *"abcdefgh"]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    torch.manual_seed(0)
    text = {
        "vocab_size": len(words),
        "hidden_size": 16,
        "encoder_hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "projection_dim": 16,
        "max_position_embeddings": 32,
        "bos_token_id": 5,
        "sep_token_id": 3,
        "eos_token_id": 3,
        "pad_token_id": 0,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    }
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=16)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    processor = BlipImageProcessor(size={"height": 32, "width": 32})
    BlipProcessor(processor, tokenizer).save_pretrained(folder)
    return folder


def test_an_image_to_text_model_runs_and_is_named_by_its_weights(tmp_path: Path) -> None:
    folder = make_blip(tmp_path / "blip")
    spec = CaptionerSpec("transformers", str(folder), max_tokens=6)
    captioner = CAPTIONERS.get("transformers")(spec)
    rgb = np.asarray(stream("blip").integers(0, 256, (48, 64, 3)), dtype=np.uint8)
    first, again = captioner.describe([rgb, rgb])
    assert first == again and isinstance(first, str)
    assert captioner.mark.startswith("transformers sha256:")


def test_a_model_without_a_pinned_revision_is_refused() -> None:
    for revision in ("", "main", "abc123"):
        with pytest.raises(DatasetError, match="no pinned model"):
            CAPTIONERS.get("transformers")(CaptionerSpec("transformers", "org/model", revision))


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("The image shows a woman in a park.", "a woman in a park"),
        ("a photo of a red hat", "a red hat"),
        ("first draft\n\nSecond draft: longer", "first draft"),
        ("", ""),
    ],
)
def test_chatter_is_cut(said: str, kept: str) -> None:
    assert clean(said) == kept
