"""What a captioner is asked and what it answers.

Notation
    rgb      one upright picture     uint8 (H, W, 3)
    terms    words about it          lower case, comma-separated, without the persona's name or trigger

A captioner describes what varies; who it is belongs to the trigger. `mark` identifies what answered (name, revision or
digest of the weights) and is written beside the captions: the same words from another revision are other words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from vultus.core.registry import Registry
from vultus.core.specs import setting
from vultus.images.records import Rgb


@dataclass(frozen=True)
class CaptionerSpec:
    """Which captioner writes the words, and how it is pinned."""

    name: str = setting("template", help="template, transformers or wd14")
    model: str = setting(
        "", help="folder of the model; for transformers also a name on the hub, with a revision"
    )
    revision: str = setting(
        "", help="the 40 hex digits of the hub's commit; without it no model is fetched by name"
    )
    max_tokens: int = setting(60, help="longest answer of a model, tokens", low=4, high=400)
    threshold: float = setting(
        0.35, help="probability from which a tag counts (wd14)", low=0.0, high=1.0
    )


class Captioner(Protocol):
    """Describes pictures in words. Deterministic: the same picture gets the same words."""

    @property
    def mark(self) -> str:
        """What answered: name and revision or digest."""

    def describe(self, pictures: Sequence[Rgb]) -> list[str]:
        """Terms for each picture, in order; "" where there is nothing to say."""


CAPTIONERS: Registry[Callable[[CaptionerSpec], Captioner]] = Registry("captioner")
CAPTIONERS.add(
    "template",
    "vultus.datasets.captioners.template:open_template",
    help="measured framing, direction and light only; needs no weights",
)
CAPTIONERS.add(
    "transformers",
    "vultus.datasets.captioners.image_to_text:open_image_to_text",
    help="an image-to-text model of the transformers library (BLIP, GIT, ...), pinned revision",
)
CAPTIONERS.add(
    "wd14",
    "vultus.datasets.captioners.tagger:open_tagger",
    help="a WD14-class tagger: model.onnx and selected_tags.csv in a folder",
)

__all__ = ["CAPTIONERS", "Captioner", "CaptionerSpec"]
