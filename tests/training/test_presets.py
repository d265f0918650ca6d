"""Every preset parses, fits together, and explains each of its keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from vultus.core import specs
from vultus.core.errors import SpecError
from vultus.core.sdxl.architecture import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from vultus.studies.plan import load_plan
from vultus.studies.start import make_workspace
from vultus.training.checks import refuse_contradictions
from vultus.training.estimate import plan_memory
from vultus.training.presets import preset, preset_names, preset_text
from vultus.training.records import TrainPicture

SDXL = {"unet": UNET, "text_encoder": TEXT_ENCODER, "text_encoder_2": TEXT_ENCODER_2}


def test_presets_are_whole() -> None:
    names = preset_names()
    assert names == ("12g", "16g", "rtx4090-24g", "standin-cpu")
    for name in names:
        refuse_contradictions(preset(name), [TrainPicture(Path("a.png"), "a", (64, 64))])
        keys = [line for line in preset_text(name).splitlines() if "=" in line.split("#")[0]]
        assert len(keys) >= 8
        assert all(line.partition("#")[2].strip() for line in keys), f"{name}: a key unexplained"
    with pytest.raises(SpecError, match="rtx4090-24g"):
        preset("rtx9999")


def test_smaller_cards_are_asked_for_less() -> None:
    """Without activations, which the three share: weights, adapter, gradients, optimizer, caches."""
    totals = [
        plan_memory(preset(name), SDXL, activations=0, pictures=36, cuda=True).total
        for name in ("12g", "16g", "rtx4090-24g")
    ]
    assert totals == sorted(totals)
    assert totals[0] < 6.5e9


def test_a_workspace_begins_with_a_preset(tmp_path: Path) -> None:
    make_workspace(
        tmp_path / "ada",
        name="Ada",
        trigger="ohwx",
        class_words="woman",
        provenance="synthetic",
        adult=True,
        train=preset("rtx4090-24g"),
    )
    plan = load_plan(tmp_path / "ada" / "vultus.toml")
    assert plan.train == preset("rtx4090-24g")
    assert specs.dumps(plan.train)
