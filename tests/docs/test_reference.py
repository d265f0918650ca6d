"""The generated reference equals the code, and nothing a user can meet is missing from it."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib
import importlib.util
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from vultus.cli.main import NOUNS, build_parser
from vultus.core import errors
from vultus.steps.table import KINDS

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "vultus"
DOCS = ROOT / "docs"


def load_script(name: str) -> ModuleType:
    """Import a file of scripts/, which is not a package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load_script("reference")


def page(name: str) -> str:
    return (DOCS / "reference" / name).read_text(encoding="utf-8")


def test_the_reference_is_up_to_date() -> None:
    assert len(reference.PAGES) >= 4
    found = reference.differences()
    assert not found, "\n".join([*found.values(), "accept with: make fix"])


def test_a_page_that_was_edited_or_left_over_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    for name, text in reference.pages().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert not reference.differences()
    (tmp_path / "errors.md").write_text("edited by hand\n", encoding="utf-8")
    (tmp_path / "old.md").write_text("left over\n", encoding="utf-8")
    assert set(reference.differences()) == {"errors.md", "old.md"}


def test_every_command_is_in_the_reference_and_every_noun_in_the_guide() -> None:
    text, guide = page("commands.md"), (DOCS / "guide.md").read_text(encoding="utf-8")
    names = list(_names(build_parser(), "vultus"))
    assert len(names) > len(NOUNS)
    assert not [name for name in names if f"## `{name}`\n" not in text]
    assert not [noun for noun in NOUNS if f"`vultus {noun}`" not in guide]


def _names(parser: argparse.ArgumentParser, name: str) -> Iterator[str]:
    yield name
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from _names(below, f"{name} {word}")


def test_every_step_kind_is_in_the_reference() -> None:
    text = page("steps.md")
    assert len(KINDS) >= 4
    assert not [kind.name for kind in KINDS if f"| `{kind.name}` | {kind.version} |" not in text]


def error_classes() -> dict[str, Path]:
    """Return every exception class that the package defines: name -> file."""
    known = {"Exception", "BaseException", "VultusError", *errors.__all__}
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                if bases & known or any(base.endswith("Error") for base in bases):
                    found[node.name] = path
    return found


def test_every_error_is_in_the_one_tree_and_in_the_reference() -> None:
    text, drawn = page("errors.md"), errors.__doc__ or ""
    found = error_classes()
    assert len(found) >= 15
    public = {name: path for name, path in found.items() if not name.startswith("_")}
    elsewhere = {n: p for n, p in public.items() if p != PACKAGE / "core" / "errors.py"}
    assert not elsewhere, "errors that a user can meet live in core/errors.py"
    assert not [name for name in public if f"| `{name}` |" not in text]
    assert not [name for name in public if not re.search(rf"\b{name}\b", drawn)]


def spec_classes() -> set[type[Any]]:
    """Return every dataclass of the package that has a documented setting."""
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        if "setting(" not in path.read_text(encoding="utf-8"):
            continue
        name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for value in vars(importlib.import_module(name)).values():
            if not (isinstance(value, type) and dataclasses.is_dataclass(value)):
                continue
            if any("help" in field.metadata for field in dataclasses.fields(value)):
                found.add(value)
    return found


def reachable(spec: type[Any]) -> set[type[Any]]:
    """Return a spec and every spec inside it."""
    found = {spec}
    waiting: list[Any] = list(typing.get_type_hints(spec).values())
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            if kind not in found:
                found.add(kind)
                waiting += typing.get_type_hints(kind).values()
        else:
            waiting += typing.get_args(kind)
    return found


def test_every_setting_belongs_to_a_file_that_the_reference_describes() -> None:
    described = {one for spec in reference.files_of_a_user().values() for one in reachable(spec)}
    specs = spec_classes()
    assert len(specs) >= 8
    assert not sorted(spec.__qualname__ for spec in specs - described)


def test_every_setting_is_in_the_reference() -> None:
    text = page("settings.md")
    names = [
        field.name
        for spec in spec_classes()
        for field in dataclasses.fields(spec)
        if "help" in field.metadata
    ]
    assert len(names) >= 40
    assert not [name for name in names if f"{name}` |" not in text and f"`{name}." not in text]
