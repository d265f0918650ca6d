"""How many tokens a caption costs SDXL's text encoders: CLIP's byte-pair merges, without loading the library.

The two marks at the start and the end are not counted: 75 tokens of words fit.
"""

from __future__ import annotations

import functools
import itertools
import re

from vultus.core.sdxl.tokenizer import merges

MOST_TOKENS = 75
_WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+", re.IGNORECASE)


def count_tokens(text: str) -> int:
    """Tokens of a caption; above MOST_TOKENS the rest is cut off (or starts another chunk)."""
    words = _WORDS.findall(" ".join(text.split()).lower())
    return sum(_pieces(word) for word in words)


@functools.cache
def _ranks() -> dict[tuple[str, str], int]:
    return {pair: rank for rank, pair in enumerate(merges())}


@functools.cache
def _byte_symbols() -> dict[int, str]:
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    symbols = {byte: chr(byte) for byte in printable}
    hidden = [byte for byte in range(256) if byte not in symbols]
    return symbols | {byte: chr(0x100 + i) for i, byte in enumerate(hidden)}


@functools.lru_cache(maxsize=4096)
def _pieces(word: str) -> int:
    """How many tokens one word falls into."""
    symbols = _byte_symbols()
    parts = [symbols[byte] for byte in word.encode("utf-8")]
    parts[-1] += "</w>"
    ranks = _ranks()
    while len(parts) > 1:
        pairs = [(ranks.get(pair, 1 << 30), i) for i, pair in enumerate(itertools.pairwise(parts))]
        rank, _ = min(pairs)
        if rank == 1 << 30:
            break
        first, second = merges()[rank]
        merged: list[str] = []
        i = 0
        while i < len(parts):
            if i + 1 < len(parts) and parts[i] == first and parts[i + 1] == second:
                merged.append(first + second)
                i += 2
            else:
                merged.append(parts[i])
                i += 1
        parts = merged
    return len(parts)


__all__ = ["MOST_TOKENS", "count_tokens"]
