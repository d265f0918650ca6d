"""A step stands for its meaning: equal if its key is, and out of everybody's reach."""

from __future__ import annotations

import enum
import json
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from typing import Any

import pytest

from vultus.core.keys import key_of
from vultus.steps.step import Step


class Kind(enum.Enum):
    SOFT = "soft"


@dataclass(frozen=True)
class Spec:
    rate: float
    kind: Kind = Kind.SOFT


def test_the_key_is_that_of_the_request() -> None:
    step = Step("train", 2, {"rank": 8}, replicate=1)
    assert step.key == key_of("train", 2, {"rank": 8}, 1)


def test_equal_meaning_is_one_step() -> None:
    steps = {
        Step("train", 1, {"rate": 0.3, "rank": 8}),
        Step("train", 1, {"rank": 8.0, "rate": 0.1 + 0.2}),
    }
    assert len(steps) == 1
    assert Step("train", 1, {}) != Step("train", 1, {}, replicate=1)
    assert Step("train", 1, {}) != "train"


def test_inputs_may_be_other_steps_specs_and_lists() -> None:
    train = Step("train", 1, {"spec": Spec(0.5)})
    render = Step("render", 1, {"lora": train, "cells": [(train, 0.7)], "kind": Kind.SOFT})
    assert train.inputs == {"spec": {"rate": 0.5, "kind": "soft"}}
    assert render.inputs == {"lora": train.key, "cells": ((train.key, 0.7),), "kind": "soft"}
    assert json.loads(json.dumps(render.inputs)) == {
        "lora": train.key,
        "cells": [[train.key, 0.7]],
        "kind": "soft",
    }


def test_nobody_changes_a_step_afterwards() -> None:
    given: dict[str, Any] = {"seeds": [1, 2], "spec": {"rank": 8}}
    step = Step("train", 1, given)
    key = step.key
    given["seeds"].append(3)
    given["spec"]["rank"] = 9
    assert step.inputs == {"seeds": (1, 2), "spec": {"rank": 8}}
    with pytest.raises(FrozenInstanceError):
        step.version = 2  # type: ignore[misc]
    changes: tuple[Callable[[Any], object], ...] = (
        lambda t: t.update(rank=9),
        lambda t: t.pop("seeds"),
        lambda t: t.clear(),
        lambda t: t.setdefault("x", 1),
        lambda t: t.popitem(),
        lambda t: t.__setitem__("rank", 9),
        lambda t: t.__delitem__("seeds"),
        lambda t: t.__ior__({"rank": 9}),
    )
    for change in changes:
        with pytest.raises(TypeError, match="do not change"):
            change(step.inputs)
    assert len(changes) == 8
    assert step.key == key == Step("train", 1, step.inputs).key


def test_a_step_survives_a_process_border() -> None:
    step = Step("train", 1, {"spec": Spec(0.5), "list": [1, {"a": None}]}, replicate=2)
    back = pickle.loads(pickle.dumps(step))
    assert back == step
    assert back.inputs == step.inputs
    assert back.replicate == 2


@pytest.mark.parametrize(
    ("kind", "version", "replicate"),
    [("Train", 1, 0), ("", 1, 0), ("train", 0, 0), ("train", 1, -1)],
)
def test_odd_requests_are_refused(kind: str, version: int, replicate: int) -> None:
    with pytest.raises(ValueError, match=r"cannot be named|count from"):
        Step(kind, version, {}, replicate)


@pytest.mark.parametrize("odd", [Path("a"), {1, 2}, object(), [float("nan")]])
def test_what_has_no_meaning_is_refused_where_the_step_is_made(odd: object) -> None:
    with pytest.raises((TypeError, ValueError), match=r"value\.inputs\.x"):
        Step("train", 1, {"x": odd})
