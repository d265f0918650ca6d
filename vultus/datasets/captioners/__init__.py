"""Captioners: who says in words what a picture shows. Chosen by name, pinned by revision, run on this machine only."""

from __future__ import annotations

from vultus.datasets.captioners.records import CAPTIONERS, Captioner, CaptionerSpec

__all__ = ["CAPTIONERS", "Captioner", "CaptionerSpec"]
