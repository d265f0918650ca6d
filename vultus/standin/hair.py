"""Hair of a stand-in person, and what is worn on the head: glasses and hat.

Notation
    image   uint8 (256, 256, 3), RGB, drawn in place
    lengths in head units (see head.py); the parting's sign is a side: > 0 lies to image-right
"""

from __future__ import annotations

import numpy as np

from vultus.standin.canvas import (
    Image,
    Points,
    blob,
    fill,
    mix,
    shade,
    smooth_closed,
    smooth_open,
    stroke,
)
from vultus.standin.head import Colour, Head
from vultus.standin.nuisance import CLOTH_COLOURS

__all__ = ["draw_glasses", "draw_hair_behind", "draw_hair_front", "draw_hat"]


def draw_hair_behind(image: Image, head: Head) -> None:
    """The hair that falls behind face and shoulders."""
    v, unit = head.v, head.unit
    vol, length = v["hair_volume"], v["hair_length"]
    wide = v["face_width"] + 0.10 + vol
    dark = shade(head.palette.hair, 0.72)
    low = max(0.15, 0.55 + 0.62 * length)
    wave = 0.10 * v["hair_wave"]
    flare = 0.08 + 0.06 * v["hair_wave"]
    right = [(0.45, -1.02 - vol), (wide * 0.92, -0.62), (wide, -0.1)]
    n = max(1, round(low / 0.3))
    for i in range(1, n + 1):
        y = -0.1 + (low + 0.1) * i / n
        right.append((wide + flare * (y + 0.1) * 0.5 + wave * (1 if i % 2 else -1), y))
    right.append((wide * 0.55, low + 0.06))
    left = [(-x, y) for x, y in reversed(right)]
    ring = np.array([(0.0, -1.10 - vol), *right, *left], np.float32)
    fill(image, smooth_closed(head.at(ring, -0.25, flat=True)), dark)
    x, y = head.spot(0.0, -0.6, -0.6)
    blob(image, x, y, unit * 0.9, unit * 0.7, head.palette.hair, 0.5)


def draw_hair_front(image: Image, head: Head) -> None:
    v, hair = head.v, head.palette.hair
    vol, part, fringe = v["hair_volume"], v["parting"], v["fringe"]
    fw = v["face_width"]
    crown = np.array(
        [
            (-fw - 0.05, -0.18),
            (-fw - 0.05 - vol * 0.6, -0.55),
            (-0.58 - vol * 0.3, -0.98 - vol * 0.6),
            (0.0, -1.12 - vol),
            (0.58 + vol * 0.3, -0.98 - vol * 0.6),
            (fw + 0.05 + vol * 0.6, -0.55),
            (fw + 0.05, -0.18),
        ],
        np.float32,
    )
    side_low = min(0.55, 0.05 + 0.35 * v["hair_length"])
    x = np.linspace(fw + 0.02, -fw - 0.02, 15, dtype=np.float32)
    away = np.abs(x - part) / (fw + np.abs(part))
    edge = (
        -v["forehead_height"] * 0.86
        + fringe * away**0.55
        + 0.42 * np.maximum(0, np.abs(x) / fw - 0.62) ** 1.2 * 1.9
    )
    edge += 0.025 * v["hair_wave"] * np.sin(x * 14)
    hairline = np.stack([x, edge], 1)
    tips = (
        [(fw + 0.02, side_low), (fw - 0.10, side_low - 0.18)]
        if v["hair_length"] > 0.1
        else [(fw + 0.02, -0.12)]
    )
    tips_left = [(-a, b) for a, b in reversed(tips)]
    top = head.at(crown, 0.0, flat=True)
    inner = head.at(hairline, 0.03)
    ring = np.concatenate(
        [
            smooth_open(top),
            head.at(tips, -0.05, flat=True),
            inner[1:-1],
            head.at(tips_left, -0.05, flat=True),
        ]
    )
    fill(image, ring.astype(np.float32), hair)
    _draw_strands(image, head, hairline)


