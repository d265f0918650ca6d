"""Views: the crops of a picture that are trained beside it, or in its place.

A small face in a whole picture is a handful of latents; the same face cut out is dozens. Every crop keeps the
truth about itself: SDXL is told the original's size and where the crop begins, and its caption says what is seen.

Notation
    view        a `TrainPicture` with a crop; its face box and points stay in pixels of the whole picture
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vultus.datasets.views import ViewsSpec, plan_views, view_caption
from vultus.training.records import FaceBox, TrainPicture, TrainSpec

__all__ = ["expand_views"]

_CROPS = ("three-quarter", "face")


@dataclass(frozen=True)
class _Shown:
    """What planning a view looks at."""

    name: str
    width_px: int
    height_px: int
    box_px: FaceBox | None


def expand_views(
    spec: TrainSpec, pictures: Sequence[TrainPicture]
) -> tuple[list[TrainPicture], tuple[str, ...]]:
    """Everything the trainer sees, and in words which crops were left out and why.

    With `substituted` a picture of which no crop can be cut (a close-up is its own face crop) stays whole: no
    picture is lost. A picture that comes with a crop of its own is a view already and stays as it is.
    """
    if spec.views == "full":
        return list(pictures), ()
    rules = ViewsSpec(_CROPS, spec.resolution_px, enlarge_max=spec.view_enlarge_max)
    found: list[TrainPicture] = []
    told: list[str] = []
    for picture in pictures:
        crops: list[TrainPicture] = []
        if picture.crop is None:
            crops, left_out = _crops(picture, rules)
            told += left_out
        if spec.views == "added" or not crops:
            found.append(picture)
        found += crops
    return found, tuple(told)


def _crops(picture: TrainPicture, rules: ViewsSpec) -> tuple[list[TrainPicture], list[str]]:
    width, height = picture.original_size
    shown = _Shown(picture.path.name, width, height, picture.faces[0] if picture.faces else None)
    views, left_out = plan_views([shown], rules)
    crops = [
        replace(picture, crop=view.crop_px, caption=view_caption(picture.caption, view.kind))
        for view in views
    ]
    return crops, left_out
