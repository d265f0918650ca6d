"""Backgrounds and bodies of the stand-in world: textured, so that there is something to memorise (rule 3).

Notation
    image   uint8 (256, 256, 3), RGB, drawn in place
    unit    px of that image per head unit
"""

from __future__ import annotations

import cv2
import numpy as np

from vultus.standin.canvas import (
    SIZE,
    Image,
    Points,
    blob,
    ellipse_points,
    fill,
    mix,
    shade,
    smooth_closed,
)
from vultus.standin.head import Head
from vultus.standin.nuisance import CLOTH_COLOURS

__all__ = ["draw_background", "draw_body"]

_LOW = 64  # backgrounds are drawn small and enlarged: out of focus, and four times cheaper


def _ramp(top: tuple[float, ...], low: tuple[float, ...]) -> Image:
    t = np.linspace(0, 1, _LOW, dtype=np.float32)[:, None, None]
    row = np.array(top, np.float32) * (1 - t) + np.array(low, np.float32) * t
    return np.ascontiguousarray(np.broadcast_to(row, (_LOW, _LOW, 3))).astype(np.uint8)


def _studio(rng: np.random.Generator) -> Image:
    base = rng.uniform(70, 215, 3)
    image = _ramp(tuple(base * 1.1), tuple(base * 0.72))
    blob(image, _LOW * rng.uniform(0.2, 0.8), _LOW * 0.3, 26, 26, (255, 255, 250), 0.30)
    return image


def _garden(rng: np.random.Generator) -> Image:
    image = _ramp((176, 212, 236), (92, 142, 70))
    for _ in range(16):
        x, y = rng.uniform(0, _LOW), rng.uniform(_LOW * 0.25, _LOW)
        r = rng.uniform(4, 10)
        tone = rng.uniform(0.6, 1.25)
        fill(image, ellipse_points(x, y, r, r * 0.9), (70 * tone, 132 * tone, 62 * tone))
    for _ in range(9):
        x, y = rng.uniform(0, _LOW), rng.uniform(_LOW * 0.4, _LOW)
        tint = [(236, 110, 130), (250, 214, 90), (240, 240, 250), (190, 110, 210)][
            int(rng.integers(4))
        ]
        fill(image, ellipse_points(x, y, 1.6, 1.6), tint)
    return image


def _city(rng: np.random.Generator) -> Image:
    image = _ramp((196, 208, 224), (226, 216, 204))
    x = -4.0
    while x < _LOW:
        w, top = rng.uniform(8, 15), rng.uniform(4, 34)
        tone = rng.uniform(96, 176)
        colour = (tone, tone * rng.uniform(0.9, 1.0), tone * rng.uniform(0.88, 1.08))
        fill(
            image, np.array([(x, top), (x + w, top), (x + w, _LOW), (x, _LOW)], np.float32), colour
        )
        for wy in np.arange(top + 3, _LOW, 5.0):
            for wx in np.arange(x + 2, x + w - 2, 4.0):
                lit = (
                    (246, 226, 150)
                    if rng.random() < 0.4
                    else (tone * 0.6, tone * 0.66, tone * 0.76)
                )
                fill(
                    image,
                    np.array(
                        [(wx, wy), (wx + 1.6, wy), (wx + 1.6, wy + 2.4), (wx, wy + 2.4)], np.float32
                    ),
                    lit,
                )
        x += w
    return image


