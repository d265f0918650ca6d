"""Readable in one sitting: a file has at most 400 lines, a function at most 60.

The exceptions below may only shrink: an entry states the size it was let in with, and the test
fails when the thing grows, when it has become smaller than its entry says, and when it needs no
entry any more. Adding one needs a decision record.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("vultus", "tests", "scripts", "bench")

FILE_LINES = 400
FUNCTION_LINES = 60

LONG_FILES: dict[str, int] = {}
"""path: lines."""

LONG_FUNCTIONS: dict[str, int] = {}
"""path:name: lines."""


def sizes() -> tuple[dict[str, int], dict[str, int]]:
    """Return the lines of every Python file and of every function in it."""
    files: dict[str, int] = {}
    functions: dict[str, int] = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            text = path.read_text(encoding="utf-8")
            files[name] = len(text.splitlines())
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    assert node.end_lineno is not None
                    functions[f"{name}:{node.name}"] = node.end_lineno - node.lineno + 1
    return files, functions


def faults(found: dict[str, int], limit: int, exceptions: dict[str, int]) -> list[str]:
    """Compare sizes with the limit and with the exceptions, in both directions."""
    told = []
    for name, lines in found.items():
        allowed = exceptions.get(name, limit)
        if lines > allowed:
            told.append(
                f"{name} has {lines} lines, allowed are {allowed}: split it by what it does"
            )
    for name, allowed in exceptions.items():
        lines = found.get(name, 0)
        if lines <= limit:
            told.append(f"{name} needs no exception any more: remove it from the list")
        elif lines < allowed:
            told.append(f"{name} shrank to {lines} lines: lower its exception")
    return told


def test_files_and_functions_are_short() -> None:
    files, functions = sizes()
    assert len(files) >= 60 and len(functions) >= 300, "the test looked at almost nothing"
    told = faults(files, FILE_LINES, LONG_FILES) + faults(functions, FUNCTION_LINES, LONG_FUNCTIONS)
    assert not told, "\n".join(told)


def test_the_rule_itself_notices_growth_and_stale_exceptions() -> None:
    told = faults({"a": 10, "b": 12, "c": 9, "d": 15}, 10, {"b": 14, "c": 12, "d": 13, "gone": 20})
    assert len(told) == 4
    assert told[0].startswith("d has 15 lines, allowed are 13")
    assert {line.split()[0] for line in told[1:]} == {"b", "c", "gone"}
