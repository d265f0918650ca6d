"""The captioner that adds nothing: what was measured is the caption. It needs no weights."""

from __future__ import annotations

from collections.abc import Sequence

from vultus.datasets.captioners.records import CaptionerSpec
from vultus.images.records import Rgb


class Template:
    """A `Captioner` without words of its own."""

    @property
    def mark(self) -> str:
        """Just its name: there is nothing to pin."""
        return "template"

    def describe(self, pictures: Sequence[Rgb]) -> list[str]:
        """Nothing about each picture."""
        return ["" for _ in pictures]


def open_template(spec: CaptionerSpec) -> Template:
    """For the registry."""
    del spec
    return Template()


__all__ = ["Template", "open_template"]
