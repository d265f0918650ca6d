"""Views: what the trainer sees of one picture, with the truth about size and crop that SDXL is told.

Notation
    view            "full", "three-quarter" (head and shoulders to the hips) or "face"
    crop_px         (x0, y0, x1, y1) of the picture, whole pixels, half-open
    target          (width, height) the crop is resized to: a bucket, multiples of 64, area near resolution^2
    original_size   (width, height) that SDXL is told: the size of the user's picture, whatever was cut from it
    crop_top_left   (left, top) that SDXL is told: where the crop starts in the picture scaled like the view (the
                    convention of SDXL's own training and of training/native/data.py); 0 for whole pictures
    mask            weights of the loss at the target's size, uint8 (h, w): 255 on the face, `rest` elsewhere

SDXL conditions on (original size, crop top-left, target size). A view is cut from the picture before it is resized, and
what is cut away is told: nothing here pretends that a face crop was a whole picture. Views are never duplicates of
their parent (lineage "view").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from vultus.core.specs import setting
from vultus.images.geometry import resize
from vultus.images.records import Rgb

Kind = Literal["full", "three-quarter", "face"]
KINDS: tuple[Kind, ...] = ("full", "three-quarter", "face")
BUCKET_STEP_PX = 64
FACE_GROWTH_PX = 1.0


@dataclass(frozen=True)
class ViewsSpec:
    """Which views are cut and how the face is weighed."""

    kinds: tuple[str, ...] = setting(
        ("full", "face"), help="views of each picture: full, three-quarter, face"
    )
    resolution_px: int = setting(
        1024, help="views are resized to about this many pixels squared", low=64, high=4096
    )
    face_margin: float = setting(
        1.0, help="margin around the face crop, in faces, on each side", low=0.2, high=3.0
    )
    enlarge_max: float = setting(
        2.0, help="crops that must be enlarged more than this are left out", low=1.0, high=16.0
    )
    mask_rest: int = setting(
        96, help="weight outside the face, of 255; 255 makes the mask do nothing", low=0, high=255
    )
    mask_grow: float = setting(
        0.35, help="how far the mask reaches around the face box, in faces", low=0.0
    )

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            raise ValueError(
                f"kinds must be some of {', '.join(KINDS)}, not {unknown or 'nothing'}"
            )


class Framed(Protocol):
    """What planning looks at of a picture: its name, its size and where its face is (`readings.Reading` is one)."""

    @property
    def name(self) -> str: ...

    @property
    def width_px(self) -> int: ...

    @property
    def height_px(self) -> int: ...

    @property
    def box_px(self) -> tuple[float, float, float, float] | None: ...


@dataclass(frozen=True)
class View:
    """One view of one picture."""

    parent: str
    kind: Kind
    crop_px: tuple[int, int, int, int]
    target: tuple[int, int]
    original_size: tuple[int, int]
    crop_top_left: tuple[int, int]
    face_px: tuple[float, float, float, float] | None
    """the face box in pixels of the target"""

    @property
    def scale(self) -> float:
        """How much the crop is enlarged (> 1) or shrunk."""
        x0, y0, x1, y1 = self.crop_px
        return float((self.target[0] * self.target[1] / max(1, (x1 - x0) * (y1 - y0))) ** 0.5)


def plan_views(readings: Sequence[Framed], spec: ViewsSpec) -> tuple[list[View], list[str]]:
    """The views of every picture, and in words which were left out and why."""
    views: list[View] = []
    left_out: list[str] = []
    for reading in readings:
        for kind in KINDS:
            if kind not in spec.kinds:
                continue
            if kind != "full" and reading.box_px is None:
                left_out.append(f"{reading.name}: no {kind} view, no face was found")
                continue
            view = _view(reading, kind, spec)
            if kind != "full" and _whole(view, reading):
                left_out.append(f"{reading.name}: no {kind} view, it would be the whole picture")
            elif kind != "full" and view.scale > spec.enlarge_max:
                left_out.append(
                    f"{reading.name}: no {kind} view, it would be enlarged {view.scale:.1f} times"
                )
            else:
                views.append(view)
    return views, left_out


def bucket(
    width: int, height: int, resolution_px: int, step_px: int = BUCKET_STEP_PX
) -> tuple[int, int]:
    """The size that a picture is trained at: multiples of `step_px`, area at most resolution squared (but one step)."""
    step = min(step_px, resolution_px)
    aspect = width / height
    best = (resolution_px // step * step, resolution_px // step * step)
    best_miss = abs(np.log(aspect * best[1] / best[0]))
    for columns in range(1, 4 * resolution_px // step + 1):
        w = columns * step
        h = int(resolution_px**2 / w) // step * step
        if h < step or max(w, h) > 2.5 * min(w, h):
            continue
        miss = abs(np.log(aspect * h / w))
        if miss < best_miss - 1e-9:
            best, best_miss = (w, h), miss
    return best


_FRAMING = re.compile(
    r"\b(?:close[- ]?up|half[- ]body|full[- ]body|three[- ]quarters?|head and shoulders|upper body|whole figure)\b",
    re.IGNORECASE,
)


def view_caption(caption: str, kind: Kind) -> str:
    """The picture's caption with the framing of a view of it: a face crop of a standing body is a close-up.

    A framing that stands in the caption is replaced, else the new one is put at the end. What else is told of the
    whole picture (shoes, background) stays.
    """
    if kind == "full":
        return caption
    shown = "close-up" if kind == "face" else "half body"
    text, count = _FRAMING.subn(shown, caption, count=1)
    return text if count else f"{caption}, {shown}".removeprefix(", ")


def cut(rgb: Rgb, view: View) -> Rgb:
    """The view's pixels: cropped, then resized to the target (h, w, 3)."""
    x0, y0, x1, y1 = view.crop_px
    return resize(np.ascontiguousarray(rgb[y0:y1, x0:x1]), *view.target)


