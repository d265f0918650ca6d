"""Draw a person of the stand-in world under given circumstances.

Notation
    rgb         uint8 (128, 128, 3), upright
    points_px   float32 (5, 2), px of the 128 px picture, (0, 0) its outer corner: eyes, nose, mouth
                corners, image-left first
    face_px     (x0, y0, x1, y1) of the face without hair, px of the 128 px picture
Styles other than `plain` are how the other stand-in bases paint the same world, so that the base is a real choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from vultus.standin.canvas import SIZE, SUPER, Image
from vultus.standin.face import draw_head
from vultus.standin.hair import draw_hair_behind
from vultus.standin.head import five_points, make_head
from vultus.standin.identity import Identity
from vultus.standin.nuisance import Nuisance
from vultus.standin.scenery import draw_background, draw_body

__all__ = ["CANVAS_PX", "STYLES", "Rendered", "render"]

CANVAS_PX: Final = 128
STYLES: Final = ("plain", "soft", "ink")


@dataclass(frozen=True)
class Rendered:
    """One picture and the truth about it."""

    rgb: npt.NDArray[np.uint8]
    points_px: npt.NDArray[np.float32]
    face_px: tuple[float, float, float, float]
    person: Identity
    scene: Nuisance


def _light(image: Image, scene: Nuisance) -> npt.NDArray[np.float32]:
    gain = np.array(scene.white, np.float32)
    if scene.light == "warm":
        gain = gain * np.array([1.06, 0.99, 0.84], np.float32)
    if scene.light == "dim":
        gain = gain * np.float32(1 - 0.38 * scene.light_strength)
    lit = image.astype(np.float32) * gain
    if scene.light in ("left", "right"):
        ramp = np.linspace(1.10, 1.10 - 0.34 * scene.light_strength, CANVAS_PX, dtype=np.float32)
        lit *= (ramp if scene.light == "left" else ramp[::-1])[None, :, None]
    return lit


def _stylise(rgb: npt.NDArray[np.uint8], style: str) -> npt.NDArray[np.uint8]:
    if style == "plain":
        return rgb
    if style == "soft":
        glow = cv2.GaussianBlur(rgb, (0, 0), 2.2).astype(np.float32)
        out = 0.62 * rgb.astype(np.float32) + 0.38 * glow
        grey = out.mean(2, keepdims=True)
        return np.asarray(np.clip(grey + 0.72 * (out - grey) + 14, 0, 255), np.uint8)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    edge = cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), 0.8), cv2.CV_32F, ksize=3)
    flat = (np.round(rgb.astype(np.float32) / 36) * 36) * 0.6 + rgb.astype(np.float32) * 0.4
    mean = flat.mean(2, keepdims=True)
    vivid = mean + 1.25 * (flat - mean)
    return np.asarray(np.clip(vivid - np.maximum(0, edge)[..., None] * 1.1, 0, 255), np.uint8)


def render(person: Identity, scene: Nuisance, *, style: str = "plain") -> Rendered:
    """Draw one picture: the same arguments give the same bytes."""
    head = make_head(person.values(), scene)
    image = draw_background(scene.background, scene.background_seed)
    draw_hair_behind(image, head)
    draw_body(image, head)
    draw_head(image, head)
    small = cv2.resize(image, (CANVAS_PX, CANVAS_PX), interpolation=cv2.INTER_AREA)
    lit = _light(small, scene)
    if scene.blur_px > 0:
        lit = cv2.GaussianBlur(lit, (0, 0), scene.blur_px)
    rgb = _stylise(np.clip(lit, 0, 255).astype(np.uint8), style)
    unit, wide = scene.scale, head.v["face_width"]
    x, y = scene.centre
    box = (
        x - wide * unit,
        y - head.v["forehead_height"] * unit,
        x + wide * unit,
        y + head.v["chin_length"] * unit,
    )
    points = (five_points(head) + np.float32(0.5)) / np.float32(
        SUPER
    )  # the large canvas counts from pixel centres
    return Rendered(rgb, points, box, person, scene)


assert SIZE == CANVAS_PX * SUPER
