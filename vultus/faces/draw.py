"""What a face engine saw, drawn onto a copy of the picture, for people.

**Notation**
    rgb      the picture           uint8 (H, W, 3); small ones are enlarged to SHOWN_PX first
    axes     the head's own axes   red to its left, green down, blue out of the face, from the nose
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from vultus.faces.records import Face, FaceResult, Pose, Rgb
from vultus.images.geometry import resize

__all__ = ["draw_result"]

SHOWN_PX: Final = 640
CHOSEN: Final = (30, 200, 90)
OTHER: Final = (150, 150, 150)
POINTS: Final = ((255, 80, 80), (255, 190, 60), (90, 220, 255), (200, 120, 255), (255, 120, 200))
STRIP_PX: Final = 26
INK: Final = (240, 240, 240)


def draw_result(rgb: Rgb, result: FaceResult) -> Rgb:
    """Boxes, five points, the chosen face's axes, and a strip of words below."""
    import cv2

    height, width = rgb.shape[:2]
    k = max(1.0, SHOWN_PX / max(height, width))
    shown = resize(rgb, round(width * k), round(height * k))
    thick = max(1, round(max(shown.shape[:2]) / 400))
    for i, face in enumerate(result.faces):
        colour = CHOSEN if i == result.chosen else OTHER
        x0, y0, x1, y1 = (round(v * k) for v in face.box_px)
        cv2.rectangle(shown, (x0, y0), (x1, y1), colour, thick)
        for (x, y), dot in zip(face.points_px * k, POINTS, strict=True):
            at = (round(float(x)), round(float(y)))
            cv2.circle(shown, at, 2 * thick, dot, -1, cv2.LINE_AA)
    if result.face is not None and result.pose is not None:
        _axes(shown, result.face, result.pose, k, thick)
    return _with_words(shown, _words(result))


def _axes(shown: Rgb, face: Face, pose: Pose, k: float, thick: int) -> None:
    import cv2

    yaw, pitch, roll = np.radians([pose.yaw_deg, pose.pitch_deg, pose.roll_deg])
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    # Columns: the head's x (to the image right), y (down), z (out of the face), seen in x and y.
    flat = np.array([[cy, sy * sp, -sy * cp], [0.0, cp, -sp]])
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    start = face.points_px[2] * k
    colours = ((255, 60, 60), (60, 220, 60), (70, 110, 255))
    for column, colour in zip((turn @ flat).T, colours, strict=True):
        end = start + column * face.size_px * k * 0.5
        a, b = (tuple(round(float(v)) for v in point) for point in (start, end))
        cv2.arrowedLine(shown, a, b, colour, 2 * thick, cv2.LINE_AA, tipLength=0.15)


def _words(result: FaceResult) -> str:
    face = result.face
    if face is None:
        return "none: nobody found"
    spread = 100 * result.landmark_spread_px / face.size_px
    words = [f"{result.state}: {face.size_px:.0f} px", f"score {face.score:.2f}"]
    words += [f"spread {spread:.1f} %", f"sharp {result.sharpness:.2f}"]
    if result.pose is not None:
        p = result.pose
        words.append(f"yaw {p.yaw_deg:+.0f} pitch {p.pitch_deg:+.0f} roll {p.roll_deg:+.0f}")
    if result.quality is not None:
        words.append(f"quality {result.quality:.2f}")
    return "  ".join(words)


def _with_words(shown: Rgb, words: str) -> Rgb:
    import cv2

    font: Any = cv2.FONT_HERSHEY_SIMPLEX
    k = max(1.0, shown.shape[1] / SHOWN_PX)
    (wide, _), _ = cv2.getTextSize(words, font, 0.5 * k, round(k))
    scale = 0.5 * k * min(1.0, (shown.shape[1] - 12 * k) / wide)
    high = round(STRIP_PX * k)
    strip = np.full((high, shown.shape[1], 3), 32, dtype=np.uint8)
    at = (round(6 * k), round(high - 9 * k))
    cv2.putText(strip, words, at, font, scale, INK, round(k), cv2.LINE_AA)
    return np.concatenate([shown, strip])
