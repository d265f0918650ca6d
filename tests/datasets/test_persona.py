"""persona.toml declares who, from where, and that they are an adult."""

from __future__ import annotations

from pathlib import Path

import pytest

from vultus.core.errors import SpecError
from vultus.datasets.persona import load_persona
from vultus.testing.planted import PERSONA_TOML


def _load(folder: Path, text: str) -> list[str]:
    path = folder / "persona.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_persona(path)
    return [fault.line() for fault in caught.value.faults]


def test_a_whole_persona_is_read(tmp_path: Path) -> None:
    path = tmp_path / "persona.toml"
    path.write_text(PERSONA_TOML, encoding="utf-8")
    assert load_persona(path).with_trigger == "ohwx woman"


def test_a_minor_is_refused(tmp_path: Path) -> None:
    faults = _load(tmp_path, PERSONA_TOML.replace("adult = true", "adult = false"))
    assert len(faults) == 1 and "adult" in faults[0]


def test_nothing_about_origin_or_age_is_assumed(tmp_path: Path) -> None:
    text = "\n".join(
        line for line in PERSONA_TOML.splitlines() if not line.startswith(("prov", "adult"))
    )
    faults = _load(tmp_path, text)
    assert len(faults) == 2
    assert any("provenance" in fault for fault in faults) and any(
        "adult" in fault for fault in faults
    )


@pytest.mark.parametrize("trigger", ["two words", "a,b", "{x}", ""])
def test_a_trigger_is_one_word(tmp_path: Path, trigger: str) -> None:
    faults = _load(tmp_path, PERSONA_TOML.replace('"ohwx"', f'"{trigger}"'))
    assert any("trigger" in fault for fault in faults)
