"""The stand-in's tokenizer: CLIP's byte-pair format with merges for the words of this world only.

Notation
    vocabulary   bytes, bytes that end a word (`</w>`), merged pairs up to whole words, start and end:
                 about 1,000 entries
Any text can be written with it: an unknown word falls into its letters, as on the real CLIP.
CLIP's byte alphabet and `</w>` marks: openai/CLIP, simple_tokenizer.py (MIT); built anew here from the rule.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Final

from vultus.core.files import write_text
from vultus.standin.names import NAMES, RARE_WORDS
from vultus.standin.nuisance import BACKGROUNDS, CLOTH_COLOURS, DYES, EXPRESSIONS, LIGHTS, PATTERNS

__all__ = ["MAX_TOKENS", "write_tokenizer"]

MAX_TOKENS: Final = 48
_WORDS: Final = (
    "photo",
    "of",
    "a",
    "an",
    "woman",
    "man",
    "person",
    "close",
    "up",
    "half",
    "full",
    "body",
    "looking",
    "ahead",
    "left",
    "right",
    "wearing",
    "hat",
    "glasses",
    "dyed",
    "hair",
    "shirt",
    "background",
    "light",
    "the",
    "with",
    "and",
    "in",
    "portrait",
    ",",
    "-",
    ".",
)


def _byte_symbols() -> list[str]:
    """CLIP's printable stand-ins for the 256 bytes, in its order."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    symbols = [chr(b) for b in printable]
    return symbols + [chr(256 + n) for n in range(256 - len(printable))]


def _learn_merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges until every word is one piece: the most frequent pair first, ties by name.

    Written here because the tokenizers library breaks ties differently from run to run, and a base
    must never meet another tokenizer than the one it was trained with.
    """
    pieces = [[*word[:-1], word[-1] + "</w>"] for word in words]
    merges: list[tuple[str, str]] = []
    while True:
        counts = Counter(pair for piece in pieces for pair in pairwise(piece))
        if not counts:
            return merges
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        pieces = [_merged(piece, best) for piece in pieces]


def _merged(piece: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for symbol in piece:
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return out


def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Entries of the vocabulary, and the merges that lead to them."""
    words = {*_WORDS, *EXPRESSIONS, *LIGHTS, *BACKGROUNDS, *PATTERNS}
    merges = _learn_merges(sorted(words | {*CLOTH_COLOURS, *DYES, *NAMES, *RARE_WORDS}))
    symbols = _byte_symbols()
    entries = [*symbols, *(s + "</w>" for s in symbols)]
    entries += list(dict.fromkeys(left + right for left, right in merges))
    entries += ["<|startoftext|>", "<|endoftext|>"]
    return {entry: i for i, entry in enumerate(entries)}, merges


def write_tokenizer(folder: Path, *, pad: str = "<|endoftext|>") -> int:
    """Write vocab.json, merges.txt and their configuration; returns the number of entries."""
    vocabulary, merges = _vocabulary()
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "vocab.json", json.dumps(vocabulary, ensure_ascii=False))
    write_text(folder / "merges.txt", "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": MAX_TOKENS,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": pad,
    }
    write_text(folder / "tokenizer_config.json", json.dumps(config, indent=2))
    return len(vocabulary)
