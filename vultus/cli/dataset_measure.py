"""Verbs of `vultus dataset`: audit, coverage, captions and split."""

from __future__ import annotations

from vultus.cli.wording import Nouns

__all__ = ["add"]


def add(verbs: Nouns) -> None:
    """Add the verbs of this file below `vultus dataset`."""
    del verbs
