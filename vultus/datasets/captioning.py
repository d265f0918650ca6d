"""The caption of every picture: the user's own words kept, else what was measured and what a captioner adds.

    close-up photo of ohwx woman, three-quarter view facing left, light from the left, <captioner's words>

Only what was measured and what varies is said: direction other than ahead, light other than even, and what a captioner
saw. What the persona always is (hair, age, build) is left to the trigger. A caption that the user wrote
gets the trigger where it is missing and is otherwise kept word for word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vultus.datasets.captions import with_trigger
from vultus.datasets.coverage import Cell, Coverage
from vultus.datasets.persona import Persona
from vultus.datasets.readings import Reading

DIRECTION_WORDS = {
    "profile left": "profile view facing left",
    "three-quarter left": "three-quarter view facing left",
    "ahead": "",
    "three-quarter right": "three-quarter view facing right",
    "profile right": "profile view facing right",
}
PITCH_WORDS = {"up": "looking up", "level": "", "down": "looking down"}
LIGHT_WORDS = {
    "from the left": "light from the left",
    "from the right": "light from the right",
    "dim": "dim light",
    "bright": "bright light",
    "even": "",
}


@dataclass(frozen=True)
class Caption:
    """The words one picture is trained with. `by` is "user" or the captioner's mark."""

    name: str
    text: str
    by: str


def write_captions(
    readings: Sequence[Reading],
    own: Mapping[str, str],
    described: Mapping[str, str],
    coverage: Coverage,
    persona: Persona,
    mark: str,
) -> list[Caption]:
    """Caption every picture; `own` are the user's words by name, `described` a captioner's."""
    cells = {cell.name: cell for cell in coverage.cells}
    captions: list[Caption] = []
    for reading in readings:
        words = own.get(reading.name, "").strip()
        if words:
            captions.append(Caption(reading.name, with_trigger(words, persona), "user"))
            continue
        text = _compose(cells.get(reading.name), described.get(reading.name, ""), persona)
        captions.append(Caption(reading.name, text, mark))
    return captions


def _compose(cell: Cell | None, described: str, persona: Persona) -> str:
    terms = [part.strip() for part in described.split(",") if part.strip()]
    if cell is None:
        return ", ".join([f"photo of {persona.with_trigger}", *terms])
    return ", ".join(
        part
        for part in (
            f"{cell.framing} photo of {persona.with_trigger}",
            DIRECTION_WORDS[cell.yaw],
            PITCH_WORDS[cell.pitch],
            LIGHT_WORDS[cell.light],
            *terms,
        )
        if part
    )


__all__ = ["Caption", "write_captions"]