def _room(rng: np.random.Generator) -> Image:
    wall = rng.uniform(150, 225, 3)
    image = _ramp(tuple(wall), tuple(wall * 0.9))
    for x in np.arange(rng.uniform(0, 6), _LOW, 7.0):
        fill(
            image,
            np.array([(x, 0), (x + 3, 0), (x + 3, _LOW), (x, _LOW)], np.float32),
            tuple(wall * 0.93),
        )
    for _ in range(2):
        x, y, w, h = (
            rng.uniform(0, 48),
            rng.uniform(2, 24),
            rng.uniform(10, 18),
            rng.uniform(10, 16),
        )
        fill(
            image,
            np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], np.float32),
            (96, 70, 48),
        )
        inner = tuple(rng.uniform(60, 230, 3))
        fill(
            image,
            np.array(
                [(x + 2, y + 2), (x + w - 2, y + 2), (x + w - 2, y + h - 2), (x + 2, y + h - 2)],
                np.float32,
            ),
            inner,
        )
    fill(image, np.array([(0, 50), (_LOW, 50), (_LOW, _LOW), (0, _LOW)], np.float32), (134, 98, 66))
    return image


def _beach(rng: np.random.Generator) -> Image:
    image = _ramp((128, 190, 236), (206, 230, 242))
    sea, sand = rng.uniform(26, 34), rng.uniform(42, 48)
    fill(
        image,
        np.array([(0, sea), (_LOW, sea), (_LOW, _LOW), (0, _LOW)], np.float32),
        (52, 138, 176),
    )
    for y in np.arange(sea + 2, sand, 3.0):
        fill(
            image,
            np.array([(0, y), (_LOW, y + 0.6), (_LOW, y + 1.4), (0, y + 0.8)], np.float32),
            (126, 194, 214),
        )
    fill(
        image,
        np.array(
            [(0, sand), (_LOW, sand + rng.uniform(-3, 3)), (_LOW, _LOW), (0, _LOW)], np.float32
        ),
        (230, 206, 158),
    )
    blob(image, rng.uniform(8, 56), rng.uniform(4, 16), 7, 7, (255, 246, 210), 0.9)
    return image


def _library(rng: np.random.Generator) -> Image:
    image = _ramp((92, 64, 44), (70, 48, 34))
    for shelf in range(4):
        y0 = shelf * 16 + 2
        x = 0.0
        while x < _LOW:
            w, h = rng.uniform(2.2, 4.6), rng.uniform(9, 13)
            colour = tuple(rng.uniform(50, 205, 3) * np.array([1.0, 0.82, 0.74]))
            fill(
                image,
                np.array(
                    [
                        (x, y0 + 13 - h),
                        (x + w - 0.4, y0 + 13 - h),
                        (x + w - 0.4, y0 + 13),
                        (x, y0 + 13),
                    ],
                    np.float32,
                ),
                colour,
            )
            x += w
    return image


def _night(rng: np.random.Generator) -> Image:
    image = _ramp((26, 28, 58), (54, 40, 66))
    for _ in range(14):
        tint = [(250, 200, 110), (240, 120, 120), (130, 180, 250), (240, 240, 220)][
            int(rng.integers(4))
        ]
        r = rng.uniform(2, 5)
        blob(
            image,
            rng.uniform(0, _LOW),
            rng.uniform(0, _LOW),
            r,
            r,
            tint,
            float(rng.uniform(0.45, 0.85)),
        )
    return image


_PAINTERS = {
    "studio": _studio,
    "garden": _garden,
    "city": _city,
    "room": _room,
    "beach": _beach,
    "library": _library,
    "night": _night,
}


def draw_background(name: str, seed: int) -> Image:
    """Paint the named place; `seed` decides where its things stand."""
    rng = np.random.default_rng(seed)
    small = _PAINTERS[name](rng)
    grain = rng.normal(0, 4.0, (_LOW, _LOW, 1)).astype(np.float32)
    rough = np.clip(small + grain, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(rough, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), np.uint8)


