"""Keys: equal questions have equal keys, other questions other ones, and speed is no question."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vultus.core.errors import PackError
from vultus.studies.given import Given, gather
from vultus.studies.requests import Checkpoint, curate_order, render_order, total_cost
from vultus.studies.workspace import Workspace
from vultus.testing.planted import make_workspace


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    return gather(Workspace(make_workspace(tmp_path_factory.mktemp("ada"), pictures=18)))


def _render_key(given: Given, **changes: object) -> str:
    asked = {
        "base": given.bases["plain"],
        "checkpoint": Checkpoint(8, "sha256:" + "1" * 64, Path("lora.safetensors")),
        "strength": 0.8,
        "blocks": given.panel,
        "words": "ohwx woman",
        **changes,
    }
    return render_order(given, **asked).step.key  # type: ignore[arg-type]


def test_place_and_device_do_not_enter_keys(given: Given) -> None:
    elsewhere = replace(
        given, plan=replace(given.plan, machine=replace(given.plan.machine, executor="local:7"))
    )
    moved = {name: replace(base, path=Path("/elsewhere")) for name, base in given.bases.items()}
    elsewhere = replace(elsewhere, bases=moved, pack_name="elsewhere", retry_failed=True)
    assert curate_order(elsewhere).step.key == curate_order(given).step.key
    assert _render_key(elsewhere, base=moved["plain"]) == _render_key(given)
    renamed = replace(given.bases["plain"], name="another name")
    assert _render_key(given, base=renamed) == _render_key(given)


def test_what_a_person_calls_another_experiment_has_another_key(given: Given) -> None:
    other = Checkpoint(8, "sha256:" + "2" * 64, Path("lora.safetensors"))
    keys = {
        _render_key(given),
        _render_key(given, base=given.bases["soft"]),
        _render_key(given, checkpoint=other),
        _render_key(given, strength=0.9),
        _render_key(given, blocks=given.panel[:3]),
        _render_key(given, words="woman"),
        _render_key(
            replace(given, plan=replace(given.plan, render=replace(given.plan.render, steps=9)))
        ),
    }
    assert len(keys) == 7


def test_the_base_alone_is_one_question_for_all_checkpoints(given: Given) -> None:
    assert _render_key(given, strength=0.0) == _render_key(given, checkpoint=None, strength=0.0)
    assert _render_key(given, checkpoint=None, strength=0.7) == _render_key(given, strength=0.0)


def test_impostors_start_from_the_same_noise(given: Given) -> None:
    mine = render_order(
        given, given.bases["plain"], None, 0.0, given.panel, "ohwx woman"
    ).step.inputs["blocks"]
    theirs = render_order(given, given.bases["plain"], None, 0.0, given.panel, "woman").step.inputs[
        "blocks"
    ]
    assert len(mine) == len(theirs) == 12
    for (with_trigger, noise), (without, other_noise) in zip(mine, theirs, strict=True):
        assert noise == other_noise
        assert with_trigger.replace("ohwx woman", "woman") == without


def test_every_picture_and_caption_enters_the_curation_key(given: Given) -> None:
    assert len(given.pictures) == 18
    fewer = replace(given, pictures=given.pictures[1:])
    name, content, _ = given.pictures[0]
    recaptioned = replace(
        given, pictures=((name, content, "sha256:" + "0" * 64), *given.pictures[1:])
    )
    renamed = replace(given, persona=replace(given.persona, trigger="zkz"))
    keys = {curate_order(one).step.key for one in (given, fewer, recaptioned, renamed)}
    assert len(keys) == 4


def test_who_teaches_does_not_measure(tmp_path: Path) -> None:
    """An identity loss by the pack of the run is refused before anything is started; by another one it is not."""
    folder = make_workspace(tmp_path / "ada", pictures=18)
    plan = folder / "vultus.toml"
    text = plan.read_text("utf-8").replace('face_pack = "pack"', 'face_pack = "standin"')
    taught = 'identity_weight = 0.1\nidentity_recogniser = "standin:NAME"\n[render]'
    assert text.count("[render]") == 1
    plan.write_text(text.replace("[render]", taught.replace("NAME", "a")), "utf-8")
    with pytest.raises(PackError, match="would teach the LoRA and measure it"):
        gather(Workspace(folder))
    plan.write_text(text.replace("[render]", taught.replace("NAME", "b")), "utf-8")
    assert gather(Workspace(folder)).plan.train.identity_recogniser == "standin:b"


def test_two_lanes_cost_less_time_than_one(given: Given) -> None:
    assert 0 < total_cost(given, 2) < total_cost(given, 1)