def _draw_strands(image: Image, head: Head, hairline: Points) -> None:
    """Light and dark strands sweep from the parting to both sides."""
    v, hair, unit = head.v, head.palette.hair, head.unit
    root = np.array([v["parting"] * 0.9, -1.08 - v["hair_volume"]], np.float32)
    for i in range(1, 14, 2):
        end = hairline[i]
        mid = 0.5 * (root + end) + np.array([0.25 * np.sign(end[0] - root[0]), -0.16], np.float32)
        line = smooth_open(head.at(np.stack([root, mid, end]), 0.05))
        tone = shade(hair, 1.22 if i % 4 == 1 else 0.74)
        stroke(image, line, tone, 0.028 * unit)
    start = head.at(
        [
            [v["parting"], -v["forehead_height"] * 0.86],
            [v["parting"] * 0.9, -1.05 - v["hair_volume"]],
        ],
        0.05,
    )
    stroke(image, start, mix(head.palette.skin, hair, 0.55), 0.035 * unit)
    x, y = head.spot(-0.3 if head.scene.light == "left" else 0.3, -0.95, 0.1)
    blob(image, x, y, unit * 0.30, unit * 0.10, mix(hair, (255, 246, 230), 0.55), 0.55)


def draw_glasses(image: Image, head: Head) -> None:
    v, unit = head.v, head.unit
    rx, ry = max(0.20, v["eye_spacing"] * 0.80), 0.185
    for side in (-1.0, 1.0):
        t = np.linspace(0, 2 * np.pi, 20, endpoint=False, dtype=np.float32)
        ring = np.stack(
            [side * v["eye_spacing"] + rx * np.cos(t), v["eye_height"] + 0.01 + ry * np.sin(t)], 1
        )
        stroke(image, head.at(ring, 0.10), (34, 32, 38), 0.045 * unit, closed=True)
        arm = np.array(
            [
                [side * (v["eye_spacing"] + rx), v["eye_height"]],
                [side * (v["face_width"]), v["eye_height"] - 0.02],
            ],
            np.float32,
        )
        stroke(image, head.at(arm, 0.04), (34, 32, 38), 0.045 * unit)
    gap = v["eye_spacing"] - rx
    stroke(
        image,
        head.at([[-gap, v["eye_height"]], [gap, v["eye_height"]]], 0.13),
        (34, 32, 38),
        0.045 * unit,
    )


def draw_hat(image: Image, head: Head) -> None:
    v = head.v
    colour: Colour = CLOTH_COLOURS[head.scene.hat]
    wide = v["face_width"] + 0.10 + v["hair_volume"] * 0.7
    brim_y, top_y = -0.62, -1.42 - v["hair_volume"]
    dome = np.array(
        [
            (-wide, brim_y),
            (-wide * 0.93, -1.05),
            (-wide * 0.55, top_y),
            (wide * 0.55, top_y),
            (wide * 0.93, -1.05),
            (wide, brim_y),
        ],
        np.float32,
    )
    fill(image, np.concatenate([smooth_open(head.at(dome, 0.0, flat=True))]), colour)
    band = np.array(
        [(-wide, brim_y - 0.22), (wide, brim_y - 0.22), (wide, brim_y), (-wide, brim_y)], np.float32
    )
    fill(image, head.at(band, 0.05, flat=True), shade(colour, 0.62))
    t = np.linspace(0, 2 * np.pi, 24, endpoint=False, dtype=np.float32)
    brim = np.stack([(wide + 0.30) * np.cos(t), brim_y + 0.13 * np.sin(t)], 1)
    fill(image, head.at(brim, 0.10, flat=True), shade(colour, 0.84))
    x, y = head.spot(-0.25, -1.05, 0.1)
    blob(image, x, y, head.unit * 0.35, head.unit * 0.25, mix(colour, (255, 255, 255), 0.5), 0.4)
