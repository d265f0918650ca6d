"""What varies from picture to picture of one person, and the caption that tells only that.

Notation
    yaw, pitch, roll    rad; yaw > 0 turns the face to image-right, pitch > 0 downwards
    scale               px of a 128 px canvas per head unit (half the height of the face)
    centre              (x, y) of the head, px of a 128 px canvas
    white               per-channel gain (3,), RGB: the camera's white balance
Captions are made from these fields and from nothing else, so a word never describes who it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

__all__ = [
    "BACKGROUNDS",
    "CLOTH_COLOURS",
    "DYES",
    "EXPRESSIONS",
    "FRAMINGS",
    "LIGHTS",
    "MAX_YAW",
    "PATTERNS",
    "Nuisance",
    "caption",
    "gaze_word",
    "sample_nuisance",
    "without_accessories",
]

MAX_YAW: Final = 0.45
FRAMINGS: Final = ("close-up", "half body", "full body")
EXPRESSIONS: Final = ("neutral", "smiling", "surprised", "stern")
LIGHTS: Final = ("soft", "left", "right", "warm", "dim")
BACKGROUNDS: Final = ("studio", "garden", "city", "room", "beach", "library", "night")
PATTERNS: Final = ("plain", "striped", "dotted", "checked")
CLOTH_COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (196, 52, 54),
    "blue": (52, 92, 190),
    "green": (58, 142, 84),
    "yellow": (226, 186, 64),
    "purple": (130, 74, 160),
    "grey": (126, 130, 138),
    "orange": (226, 122, 52),
    "teal": (42, 142, 150),
    "white": (236, 234, 228),
    "black": (46, 46, 54),
}
DYES: Final[dict[str, tuple[int, int, int]]] = {
    "pink": (226, 110, 160),
    "blue": (70, 110, 200),
    "green": (80, 160, 110),
}
# Pixels of a 128 px canvas per head unit. Full body: 3.28 s^2 / 64 cells x 8 channels >= 200 numbers for s >= 22.1.
_SCALE_PX: Final = {"close-up": (37.0, 43.0), "half body": (27.5, 31.5), "full body": (22.1, 23.6)}
_CENTRE_Y_PX: Final = {
    "close-up": (58.0, 68.0),
    "half body": (46.0, 54.0),
    "full body": (35.0, 38.0),
}
_DRIFT_PX: Final = {"close-up": 8.0, "half body": 16.0, "full body": 26.0}


@dataclass(frozen=True)
class Nuisance:
    """Everything about one picture except who is in it."""

    framing: str
    yaw: float
    pitch: float
    roll: float
    scale: float
    centre: tuple[float, float]
    expression: str
    intensity: float
    light: str
    light_strength: float
    white: tuple[float, float, float]
    background: str
    background_seed: int
    cloth_colour: str
    pattern: str
    hat: str
    glasses: bool
    dye: str
    blur_px: float = 0.0


def _choice(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def sample_nuisance(
    rng: np.random.Generator,
    *,
    framing: str | None = None,
    accessories: bool = True,
) -> Nuisance:
    """Draw one picture's circumstances; `framing` fixes the distance, `accessories` allows hat, glasses, dye."""
    chosen = framing if framing is not None else _choice(rng, FRAMINGS)
    low, high = _SCALE_PX[chosen]
    drift = _DRIFT_PX[chosen]
    gain = np.exp(rng.normal(0.0, 0.035, 3))
    colours = tuple(CLOTH_COLOURS)
    hat = _choice(rng, colours) if accessories and rng.random() < 0.15 else ""
    glasses = bool(accessories and rng.random() < 0.15)
    dye = _choice(rng, tuple(DYES)) if accessories and rng.random() < 0.08 else ""
    return Nuisance(
        framing=chosen,
        yaw=float(np.clip(rng.normal(0.0, 0.24), -MAX_YAW, MAX_YAW)),
        pitch=float(np.clip(rng.normal(0.0, 0.10), -0.22, 0.22)),
        roll=float(rng.normal(0.0, 0.06)),
        scale=float(rng.uniform(low, high)),
        centre=(
            64.0 + float(rng.uniform(-drift, drift)) * 0.7,
            float(rng.uniform(*_CENTRE_Y_PX[chosen])),
        ),
        expression=_choice(rng, EXPRESSIONS),
        intensity=float(rng.uniform(0.6, 1.0)),
        light=_choice(rng, LIGHTS),
        light_strength=float(rng.uniform(0.5, 1.0)),
        white=(float(gain[0]), float(gain[1]), float(gain[2])),
        background=_choice(rng, BACKGROUNDS),
        background_seed=int(rng.integers(2**31)),
        cloth_colour=_choice(rng, colours),
        pattern=_choice(rng, PATTERNS),
        hat=hat,
        glasses=glasses,
        dye=dye,
    )


def without_accessories(scene: Nuisance) -> Nuisance:
    """The same circumstances with hat, glasses and dye taken off."""
    return replace(scene, hat="", glasses=False, dye="")


def gaze_word(yaw: float) -> str:
    """The word a caption uses for a head turned by `yaw` rad."""
    if abs(yaw) < 0.13:
        return "ahead"
    return "right" if yaw > 0 else "left"


def caption(scene: Nuisance, subject: str = "woman") -> str:
    """The caption of one picture: framing, expression, gaze, accessories, clothes, background, light."""
    parts = [
        f"{scene.framing} photo of {subject}",
        scene.expression,
        f"looking {gaze_word(scene.yaw)}",
    ]
    if scene.hat:
        parts.append(f"wearing a {scene.hat} hat")
    if scene.glasses:
        parts.append("wearing glasses")
    if scene.dye:
        parts.append(f"dyed {scene.dye} hair")
    parts.append(f"{scene.cloth_colour} {scene.pattern} shirt")
    parts.append(f"{scene.background} background")
    parts.append(f"{scene.light} light")
    return ", ".join(parts)
