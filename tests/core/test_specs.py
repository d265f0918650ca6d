"""Settings files: read strictly, all faults at once, written so that they read back the same."""

from __future__ import annotations

import enum
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vultus.core.errors import SpecError
from vultus.core.specs import describe, dumps, load, parse, setting


class Mood(enum.Enum):
    CALM = "calm"
    WILD = "wild"


def known_optimizers() -> tuple[str, ...]:
    return ("adamw", "prodigy")


@dataclass(frozen=True)
class Train:
    rank: int = setting(8, help="width of the LoRA", low=1, high=256)
    rate: float = setting(1e-3, help="learning rate", low=0.0, high=1.0)
    optimizer: str = setting("adamw", help="which optimizer", choices=known_optimizers)
    precision: Literal["fp32", "bf16"] = setting("fp32", help="number format")
    mood: Mood = setting(Mood.CALM, help="how bold")
    warm: bool = setting(False, help="start warm")


@dataclass(frozen=True)
class Arm:
    note: str = setting("", help="free text", high=40)
    at: tuple[float, float] = setting((0.0, 1.0), help="a pair", low=0.0, high=2.0)

    def __post_init__(self) -> None:
        if self.at[0] > self.at[1]:
            raise ValueError("at must go upward")


@dataclass(frozen=True)
class Whole:
    name: str = setting(help="the persona's name", low=1)
    base: Path = setting(Path("base"), help="a weight file")
    seeds: tuple[int, ...] = setting((1, 2), help="starting noises", low=0)
    extra: Path | None = setting(None, help="an optional file")
    limit: float | None = setting(None, help="an optional limit", low=0)
    train: Train = setting(Train(), help="the training")
    arms: Mapping[str, Arm] = setting({}, help="differences by name")
    cells: tuple[Arm, ...] = setting((), help="a list of tables")
    made: int = field(default=3, init=False)


def faults(table: Mapping[str, Any]) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse(Whole, table, "vultus.toml")
    return [fault.line() for fault in caught.value.faults]


def test_an_empty_table_gives_the_defaults() -> None:
    made = parse(Whole, {"name": "ada"}, "vultus.toml")
    assert made == Whole(name="ada")
    assert made.train.rank == 8


def test_values_get_the_type_of_their_setting() -> None:
    made = parse(
        Whole,
        {
            "name": "ada",
            "limit": 2,
            "seeds": [5],
            "train": {"mood": "wild", "rate": 1, "precision": "bf16"},
            "arms": {"wide": {"at": [0, 1]}},
            "cells": [{"note": "a"}, {}],
        },
        "vultus.toml",
    )
    assert isinstance(made.limit, float)
    assert isinstance(made.train.rate, float)
    assert made.train.mood is Mood.WILD
    assert made.seeds == (5,)
    assert made.arms == {"wide": Arm(at=(0.0, 1.0))}
    assert made.cells == (Arm(note="a"), Arm())


def test_all_faults_are_told_at_once_whatever_their_kind() -> None:
    found = faults(
        {
            "nam": "ada",
            "seeds": [1, -1, "x", True],
            "limit": float("nan"),
            "train": {
                "rank": 0,
                "rate": "fast",
                "optimizer": "adam",
                "precision": "fp8",
                "mood": "wield",
                "warm": 1,
            },
            "arms": {"wide": {"at": [2, 1]}, "long": {"note": "x" * 41, "at": [1]}, "odd": 3},
            "cells": [{}, {"nte": ""}],
            "base": 7,
        }
    )
    assert found == [
        'vultus.toml: unknown key "nam" (did you mean "name"?)',
        'vultus.toml: the key "name" is missing (expected the persona\'s name)',
        "vultus.toml: base = 7 (expected a path in quotes)",
        "vultus.toml: seeds[1] = -1 is outside at least 0",
        'vultus.toml: seeds[2] = "x" (expected a whole number)',
        "vultus.toml: seeds[3] = true (expected a whole number)",
        "vultus.toml: limit = nan (expected a finite number)",
        "vultus.toml: [train] rank = 0 is outside 1..256",
        'vultus.toml: [train] rate = "fast" (expected a number)',
        'vultus.toml: [train] optimizer = "adam" is not a choice (did you mean "adamw"?)'
        ' (expected "adamw", "prodigy")',
        'vultus.toml: [train] precision = "fp8" is not a choice (expected "fp32", "bf16")',
        'vultus.toml: [train] mood = "wield" is not a choice (did you mean "wild"?)'
        ' (expected "calm", "wild")',
        "vultus.toml: [train] warm = 1 (expected true or false)",
        "vultus.toml: [arms.wide] at must go upward",
        "vultus.toml: [arms.long] note has 41 letters (expected at most 40 letters)",
        "vultus.toml: [arms.long] at has 1 item (expected 2 items)",
        "vultus.toml: [arms.odd] is 3 (expected a table of settings)",
        'vultus.toml: [cells[1]] unknown key "nte" (did you mean "note"?)',
    ]


@pytest.mark.parametrize("odd", [8.0, "8", True, [8], None])
def test_only_a_whole_number_is_one(odd: object) -> None:
    assert len(faults({"name": "a", "train": {"rank": odd}})) == 1


def test_a_field_that_is_not_a_setting_is_unknown() -> None:
    assert faults({"name": "a", "made": 4}) == ['vultus.toml: unknown key "made"']