def _patterned(
    image: Image, ring: Points, colour: tuple[float, float, float], pattern: str, unit: float
) -> None:
    fill(image, ring, colour)
    if pattern == "plain":
        return
    x0, y0 = np.maximum(np.floor(ring.min(0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(ring.max(0)).astype(int), SIZE)
    if x1 <= x0 or y1 <= y0:
        return
    yy, xx = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    step = max(7.0, 0.26 * unit)
    wave_x, wave_y = np.sin(xx * (2 * np.pi / step)), np.sin(yy * (2 * np.pi / step))
    marks = {
        "striped": wave_y > 0.15,
        "dotted": (wave_x > 0.25) & (wave_y > 0.25),
        "checked": (wave_x > 0) ^ (wave_y > 0),
    }[pattern]
    inside = np.zeros((SIZE, SIZE), np.uint8)
    fill(inside, ring, (255, 255, 255))
    bright = sum(colour) / 3 > 150
    second = np.array(
        shade(colour, 0.62) if bright else mix(colour, (255, 255, 255), 0.55), np.float32
    ).astype(np.uint8)
    image[y0:y1, x0:x1][marks & (inside[y0:y1, x0:x1] > 127)] = second


def draw_body(image: Image, head: Head) -> None:
    """Neck, shoulders, shirt, and in full body arms, trousers and shoes."""
    s, u, skin = head.scene, head.unit, head.palette.skin
    cx, cy = head.centre
    chin = cy + u * head.v["chin_length"]
    colour = CLOTH_COLOURS[s.cloth_colour]
    neck = np.array([(-0.30, -0.35), (0.30, -0.35), (0.36, 0.42), (-0.36, 0.42)], np.float32)
    at = np.array([cx, chin], np.float32)
    full = s.framing == "full body"
    hip = 1.55 if full else 3.6
    if full:
        _draw_legs(image, head, at)
        for side in (-1.0, 1.0):
            arm = np.array(
                [
                    (side * 0.78, 0.34),
                    (side * 1.08, 0.75),
                    (side * 1.10, 1.45),
                    (side * 0.94, 1.47),
                    (side * 0.78, 0.8),
                ],
                np.float32,
            )
            fill(image, smooth_closed(arm * u + at), shade(colour, 0.86))
            fill(
                image,
                ellipse_points(cx + side * 1.03 * u, chin + 1.55 * u, 0.13 * u, 0.15 * u),
                skin,
            )
    wide = 0.98 if full else 1.32
    torso = [
        (-0.30, 0.16),
        (-0.62 * wide, 0.28),
        (-wide, 0.52),
        (-wide * (0.80 if full else 1.04), hip),
        (wide * (0.80 if full else 1.04), hip),
        (wide, 0.52),
        (0.62 * wide, 0.28),
        (0.30, 0.16),
        (0.0, 0.42),
    ]
    ring = (np.array(torso, np.float32) * u + at).astype(np.float32)
    _patterned(image, ring, colour, s.pattern, u)
    blob(image, cx - 0.8 * u, chin + 1.3 * u, 0.5 * u, 1.2 * u, shade(colour, 0.5), 0.35)
    fill(image, neck * u + at, shade(skin, 0.90))
    fill(
        image,
        smooth_closed(
            np.array([(-0.36, 0.18), (0.0, 0.60), (0.36, 0.18), (0.0, 0.0)], np.float32) * u + at
        ),
        shade(skin, 0.95),
    )
    blob(image, cx, chin - 0.02 * u, 0.40 * u, 0.26 * u, shade(skin, 0.55), 0.7)


def _draw_legs(image: Image, head: Head, at: Points) -> None:
    u = head.unit
    cloth = shade(mix((70, 78, 110), CLOTH_COLOURS[head.scene.cloth_colour], 0.25), 0.8)
    for side in (-1.0, 1.0):
        leg = np.array(
            [(0.0, 1.4), (side * 0.80, 1.4), (side * 0.66, 2.65), (side * 0.16, 2.65)], np.float32
        )
        fill(image, leg * u + at, cloth)
        shoe = ellipse_points(at[0] + side * 0.44 * u, at[1] + 2.72 * u, 0.34 * u, 0.14 * u)
        fill(image, shoe, (58, 44, 40))
