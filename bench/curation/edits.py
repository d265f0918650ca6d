"""What re-runs, re-crops and re-posts do to a picture: 37 kinds of edit, each drawn from a named stream.

**Notation**
    rgb     pixels     uint8 (H, W, 3)
    "crop N" keeps N % of each side, centred; "random crop N" anywhere. The list covers the 31 edits of the
    reference measurements (curation, 3.2) and adds what chat programs and galleries do: captions, frames, stretching.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

__all__ = ["EDITS", "SURE", "edit"]

Rgb = npt.NDArray[np.uint8]
Maker = Callable[[Rgb, np.random.Generator], Rgb]


def edit(kind: str, rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Return the edited copy."""
    return np.ascontiguousarray(EDITS[kind](rgb, rng))


def _coded(rgb: Rgb, how: str, quality: int) -> Rgb:
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(out, how, quality=quality)
    with Image.open(out) as image:
        return np.array(image.convert("RGB"))


def _scaled(rgb: Rgb, kx: float, ky: float | None = None) -> Rgb:
    height, width = rgb.shape[:2]
    size = (max(8, round(width * kx)), max(8, round(height * (ky or kx))))
    return np.asarray(
        Image.fromarray(np.ascontiguousarray(rgb)).resize(size, Image.Resampling.LANCZOS)
    )


def _centre(rgb: Rgb, share: float) -> Rgb:
    height, width = rgb.shape[:2]
    h, w = round(height * share), round(width * share)
    top, left = (height - h) // 2, (width - w) // 2
    return rgb[top : top + h, left : left + w]


def _anywhere(rgb: Rgb, share: float, rng: np.random.Generator) -> Rgb:
    height, width = rgb.shape[:2]
    h, w = round(height * share), round(width * share)
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    return rgb[top : top + h, left : left + w]


def _levels(rgb: Rgb, change: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.floating]]) -> Rgb:
    return np.asarray(np.clip(np.rint(change(rgb.astype(np.float32))), 0, 255), np.uint8)


def _hue(rgb: Rgb, degrees: float) -> Rgb:
    hsv = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(np.int32) + round(degrees / 2)) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def _grey(rgb: Rgb) -> Rgb:
    return np.repeat(
        cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2
    )


def _noise(rgb: Rgb, sigma: float, rng: np.random.Generator) -> Rgb:
    draw = rng.normal(0.0, sigma, rgb.shape).astype(np.float32)
    return _levels(rgb, lambda x: x + draw)


def _turned(rgb: Rgb, degrees: float) -> Rgb:
    height, width = rgb.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(np.ascontiguousarray(rgb), matrix, (width, height)))


def _caption(rgb: Rgb, share: float) -> Rgb:
    """A bar with words over the lowest part, as memes and stories have it."""
    out = rgb.copy()
    height, width = rgb.shape[:2]
    bar = max(6, round(height * share))
    image = Image.fromarray(out)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, height - bar, width, height), fill=(0, 0, 0))
    pen.text(
        (width // 12, height - bar),
        "one of those days",
        fill=(255, 255, 255),
        font_size=max(5, bar // 2),
    )
    return np.asarray(image)


def _watermark(rgb: Rgb) -> Rgb:
    height, width = rgb.shape[:2]
    image = Image.fromarray(rgb).convert("RGBA")
    sheet = Image.new("RGBA", image.size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(sheet)
    for row in range(3):
        place = (width // 10, round(height * (0.2 + 0.3 * row)))
        pen.text(place, "PREVIEW ONLY", fill=(255, 255, 255, 120), font_size=max(6, width // 8))
    return np.asarray(Image.alpha_composite(image, sheet).convert("RGB"))


def _stickers(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    out = rgb.copy()
    side = min(rgb.shape[:2])
    for _ in range(3):
        x, y = int(rng.integers(rgb.shape[1])), int(rng.integers(rgb.shape[0]))
        colour = [int(v) for v in rng.integers(0, 256, 3)]
        cv2.circle(out, (x, y), max(3, side // 14), colour, -1)
    return out


def _padded(rgb: Rgb, top: float, side: float, level: int) -> Rgb:
    height, width = rgb.shape[:2]
    y, x = round(height * top), round(width * side)
    return np.pad(rgb, ((y, y), (x, x), (0, 0)), constant_values=level)


def _flip(rgb: Rgb) -> Rgb:
    return rgb[:, ::-1]


def _white(rgb: Rgb) -> Rgb:
    return _levels(rgb, lambda x: x * np.array([1.15, 1.0, 0.82], np.float32))


EDITS: Final[dict[str, Maker]] = {
    "jpeg 50": lambda x, r: _coded(x, "JPEG", 50),
    "jpeg 30": lambda x, r: _coded(x, "JPEG", 30),
    "jpeg 15": lambda x, r: _coded(x, "JPEG", 15),
    "webp 30": lambda x, r: _coded(x, "WEBP", 30),
    "resize 50": lambda x, r: _scaled(x, 0.5),
    "resize 33": lambda x, r: _scaled(x, 0.33),
    "resize 200": lambda x, r: _scaled(x, 2.0),
    "stretch 10": lambda x, r: _scaled(x, 1.1, 1.0),
    "brighter 20": lambda x, r: _levels(x, lambda y: y * 1.2),
    "darker 30": lambda x, r: _levels(x, lambda y: y * 0.7),
    "contrast 150": lambda x, r: _levels(x, lambda y: (y - 128) * 1.5 + 128),
    "gamma 0.6": lambda x, r: _levels(x, lambda y: 255 * (y / 255) ** 0.6),
    "white balance": lambda x, r: _white(x),
    "hue 30": lambda x, r: _hue(x, 30),
    "grey": lambda x, r: _grey(x),
    "noise 12": lambda x, r: _noise(x, 12, r),
    "blur 1": lambda x, r: np.asarray(cv2.GaussianBlur(x, (0, 0), 1.0)),
    "caption 10": lambda x, r: _caption(x, 0.10),
    "caption 20": lambda x, r: _caption(x, 0.20),
    "watermark": lambda x, r: _watermark(x),
    "stickers": lambda x, r: _stickers(x, r),
    "letterbox": lambda x, r: _padded(x, 0.17, 0.0, 0),
    "frame 10": lambda x, r: _padded(x, 0.10, 0.10, 255),
    "crop 95": lambda x, r: _centre(x, 0.95),
    "crop 90": lambda x, r: _centre(x, 0.90),
    "crop 80": lambda x, r: _centre(x, 0.80),
    "crop 60": lambda x, r: _centre(x, 0.60),
    "random crop 60": lambda x, r: _anywhere(x, 0.60, r),
    "random crop 50": lambda x, r: _anywhere(x, 0.50, r),
    "random crop 35": lambda x, r: _anywhere(x, 0.35, r),
    "flip": lambda x, r: _flip(x),
    "flip, crop 80, jpeg 60": lambda x, r: _coded(_centre(_flip(x), 0.80), "JPEG", 60),
    "flip, noise, jpeg 50": lambda x, r: _coded(_noise(_flip(x), 8, r), "JPEG", 50),
    "flip, crop 60, hue, jpeg 40, resize": lambda x, r: _scaled(
        _coded(_hue(_centre(_flip(x), 0.60), 20), "JPEG", 40), 0.7
    ),
    "turn 5": lambda x, r: _turned(x, 5),
    "turn 90": lambda x, r: np.rot90(x),
    "turn 180": lambda x, r: np.rot90(x, 2),
}

SURE: Final = ("flip", "crop 95", "crop 90", "crop 80", "crop 60", "random crop 60")
"""Flips, and crops that keep at least 60 % of each side: these must all be found."""
