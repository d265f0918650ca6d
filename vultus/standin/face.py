"""Skin, eyes, brows, nose and mouth of a stand-in person.

Notation
    image   uint8 (256, 256, 3), RGB, drawn in place
    side    -1 image-left, +1 image-right
    lengths in head units (see head.py); colours RGB 0..255
"""

from __future__ import annotations

import numpy as np

from vultus.standin.canvas import (
    Image,
    Points,
    blob,
    ellipse_points,
    fill,
    mix,
    shade,
    smooth_closed,
    smooth_open,
    stroke,
)
from vultus.standin.hair import draw_glasses, draw_hair_front, draw_hat
from vultus.standin.head import Head, mouth_line, outline

__all__ = ["draw_head"]


def _outline_px(head: Head) -> Points:
    """The skin's silhouette: the lower face lies nearer to the camera, so the chin swings with the yaw."""
    p = outline(head.v)
    lift = np.clip(0.10 + 0.30 * p[:, 1], 0.0, 0.42)
    return smooth_closed(
        np.concatenate(
            [head.at(q[None], float(d), flat=True) for q, d in zip(p, lift, strict=True)]
        )
    )


def _draw_ears(image: Image, head: Head) -> None:
    v, unit = head.v, head.unit
    for side in (-1.0, 1.0):
        q = head.at([[side * (v["face_width"] + 0.03), 0.06]], -0.05, flat=True)[0]
        r = v["ear_size"] * unit
        visible = 1.0 - 0.9 * max(0.0, side * np.sin(head.scene.yaw))
        fill(
            image,
            ellipse_points(q[0], q[1], r * 0.55 * visible, r, head.scene.roll),
            shade(head.palette.skin, 0.93),
        )
        fill(
            image,
            ellipse_points(q[0], q[1], r * 0.25 * visible, r * 0.6, head.scene.roll),
            shade(head.palette.skin, 0.78),
        )


def _draw_skin(image: Image, head: Head) -> None:
    v, unit, skin = head.v, head.unit, head.palette.skin
    ring = _outline_px(head)
    fill(image, ring, skin)
    mask = np.zeros(image.shape[:2], np.uint8)
    fill(mask, ring, (255, 255, 255))  # a single-channel canvas takes the first component
    before = image.copy()
    lit = {"left": -1.0, "right": 1.0}.get(head.scene.light, 0.35)
    depth = 0.30 * head.scene.light_strength if head.scene.light in ("left", "right") else 0.14
    x, y = head.spot(-lit * 0.95, 0.25, -0.4)
    blob(image, x, y, unit * 0.62, unit * 1.15, shade(skin, 0.55), depth * 1.9)
    x, y = head.spot(0.0, v["chin_length"] + 0.12)
    blob(image, x, y, unit * 0.75, unit * 0.22, shade(skin, 0.6), 0.45)
    x, y = head.spot(lit * 0.25, -0.45)
    blob(image, x, y, unit * 0.5, unit * 0.35, mix(skin, (255, 250, 240), 0.6), 0.35)
    for side in (-1.0, 1.0):
        x, y = head.spot(side * 0.43, 0.30)
        blob(image, x, y, unit * 0.20, unit * 0.15, mix(skin, (226, 90, 90), 0.5), 0.42)
        x, y = head.spot(side * v["eye_spacing"], v["eye_height"] - 0.02)
        blob(image, x, y, unit * 0.25, unit * 0.19, shade(skin, 0.78), 0.45)
    keep = mask[..., None] > 127
    np.copyto(image, before, where=~keep)
    stroke(image, ring, shade(skin, 0.70), 0.02 * unit + 0.5, closed=True)


def _around(image: Image, x: float, y: float, r: float) -> tuple[slice, slice]:
    h, w = image.shape[:2]
    return (
        slice(int(np.clip(y - r, 0, h)), int(np.clip(y + r + 1, 0, h))),
        slice(int(np.clip(x - r, 0, w)), int(np.clip(x + r + 1, 0, w))),
    )


