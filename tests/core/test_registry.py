"""Names instead of import paths, loaded late, with helpful refusals."""

from __future__ import annotations

import sys

import pytest

from vultus.core.errors import MissingExtraError, UnknownNameError
from vultus.core.registry import Registry, hint, nearest


@pytest.fixture
def registry() -> Registry[type]:
    made: Registry[type] = Registry("allocator")
    made.add("fraction", "fractions:Fraction", help="exact numbers")
    made.add("decimal", "decimal:Decimal")
    made.add("far", "a_package_that_is_not_there.module:thing", extra="far")
    made.add("farther", "a_package_that_is_not_there:thing")
    return made


def test_a_name_is_loaded_when_it_is_asked_for() -> None:
    registry: Registry[type] = Registry("part")
    registry.add("turtle", "sched:scheduler")
    sys.modules.pop("sched", None)
    assert "sched" not in sys.modules
    assert registry.get("turtle").__name__ == "scheduler"


def test_names_are_listed_in_order(registry: Registry[type]) -> None:
    assert registry.names() == ("decimal", "far", "farther", "fraction")
    assert [entry.name for entry in registry] == list(registry.names())
    assert len(registry) == 4
    assert "decimal" in registry
    assert registry.entry("fraction").help == "exact numbers"


def test_an_unknown_name_is_answered_with_the_nearest(registry: Registry[type]) -> None:
    with pytest.raises(UnknownNameError) as caught:
        registry.get("fractoin")
    assert 'did you mean "fraction"?' in caught.value.what
    assert caught.value.expected == "one of: decimal, far, farther, fraction"


def test_a_missing_package_names_what_to_install(registry: Registry[type]) -> None:
    # The registered module's own top package is missing: that is never "ours to install".
    with pytest.raises(ModuleNotFoundError):
        registry.get("farther")


def test_a_package_behind_a_module_names_its_extra(
    registry: Registry[type], tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    (folder / "needs_more.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(folder))
    registry.add("more", "needs_more:thing", extra="ray")
    registry.add("less", "needs_more:thing")
    with pytest.raises(MissingExtraError) as caught:
        registry.get("more")
    assert "a_package_that_is_not_there" in caught.value.what
    assert caught.value.next_command == "VULTUS_EXTRAS=ray make setup"
    with pytest.raises(MissingExtraError, match="pip install a_package_that_is_not_there"):
        registry.get("less")


def test_a_name_is_given_once_and_in_full(registry: Registry[type]) -> None:
    with pytest.raises(ValueError, match="already registered"):
        registry.add("decimal", "decimal:Decimal")
    with pytest.raises(ValueError, match="not of the form"):
        registry.add("new", "decimal.Decimal")


def test_nearest_is_none_when_nothing_is_near() -> None:
    assert nearest("rank", ["rate", "ranks"]) == "ranks"
    assert nearest("zzz", ["rate", "ranks"]) is None
    assert hint("zzz", ["rate"]) == ""
