"""vultus.toml: every fault at once, and none that single settings cannot see gets through."""

from __future__ import annotations

from pathlib import Path

import pytest

from vultus.core import specs
from vultus.core.errors import SpecError
from vultus.studies.plan import RunSpec, load_plan
from vultus.studies.start import demo_folder
from vultus.testing.planted import PLAN_TOML

GOOD = PLAN_TOML.replace("STEPS", "8")


def _faults(folder: Path, text: str) -> list[str]:
    path = folder / "vultus.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_plan(path)
    return [fault.line() for fault in caught.value.faults]


def test_a_whole_plan_is_read(tmp_path: Path) -> None:
    path = tmp_path / "vultus.toml"
    path.write_text(GOOD, encoding="utf-8")
    plan = load_plan(path)
    assert plan.bases == ("plain", "soft") and plan.trains_on == "plain"
    assert len(plan.panel.prompts.rows()) == 6
    assert plan.train.checkpoint_steps == (2, 4, 6, 8)


def test_the_bundled_demo_is_a_good_plan() -> None:
    plan = load_plan(demo_folder() / "vultus.toml")
    assert len(plan.bases) == 3 and len(plan.panel.prompts.rows()) == 12


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('bases = ["plain", "soft"]', "bases = []", "bases is empty"),
        ('bases = ["plain", "soft"]', 'bases = ["plain", "plain"]', "names one base twice"),
        ('bases = ["plain", "soft"]', 'bases = ["plain", "./plain"]', "names one base twice"),
        ("bases =", 'loras = ["a.safetensors", "b/../a.safetensors"]\nbases =', "one file twice"),
        ("strengths = [0.0, 0.4, 0.8, 1.2]", "strengths = [0.1, 0.10000001]", "one value twice"),
        ("strengths = [0.0, 0.4, 0.8, 1.2]", "strengths = [0.5, inf]", "finite"),
        ("strengths = [0.0, 0.4, 0.8, 1.2]", "strengths = [0.5, nan]", "finite"),
        ("seeds = [1, 2]", "seeds = [1, 10000000000000000000000]", "seeds"),
        ("[machine]", '[gate]\nguards = ["adherance"]\n[machine]', 'did you mean "adherence"'),
        ("strengths = [0.0, 0.4, 0.8, 1.2]", "strengths = [0.0]", "above 0"),
        ("strengths = [0.0, 0.4, 0.8, 1.2]", "strengths = [-0.5, 1.0]", "negative"),
        ("seeds = [1, 2]", "seeds = []", "seeds is empty"),
        ("seeds = [1, 2]", "seeds = [1, 1, 2]", "one seed twice"),
        ("seeds = [1, 2]", "seeds = [1]", "the scale needs 8"),
        ("{persona}, asleep", "somebody, asleep", "has no {persona}"),
        ("{persona}, asleep", "{persona}, surprised", "one prompt twice"),
        ('trainer = "fake"', 'trainer = "fak"', "fake"),
        ('allocator = "grid"', 'allocator = "gird"', "grid"),
    ],
)
def test_faults_across_settings_are_told(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in GOOD
    faults = _faults(tmp_path, GOOD.replace(old, new))
    assert any(told in fault for fault in faults), faults
    assert all("vultus.toml" in fault for fault in faults)


def test_a_confirmation_on_blocks_that_chose_is_refused(tmp_path: Path) -> None:
    text = GOOD.replace("seeds = [11, 12]", "seeds = [1, 12]").replace(
        "close-up photo of {persona}, surprised", "close-up photo of {persona}, smiling"
    )
    faults = _faults(tmp_path, text)
    assert len(faults) == 1 and "repeats a block" in faults[0]


def test_many_faults_are_told_together(tmp_path: Path) -> None:
    text = GOOD.replace('face_pack = "pack"', 'face_pac = "pack"').replace(
        "steps = 8", 'steps = "eight"'
    )
    faults = _faults(tmp_path, text + "\n[gate]\nm10 = 11\n")
    assert len(faults) == 3
    assert any('did you mean "face_pack"' in fault for fault in faults)


def test_every_setting_is_documented() -> None:
    settings = specs.describe(RunSpec)
    assert len(settings) > 40
    assert all(setting.help for setting in settings)
