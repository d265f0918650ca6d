"""The tokenizer that both of SDXL's text encoders use, made from CLIP's list of merges.

`clip_merges.txt.gz` beside this file holds the 48,894 merges that CLIP uses, in order: lines 2 to
48,895 of `bpe_simple_vocab_16e6.txt` of openai/CLIP (MIT, see CLIP-LICENSE.txt). The vocabulary
follows from it: 256 byte symbols, the same at a word's end, the joined merges, two marks.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from importlib import resources
from pathlib import Path

from vultus.core.files import write_text

__all__ = ["END", "START", "merges", "vocabulary", "write_tokenizer_folder"]

START = "<|startoftext|>"
END = "<|endoftext|>"

_WORD_END = "</w>"


@cache
def merges() -> tuple[tuple[str, str], ...]:
    """The pairs that are joined, most frequent first."""
    packed = resources.files(__package__).joinpath("clip_merges.txt.gz").read_bytes()
    lines = gzip.decompress(packed).decode("utf-8").splitlines()
    return tuple((line.split(" ")[0], line.split(" ")[1]) for line in lines)


def _byte_symbols() -> list[str]:
    """One visible character per byte, printable bytes first: the order fixes the token ids."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = 256 - len(printable)
    return [chr(b) for b in printable] + [chr(0x100 + i) for i in range(hidden)]


@cache
def vocabulary() -> dict[str, int]:
    """Token -> id; 49,408 entries, the last two mark a caption's start and end."""
    symbols = _byte_symbols()
    tokens = [
        *symbols,
        *(s + _WORD_END for s in symbols),
        *(left + right for left, right in merges()),
        START,
        END,
    ]
    return {token: i for i, token in enumerate(tokens)}


def write_tokenizer_folder(
    folder: Path,
    *,
    pad_token: str,
    vocab: dict[str, int] | None = None,
    pairs: tuple[tuple[str, str], ...] | None = None,
) -> None:
    """Write `vocab.json`, `merges.txt` and `tokenizer_config.json` that transformers loads.

    `vocab` and `pairs` default to CLIP's; a stand-in base brings its own small ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = vocabulary() if vocab is None else vocab
    joined = merges() if pairs is None else pairs
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": pad_token,
        "model_max_length": 77,
        "do_lower_case": True,
        "errors": "replace",
    }
    write_text(folder / "vocab.json", json.dumps(words, ensure_ascii=False))
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in joined)]
    write_text(folder / "merges.txt", "\n".join(lines) + "\n")
    write_text(folder / "tokenizer_config.json", json.dumps(config, indent=2) + "\n")