def test_a_spec_error_of_a_check_keeps_its_faults() -> None:
    @dataclass(frozen=True)
    class Pair:
        a: int = setting(1, help="one")

        def __post_init__(self) -> None:
            raise SpecError(["first", "second"])

    with pytest.raises(SpecError) as caught:
        parse(Pair, {}, "x.toml")
    assert [f.line() for f in caught.value.faults] == ["x.toml: first", "x.toml: second"]


def test_paths_start_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "w.toml").write_text('name = "a"\nbase = "b/c.safetensors"\nextra = "~/x"\n')
    made = load(Whole, tmp_path / "w.toml")
    assert made.base == tmp_path / "b" / "c.safetensors"
    assert made.extra == tmp_path / "home" / "x"


def test_windows_line_ends_and_marks_are_read(tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_bytes('\ufeffname = "a"\r\n[train]\r\nrank = 4\r\n'.encode())
    assert load(Whole, tmp_path / "w.toml").train.rank == 4


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "there is no such file"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"name = ", "not TOML"),
        (b"name = 'a'\nname = 'b'", "not TOML"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_clear_fault(
    tmp_path: Path, data: bytes | None, says: str
) -> None:
    path = tmp_path / "w.toml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SpecError) as caught:
        load(Whole, path)
    assert len(caught.value.faults) == 1
    assert says in caught.value.faults[0].line()
    assert caught.value.faults[0].where == "w.toml"


def test_a_folder_in_place_of_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        load(Whole, tmp_path)


# No deadline: the machine may be busy, and no test asserts on elapsed time.
calm = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# TOML has no word for control characters other than by escape, and Python none for lone
# surrogates in UTF-8; everything else must come back as it went.
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
arms = st.builds(
    Arm,
    note=words,
    at=st.tuples(st.floats(0, 1), st.floats(1, 2)),
)
wholes = st.builds(
    Whole,
    name=words.filter(bool),
    base=st.text(string.ascii_letters + "/ ._-äé", min_size=1).map(Path),
    seeds=st.lists(st.integers(0, 2**62), max_size=30).map(tuple),
    limit=st.none() | st.floats(0, 1e9),
    train=st.builds(
        Train,
        rank=st.integers(1, 256),
        rate=st.floats(0, 1),
        optimizer=st.sampled_from(["adamw", "prodigy"]),
        precision=st.sampled_from(["fp32", "bf16"]),
        mood=st.sampled_from(Mood),
        warm=st.booleans(),
    ),
    arms=st.dictionaries(words, arms, max_size=3),
    cells=st.lists(arms, max_size=3).map(tuple),
)


@calm
@given(wholes, st.booleans())
def test_what_is_written_reads_back_the_same(whole: Whole, comments: bool) -> None:
    import tomllib

    text = dumps(whole, comments=comments)
    assert parse(Whole, tomllib.loads(text), "w.toml") == whole


def test_comments_are_the_help_of_each_setting() -> None:
    text = dumps(Whole(name="ada", arms={"wide arm": Arm()}), comments=True)
    assert '# the persona\'s name\nname = "ada"\n' in text
    assert "\n# the training\n[train]\n# width of the LoRA\nrank = 8\n" in text
    assert '[arms."wide arm"]' in text


def test_a_setting_without_a_value_is_a_comment_with_its_help() -> None:
    whole = Whole(name="ada")
    assert "\n# an optional limit\n# limit =\n" in dumps(whole, comments=True)
    assert "limit" not in dumps(whole)
    assert "\nlimit = 0.5\n" in dumps(Whole(name="ada", limit=0.5), comments=True)


def test_every_setting_is_described() -> None:
    lines = {line.key: line for line in describe(Whole)}
    assert list(lines)[:5] == ["name", "base", "seeds", "extra", "limit"]
    assert lines["name"].required
    assert lines["name"].default == ""
    assert not lines["limit"].required
    assert lines["limit"].kind == "number, or left out"
    assert lines["seeds"].kind == "list of whole number"
    assert lines["seeds"].default == "[1, 2]"
    assert lines["train.optimizer"].choices == ("adamw", "prodigy")
    assert lines["train.precision"].choices == ("fp32", "bf16")
    assert lines["train.mood"].choices == ("calm", "wild")
    assert lines["train.mood"].default == '"calm"'
    assert (lines["train.rank"].low, lines["train.rank"].high) == (1, 256)
    assert lines["arms"].kind == "table of table"
    assert lines["arms.<name>.at"].kind == "2 of number"
    assert lines["cells[].note"].help == "free text"
    assert "made" not in lines
    assert all(line.help for line in lines.values())
    assert len(lines) == 17


def test_a_setting_without_help_is_refused() -> None:
    with pytest.raises(ValueError, match="without help"):
        setting(1, help="")


def test_a_type_that_toml_cannot_hold_is_our_mistake() -> None:
    @dataclass(frozen=True)
    class Odd:
        a: bytes = setting(b"", help="no")

    with pytest.raises(TypeError, match="cannot have the type"):
        parse(Odd, {"a": "x"}, "x.toml")
    with pytest.raises(TypeError, match="no word for a bytes"):
        dumps(Odd())


def test_defaults_of_tables_are_not_shared() -> None:
    assert Whole(name="a").arms is not Whole(name="b").arms
