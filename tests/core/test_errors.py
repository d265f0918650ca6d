"""The tree of errors: drawn as it is, complete, and readable."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from vultus.core import errors
from vultus.core.errors import Fault, SpecError, VultusError

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, VultusError)
]


def test_the_drawing_is_the_tree() -> None:
    drawn = re.findall(r"^ +(?:│ +)?[├└]─ (\w+)|^    (VultusError)$", errors.__doc__ or "", re.M)
    names = {first or second for first, second in drawn}
    assert names == {c.__name__ for c in CLASSES}
    assert len(names) >= 18


def test_nested_branches_are_drawn_under_their_parent() -> None:
    parent = ""
    checked = 0
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"^     [├└]─ (\w+)", line):
            parent = found[1]
            assert getattr(errors, parent).__mro__[1] is VultusError
        elif found := re.match(r"^     │?   [├└]─ (\w+)", line):
            assert getattr(errors, found[1]).__mro__[1].__name__ == parent
            checked += 1
    assert checked == 5


def test_everything_public_is_in_all() -> None:
    public = {c.__name__ for c in CLASSES} | {"Fault"}
    assert set(errors.__all__) == public


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_an_error_survives_a_process_border(cls: type[VultusError]) -> None:
    if cls is SpecError:
        made: VultusError = SpecError([Fault("a.toml", "x", "y"), "z"], next_command="edit it")
    else:
        made = cls("it broke", where="a.png", expected="a whole one", next_command="fix it")
    back = pickle.loads(pickle.dumps(made))
    assert type(back) is cls
    assert back.lines() == made.lines()


def test_lines_say_where_what_expected_and_next() -> None:
    fault = VultusError("it broke", where="a.png", expected="a whole one", next_command="fix it")
    assert fault.lines() == ("a.png: it broke", "  expected: a whole one", "  next: fix it")
    assert VultusError("it broke").lines() == ("it broke",)
    assert str(fault).splitlines() == list(fault.lines())


def test_a_spec_error_tells_all_its_faults_and_counts_them() -> None:
    two = SpecError([Fault("a.toml", "[x] bad", "good"), "worse"], next_command="vultus init")
    assert two.lines() == (
        "a.toml: [x] bad (expected good)",
        "worse",
        "  2 faults. Nothing was started. vultus init",
    )
    assert SpecError(["one"]).lines()[-1] == "  1 fault. Nothing was started."
    with pytest.raises(ValueError, match="without a fault"):
        SpecError([])