def face_mask(view: View, spec: ViewsSpec) -> npt.NDArray[np.uint8]:
    """Weights of the loss (h, w): 255 on an ellipse around the face, falling off over a tenth of it to `mask_rest`."""
    width, height = view.target
    mask = np.full((height, width), spec.mask_rest, dtype=np.uint8)
    if view.face_px is None:
        return mask
    x0, y0, x1, y1 = view.face_px
    grown = 1.0 + 2.0 * spec.mask_grow
    rx, ry = (x1 - x0) / 2 * grown, (y1 - y0) / 2 * grown
    y, x = np.mgrid[0:height, 0:width] + 0.5
    away = np.hypot((x - (x0 + x1) / 2) / max(rx, 1e-6), (y - (y0 + y1) / 2) / max(ry, 1e-6))
    share = np.clip((1.1 - away) / 0.1, 0.0, 1.0)
    weights = spec.mask_rest + (255 - spec.mask_rest) * share
    return np.asarray(np.round(weights), dtype=np.uint8)


def mask_effect(mask: npt.NDArray[np.uint8]) -> float:
    """How much heavier a face pixel weighs than the mean pixel; 1 means that the mask does nothing."""
    return float(mask.max()) / max(1e-6, float(mask.mean()))


def _view(reading: Framed, kind: Kind, spec: ViewsSpec) -> View:
    width, height = reading.width_px, reading.height_px
    region = (0.0, 0.0, float(width), float(height))
    if kind != "full" and reading.box_px is not None:
        region = _region(reading.box_px, kind, spec)
    wanted = _inside(region, width, height)
    target = bucket(wanted[2] - wanted[0], wanted[3] - wanted[1], spec.resolution_px)
    crop = _fit(wanted, target)
    k = target[0] / (crop[2] - crop[0])
    face = None
    if reading.box_px is not None:
        x0, y0, x1, y1 = reading.box_px
        face = ((x0 - crop[0]) * k, (y0 - crop[1]) * k, (x1 - crop[0]) * k, (y1 - crop[1]) * k)
    return View(
        parent=reading.name,
        kind=kind,
        crop_px=crop,
        target=target,
        original_size=(width, height),
        crop_top_left=(round(crop[0] * k), round(crop[1] * k)),
        face_px=face,
    )


def _region(
    box_px: tuple[float, float, float, float], kind: Kind, spec: ViewsSpec
) -> tuple[float, float, float, float]:
    """What a view wants to show, px; may reach outside the picture."""
    x0, y0, x1, y1 = box_px
    wide, tall, centre = x1 - x0, y1 - y0, (x0 + x1) / 2
    if kind == "face":
        side = max(wide, tall) * (1 + 2 * spec.face_margin)
        middle = (y0 + y1) / 2
        return centre - side / 2, middle - side / 2, centre + side / 2, middle + side / 2
    # Head to hips: half a face above the box, four faces below, three to each side.
    return centre - 3 * tall, y0 - 0.8 * tall, centre + 3 * tall, y1 + 4 * tall


def _inside(
    region: tuple[float, float, float, float], width: int, height: int
) -> tuple[int, int, int, int]:
    return (
        max(0, int(np.floor(region[0]))),
        max(0, int(np.floor(region[1]))),
        min(width, int(np.ceil(region[2]))),
        min(height, int(np.ceil(region[3]))),
    )


def _fit(box: tuple[int, int, int, int], target: tuple[int, int]) -> tuple[int, int, int, int]:
    """The largest centred part of a box with the target's shape, so that resizing does not distort."""
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    aspect = target[0] / target[1]
    w, h = (
        (width, max(1, round(width / aspect)))
        if width / height < aspect
        else (max(1, round(height * aspect)), height)
    )
    w, h = min(w, width), min(h, height)
    left, top = x0 + (width - w) // 2, y0 + (height - h) // 2
    return left, top, left + w, top + h


def _whole(view: View, reading: Framed) -> bool:
    x0, y0, x1, y1 = view.crop_px
    return (x1 - x0) * (y1 - y0) > 0.85 * reading.width_px * reading.height_px


__all__ = [
    "KINDS",
    "Framed",
    "Kind",
    "View",
    "ViewsSpec",
    "bucket",
    "cut",
    "face_mask",
    "mask_effect",
    "plan_views",
    "view_caption",
]
