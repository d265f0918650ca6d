"""Verbs of `vultus dataset`: ingest, dedupe, freeze, export and show."""

from __future__ import annotations

from vultus.cli.wording import Nouns

__all__ = ["add"]


def add(verbs: Nouns) -> None:
    """Add the verbs of this file below `vultus dataset`."""
    del verbs
