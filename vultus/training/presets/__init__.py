"""Ready-made training settings, one commented TOML file per machine."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

from vultus.core.errors import SpecError
from vultus.core.specs import parse
from vultus.training.records import TrainSpec

__all__ = ["preset", "preset_names", "preset_text"]


@cache
def preset_names() -> tuple[str, ...]:
    """The presets that come with the program."""
    found = resources.files(__package__).iterdir()
    return tuple(sorted(Path(f.name).stem for f in found if f.name.endswith(".toml")))


def preset_text(name: str) -> str:
    """A preset as it was written, comments and all. Raises SpecError when there is none."""
    if name not in preset_names():
        raise SpecError(
            [f"there is no preset {name!r}: expected one of {', '.join(preset_names())}"]
        )
    return resources.files(__package__).joinpath(f"{name}.toml").read_text("utf-8")


def preset(name: str) -> TrainSpec:
    """The training settings of a preset."""
    import tomllib

    table = tomllib.loads(preset_text(name))
    return parse(TrainSpec, table["train"], f"preset {name}")
