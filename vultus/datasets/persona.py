"""Who the pictures show: the persona a user declares in persona.toml.

A persona says whether it is synthetic or a real person who consented, and that it is an adult. Without
both nothing is curated, trained or rendered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from vultus.core import specs
from vultus.core.errors import SpecError
from vultus.core.specs import setting

PERSONA_FILE = "persona.toml"


@dataclass(frozen=True)
class Persona:
    """persona.toml: the name, the words in prompts, and where the pictures come from."""

    name: str = setting(help="name of the persona, shown in reports")
    trigger: str = setting(help="rare word that comes to mean this persona in prompts")
    class_words: str = setting(help="what the persona is without its name, e.g. woman")
    provenance: str = setting(
        help="where the face comes from", choices=("synthetic", "consented real person")
    )
    adult: bool = setting(help="the persona is an adult; must be true")

    @property
    def with_trigger(self) -> str:
        """The words that stand for the persona in a prompt."""
        return f"{self.trigger} {self.class_words}"


def load_persona(path: Path) -> Persona:
    """Read persona.toml and refuse a persona that may not be trained."""
    persona = specs.load(Persona, path)
    faults: list[str] = []
    if not persona.adult:
        faults.append(f"{path.name}: adult = false: only adult personas can be trained")
    faults.extend(
        f"{path.name}: {key} is empty"
        for key in ("name", "trigger", "class_words")
        if not str(getattr(persona, key)).strip()
    )
    if persona.trigger.strip() and not re.fullmatch(r"[^\s,{}]+", persona.trigger.strip()):
        faults.append(f"{path.name}: trigger {persona.trigger!r} must be one word without commas")
    if faults:
        raise SpecError(faults)
    return persona


__all__ = ["PERSONA_FILE", "Persona", "load_persona"]