def _draw_eye(image: Image, head: Head, side: float) -> None:
    v, s, unit = head.v, head.scene, head.unit
    cx, cy = side * v["eye_spacing"], v["eye_height"]
    wide = v["eye_size"] * (1 + side * v["eye_asymmetry"])
    squint = {"smiling": -0.28, "surprised": 0.38, "stern": -0.18}.get(
        s.expression, 0.0
    ) * s.intensity
    tall = wide * v["eye_aspect"] * (1 + squint)
    rise = v["eye_tilt"] * side
    t = np.linspace(-1, 1, 7, dtype=np.float32)
    tilt = -rise * t * wide * side * side
    top = np.stack([cx + t * wide, cy - tall * (1 - t**2) ** 0.7 + tilt * 1.0], 1)
    low = np.stack([cx + t[::-1] * wide, cy + 0.72 * tall * (1 - t[::-1] ** 2) + tilt[::-1]], 1)
    ring = head.at(np.concatenate([top, low]))
    fill(image, ring, (246, 244, 240))
    eye = np.zeros(image.shape[:2], np.uint8)
    fill(eye, ring, (255, 255, 255))
    x, y = head.spot(cx + 0.25 * wide * np.sin(s.yaw), cy - 0.08 * tall)
    r = max(tall * 0.98, wide * 0.42) * v["iris_size"] * 1.35 * unit
    box = _around(image, x, y, r + 3)
    before = image[box].copy()
    fill(image, ellipse_points(x, y, r, r), shade(head.palette.iris, 0.6))
    fill(image, ellipse_points(x, y, r * 0.80, r * 0.80), head.palette.iris)
    fill(image, ellipse_points(x, y, r * 0.45, r * 0.45), (24, 20, 24))
    fill(image, ellipse_points(x - r * 0.3, y - r * 0.35, r * 0.24, r * 0.24), (255, 255, 255))
    np.copyto(image[box], before, where=~(eye[box] > 127)[..., None])
    lid = head.at(top)
    stroke(
        image,
        smooth_open(lid),
        mix((40, 28, 30), head.palette.line, 0.3),
        (0.022 + 0.028 * v["lid_weight"]) * unit,
    )
    crease = head.at(top - np.array([0, 0.05 + 0.02 * v["lid_weight"]], np.float32))
    stroke(image, smooth_open(crease[1:-1]), shade(head.palette.skin, 0.68), 0.014 * unit)
    corner = lid[-1 if side > 0 else 0]
    tip = corner + np.array([side * 0.05, -0.035], np.float32) * unit
    stroke(image, np.stack([corner, tip]), (40, 28, 30), 0.03 * unit)


def _draw_brow(image: Image, head: Head, side: float) -> None:
    v, s = head.v, head.scene
    raise_ = {"surprised": 0.10, "stern": -0.05, "smiling": 0.015}.get(
        s.expression, 0.0
    ) * s.intensity
    inner = {"stern": 0.10, "surprised": -0.01}.get(s.expression, 0.0) * s.intensity
    cy = v["eye_height"] - v["brow_height"] - raise_ + side * v["brow_asymmetry"] * 0.8
    t = np.linspace(-1, 1, 7, dtype=np.float32)  # -1 inner end, 1 outer end
    x = side * (v["eye_spacing"] + 0.02 + t * v["brow_length"])
    y = (
        cy
        - v["brow_arch"] * (1 - (t - 0.2) ** 2) * 1.6
        + v["brow_tilt"] * t * 0.35
        + inner * (1 - t) * 0.5
    )
    thick = v["brow_thickness"] * (0.55 + 0.45 * (1 - t) / 2) * (1 - np.maximum(0, t) ** 3 * 0.6)
    ring = np.concatenate([np.stack([x, y - thick], 1), np.stack([x, y + thick * 0.6], 1)[::-1]])
    fill(image, head.at(ring), mix(shade(head.palette.hair, 0.62), (50, 34, 30), 0.35))


