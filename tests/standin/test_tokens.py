"""The stand-in's tokenizer: every word of its language is one token, any other text still has tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from vultus.standin.names import NAMES, RARE_WORDS
from vultus.standin.nuisance import BACKGROUNDS, CLOTH_COLOURS, EXPRESSIONS, PATTERNS


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]  # transformers has no types
    from transformers import CLIPTokenizer

    from vultus.standin.build.tokens import write_tokenizer

    folder: Path = tmp_path_factory.mktemp("tokens")
    assert write_tokenizer(folder) < 3000
    return CLIPTokenizer.from_pretrained(folder)


def test_known_words_are_single_tokens(words) -> None:  # type: ignore[no-untyped-def]
    known = [*NAMES, *RARE_WORDS, *BACKGROUNDS, *CLOTH_COLOURS, *EXPRESSIONS, *PATTERNS]
    assert len(known) > 300
    assert [w for w in known if len(words.tokenize(w)) != 1] == []


def test_unknown_words_fall_into_letters(words) -> None:  # type: ignore[no-untyped-def]
    pieces = words.tokenize("quixotic")
    assert len(pieces) > 1 and "".join(pieces) == "quixotic</w>"


def test_a_caption_starts_and_ends_as_clip_does(words) -> None:  # type: ignore[no-untyped-def]
    ids = words("close-up photo of ohwx woman, smiling").input_ids
    assert ids[0] == words.bos_token_id and ids[-1] == words.eos_token_id == len(words) - 1


def test_the_same_words_always_give_the_same_tokenizer(tmp_path: Path) -> None:
    from vultus.standin.build.tokens import write_tokenizer

    for name in ("one", "two"):
        write_tokenizer(tmp_path / name)
    for file in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
