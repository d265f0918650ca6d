"""What to generate or photograph next: the largest holes of a set as prompts that can be pasted, with counts.

Each hole of yaw x framing gives lines of prompts. What the hole leaves open (pitch, light, expression) is filled
with what the set has least of, so that one new picture mends several holes; places and outfits rotate through a list.
Directions are those of the finished picture: "facing left" is the picture's left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vultus.datasets.coverage import Coverage, Hole
from vultus.datasets.persona import Persona
from vultus.datasets.pose import PITCH_BINS

YAW_WORDS = {
    "profile left": "profile view facing left",
    "three-quarter left": "three-quarter view facing left",
    "ahead": "facing the camera",
    "three-quarter right": "three-quarter view facing right",
    "profile right": "profile view facing right",
}
FRAMING_WORDS = {
    "close-up": "close-up portrait, head and shoulders",
    "half body": "half body shot from the waist up",
    "full body": "full body shot, head to feet in frame",
}
PITCH_WORDS = {
    "up": "chin raised, looking slightly up",
    "level": "",
    "down": "looking slightly down",
}
LIGHT_WORDS = {
    "from the left": "soft side light from the left",
    "from the right": "soft side light from the right",
    "dim": "dim evening light",
    "bright": "bright daylight",
    "even": "even studio light",
}
MOUTH_WORDS = {
    "narrow": "lips closed, calm expression",
    "usual": "neutral expression",
    "wide": "smiling broadly",
}
PLACES = (
    "in a kitchen",
    "in a park",
    "in front of a brick wall",
    "on a busy street",
    "in a library",
    "on a beach",
    "in a plain studio",
    "in an office",
    "at a café table",
    "in a forest",
)
OUTFITS = (
    "in a grey sweater",
    "in a white shirt",
    "in a dark jacket",
    "in a green t-shirt",
    "in a denim jacket",
    "in a red coat",
    "in a blue blouse",
)


@dataclass(frozen=True)
class Shot:
    """One line of the list: how many pictures, the prompt, and the hole it fills."""

    count: int
    prompt: str
    fills: str


def list_shots(
    coverage: Coverage, persona: Persona | None, *, most: int = 12, per_line: int = 4
) -> list[Shot]:
    """The shot list, largest holes first, at most `most` lines of at most `per_line` pictures each."""
    words = persona.class_words if persona is not None else "person"
    words = f"a {words}"
    filler = _Filler(coverage)
    shots: list[Shot] = []
    left = {hole: hole.missing for hole in coverage.holes}
    while len(shots) < most and any(left.values()):
        hole = max(left, key=lambda one: (left[one], -one.have, -coverage.holes.index(one)))
        count = min(per_line, left[hole])
        left[hole] -= count
        shots.append(Shot(count, filler.prompt(words, hole, count), _told(hole)))
    return shots


def _told(hole: Hole) -> str:
    return f"{hole.yaw}, {hole.framing}: {hole.have} of {hole.want}"


class _Filler:
    """Gives each open axis the value that the set, with what was already asked for, has least of."""

    def __init__(self, coverage: Coverage) -> None:
        pitches = dict.fromkeys(PITCH_BINS, 0)
        for (_, pitch, _), count in coverage.occupancy.items():
            pitches[pitch] += count
        # A level head is the usual one: half of the pictures may be level before another pitch is asked for.
        pitches["level"] //= 3
        lights = {name: coverage.lights.get(name, 0) for name in LIGHT_WORDS}
        mouths = {name: coverage.mouths.get(name, 0) for name in MOUTH_WORDS}
        self._axes: list[tuple[dict[str, int], dict[str, str]]] = [
            (pitches, PITCH_WORDS),
            (mouths, MOUTH_WORDS),
            (lights, LIGHT_WORDS),
        ]
        self._line = 0

    def prompt(self, words: str, hole: Hole, count: int) -> str:
        parts = [f"{FRAMING_WORDS[hole.framing]} of {words}"]
        parts.append(YAW_WORDS[hole.yaw])
        for counts, said in self._axes:
            least = min(counts, key=lambda name: counts[name])
            counts[least] += count
            parts.append(said[least])
        parts.append(OUTFITS[self._line % len(OUTFITS)])
        parts.append(PLACES[self._line % len(PLACES)])
        self._line += 1
        return ", ".join(part for part in parts if part)


def paste(shots: Sequence[Shot]) -> str:
    """The list as text: one prompt per line with its count, ready for a generator."""
    return "\n".join(f"{shot.count} x  {shot.prompt}" for shot in shots)


__all__ = ["Shot", "list_shots", "paste"]