def _draw_nose(image: Image, head: Head) -> None:
    v, unit, skin = head.v, head.unit, head.palette.skin
    tip_y = v["eye_height"] + v["nose_length"]
    w, skew = v["nose_width"], v["nose_skew"]
    lit = {"left": -1.0, "right": 1.0}.get(head.scene.light, 0.5)
    x, y = head.spot(skew - lit * w * 0.6, tip_y - 0.14, 0.10)
    blob(
        image, x, y, unit * w * 0.75, unit * 0.26, shade(skin, 0.68), 0.30 + 0.25 * v["nose_bridge"]
    )
    x, y = head.spot(skew + lit * w * 0.12, tip_y - 0.10, 0.12)
    blob(image, x, y, unit * w * 0.55, unit * 0.20, mix(skin, (255, 250, 242), 0.7), 0.55)
    t = np.linspace(-1, 1, 7, dtype=np.float32)
    base = np.stack([skew + t * w, tip_y + 0.035 * np.cos(t * np.pi) + 0.03 * (1 - np.abs(t))], 1)
    stroke(image, smooth_open(head.at(base, 0.12)), shade(skin, 0.58), 0.030 * unit)
    for side in (-1.0, 1.0):
        x, y = head.spot(skew + side * w * 0.48, tip_y + 0.02, 0.11)
        fill(image, ellipse_points(x, y, 0.034 * unit, 0.020 * unit), shade(skin, 0.38))


def _draw_mouth(image: Image, head: Head) -> None:
    v, s, unit = head.v, head.scene, head.unit
    line = mouth_line(head)
    t = np.linspace(-1, 1, 9, dtype=np.float32)
    gap = (
        {"surprised": 0.13, "smiling": 0.05}.get(s.expression, 0.0)
        * s.intensity
        * np.sqrt(np.maximum(0, 1 - t**2))
    )
    bow = 1 - 0.35 * v["cupid_bow"] * np.exp(-((t / 0.18) ** 2))
    arch = np.sqrt(np.maximum(0, 1 - t**2))
    up = line.copy()
    up[:, 1] -= gap * 0.4
    low = line.copy()
    low[:, 1] += gap
    outer_up, outer_low = up.copy(), low.copy()
    outer_up[:, 1] -= v["upper_lip"] * arch * bow
    outer_low[:, 1] += v["lower_lip"] * arch
    if float(gap.max()) > 0.01:
        fill(image, head.at(np.concatenate([up, low[::-1]])), (92, 30, 36))
        teeth = low.copy()
        teeth[:, 1] = up[:, 1] + gap * 0.55
        fill(image, head.at(np.concatenate([up, teeth[::-1]])), (244, 240, 234))
    fill(image, head.at(np.concatenate([outer_up, up[::-1]])), shade(head.palette.lip, 0.88))
    fill(image, head.at(np.concatenate([low, outer_low[::-1]])), head.palette.lip)
    stroke(image, smooth_open(head.at(up)), shade(head.palette.lip, 0.5), 0.022 * unit)
    x, y = head.spot(0.0, float(outer_low[4, 1]) - v["lower_lip"] * 0.45)
    blob(image, x, y, unit * v["mouth_width"] * 0.4, unit * 0.03, (255, 240, 236), 0.35)


def _draw_mole(image: Image, head: Head) -> None:
    r = head.v["mole_size"]
    if r > 0.012:
        x, y = head.spot(head.v["mole_x"], head.v["mole_y"])
        fill(
            image,
            ellipse_points(x, y, r * head.unit, r * head.unit),
            mix(shade(head.palette.skin, 0.35), (70, 40, 30), 0.5),
        )


def draw_head(image: Image, head: Head) -> None:
    """Draw everything of the head that lies before the body."""
    _draw_ears(image, head)
    _draw_skin(image, head)
    _draw_nose(image, head)
    _draw_mouth(image, head)
    for side in (-1.0, 1.0):
        _draw_eye(image, head, side)
        _draw_brow(image, head, side)
    _draw_mole(image, head)
    draw_hair_front(image, head)
    if head.scene.glasses:
        draw_glasses(image, head)
    if head.scene.hat:
        draw_hat(image, head)
