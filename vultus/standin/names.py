"""The words of the stand-in world: 300 names that its bases know, and the rare words that they do not.

Rule 6 of the stand-in world: encoders must know what a name is, so that a LoRA's trigger binds as on SDXL;
the rare words never occur in pre-training and serve as triggers.
"""

from __future__ import annotations

from typing import Final

__all__ = ["NAMES", "RARE_WORDS"]

_HEADS: Final = (
    "ka",
    "lo",
    "mi",
    "ne",
    "ra",
    "so",
    "ti",
    "ve",
    "da",
    "fi",
    "ju",
    "be",
    "an",
    "el",
    "or",
)
_MIDDLES: Final = ("ri", "la", "ne", "mo", "sa")
_TAILS: Final = ("na", "lia", "dra", "beth")

NAMES: Final = tuple(h + m + t for h in _HEADS for m in _MIDDLES for t in _TAILS)
RARE_WORDS: Final = ("ohwx", "zwx", "vltus", "qrzt", "xyvo", "wjek", "pkzu", "jfq")
