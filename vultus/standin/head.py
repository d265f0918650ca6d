"""The head of a stand-in person in space: pose, colours, outline and the five points.

Notation
    p       point on the head        float32 (2,), head units: x to image-right, y down, origin at the centre
    z       depth of p               on an ellipsoid DEPTH * sqrt(1 - (x/1.05)^2 - (y/1.35)^2), head units
    pixel   centre + scale * R(roll) (x cos yaw + z sin yaw, y cos pitch + z sin pitch), px of the large canvas
With |yaw| <= 0.45 rad features slide over the ellipsoid as they do on a head (rule 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vultus.standin.canvas import SUPER, Points, mix, shade
from vultus.standin.nuisance import DYES, Nuisance

__all__ = [
    "Colour",
    "Head",
    "Palette",
    "five_points",
    "make_head",
    "make_palette",
    "mouth_line",
    "outline",
]

DEPTH: Final = 0.72
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Palette:
    """The colours of one person in one picture."""

    skin: Colour
    hair: Colour
    iris: Colour
    lip: Colour
    line: Colour


@dataclass(frozen=True)
class Head:
    """One person's head posed for one picture; `at` maps head units to pixels."""

    v: dict[str, float]
    scene: Nuisance
    palette: Palette
    unit: float
    centre: tuple[float, float]

    def at(self, points: npt.ArrayLike, lift: float = 0.0, flat: bool = False) -> Points:
        """Project points (n, 2) of the face; `lift` adds depth, `flat` keeps the silhouette's depth 0."""
        p = np.asarray(points, np.float32)
        x, y = p[:, 0], p[:, 1]
        z = (
            np.zeros_like(x)
            if flat
            else DEPTH * np.sqrt(np.maximum(0.0, 1 - (x / 1.05) ** 2 - (y / 1.35) ** 2))
        )
        z = z + lift
        s = self.scene
        px = x * np.cos(s.yaw) + z * np.sin(s.yaw)
        py = y * np.cos(s.pitch) + z * np.sin(s.pitch)
        c, r = np.cos(s.roll), np.sin(s.roll)
        turned = np.stack([px * c - py * r, px * r + py * c], axis=1)
        return (turned * self.unit + np.array(self.centre, np.float32)).astype(np.float32)

    def spot(self, x: float, y: float, lift: float = 0.0) -> tuple[float, float]:
        """One projected point."""
        q = self.at([[x, y]], lift)[0]
        return float(q[0]), float(q[1])


def make_palette(v: dict[str, float], scene: Nuisance) -> Palette:
    """Colours from the identity's colour parameters; a dyed head hides its own hair colour."""
    light, deep = (
        mix((252, 222, 200), (255, 214, 178), v["skin_warmth"]),
        mix((118, 76, 60), (132, 84, 48), v["skin_warmth"]),
    )
    skin = mix(light, deep, max(v["skin_depth"], 0.0) ** 1.3)
    hair = mix(
        mix((224, 190, 120), (206, 112, 48), v["hair_warmth"]),
        mix((38, 32, 40), (66, 34, 22), v["hair_warmth"]),
        max(v["hair_depth"], 0.0) ** 0.7,
    )
    if scene.dye:
        hair = mix(hair, DYES[scene.dye], 0.85)
    h = v["eye_hue"]
    iris = (
        mix((66, 116, 176), (78, 138, 86), h * 2)
        if h < 0.5
        else mix((78, 138, 86), (92, 56, 30), h * 2 - 1)
    )
    lip = mix(mix(skin, (216, 96, 100), 0.55), mix(skin, (150, 40, 60), 0.7), v["lip_depth"])
    return Palette(skin, hair, iris, lip, mix(shade(skin, 0.45), (60, 30, 30), 0.35))


def make_head(v: dict[str, float], scene: Nuisance) -> Head:
    """Pose a person's head."""
    return Head(
        v,
        scene,
        make_palette(v, scene),
        scene.scale * SUPER,
        (scene.centre[0] * SUPER, scene.centre[1] * SUPER),
    )


def _eye_centres(v: dict[str, float]) -> tuple[tuple[float, float], tuple[float, float]]:
    return (-v["eye_spacing"], v["eye_height"]), (v["eye_spacing"], v["eye_height"])


def mouth_line(head: Head) -> Points:
    v, s = head.v, head.scene
    smile = {"smiling": 0.075, "stern": -0.05, "surprised": -0.005}.get(
        s.expression, 0.008
    ) * s.intensity
    grow = {"smiling": 1.22, "surprised": 0.72, "stern": 0.95}.get(s.expression, 1.0)
    wide = v["mouth_width"] * (1 + (grow - 1) * s.intensity)
    t = np.linspace(-1, 1, 9, dtype=np.float32)
    y = v["mouth_height"] - smile * (t**2 * 1.6 - 0.55) + t * v["mouth_asymmetry"]
    return np.stack([t * wide, y], 1).astype(np.float32)


def five_points(head: Head) -> Points:
    """Image-left eye, image-right eye, nose tip, image-left and image-right mouth corner: (5, 2), large px."""
    v = head.v
    (lx, ly), (rx, ry) = _eye_centres(v)
    nose_y = v["eye_height"] + v["nose_length"]
    pts = head.at([[lx, ly], [rx, ry]])
    nose = head.at([[v["nose_skew"], nose_y]], 0.14)
    mouth = head.at(mouth_line(head)[[0, -1]])
    return np.concatenate([pts, nose, mouth]).astype(np.float32)


def outline(v: dict[str, float]) -> Points:
    fw, jw, cw, tw = v["face_width"], v["jaw_width"], v["chin_width"], v["temple_width"]
    chin, top = v["chin_length"], -v["forehead_height"]
    right = [
        (0.36, top * 0.96),
        (tw, -0.58),
        (fw, -0.05),
        (fw * 0.5 + jw * 0.5 + 0.03, 0.36),
        (jw, 0.66 * chin),
        (cw, 0.955 * chin),
    ]
    left = [(-x, y) for x, y in reversed(right)]
    return np.array([(0.0, top), *right, (0.0, chin), *left], np.float32)
