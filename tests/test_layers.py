"""The floors hold: every room is listed, imports go downward, and the door is light.

import-linter reads the same list in `make check`; here it is read once more with nothing but `ast`,
so that the floors stay tested where import-linter is not installed, and so that a listed room that
is gone is noticed too.
"""

from __future__ import annotations

import ast
import configparser
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "vultus"

HEAVY = frozenset(
    {
        "PIL",
        "accelerate",
        "bitsandbytes",
        "cv2",
        "diffusers",
        "onnxruntime",
        "peft",
        "prodigyopt",
        "safetensors",
        "scipy",
        "torch",
        "transformers",
    }
)
"""Libraries that cost more than numpy to import, or that touch a device when they are."""

ENGINE_ROOMS = ("training/native/", "generation/backends/", "faces/engines/", "standin/")
"""Where heavy libraries may be imported at the top of a file."""


def floors() -> list[tuple[str, ...]]:
    """Return the floors of .importlinter, from the top of the house to its cellar."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    lines = parser["importlinter:contract:floors"]["layers"].split("\n")
    return [tuple(name.strip() for name in line.split("|")) for line in lines if line.strip()]


def python_files() -> list[Path]:
    """Return every Python file of the package."""
    return sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def rooms_on_disk() -> set[str]:
    """Return the rooms: folders with Python in them, and the modules beside them."""
    folders = {path.relative_to(PACKAGE).parts[0] for path in python_files()}
    return {name.removesuffix(".py") for name in folders} - {"__init__"}


def imported_rooms(tree: ast.AST) -> Iterator[str]:
    """Yield the room of every import of vultus in a file, wherever in the file it stands."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "vultus":
                names = [f"vultus.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "vultus" and len(parts) > 1:
                yield parts[1]


def top_level_imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield (line, library) of imports that run when the file is imported."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module.split(".")[0]


def test_every_room_has_a_floor() -> None:
    listed = [room for floor in floors() for room in floor]
    assert len(listed) == len(set(listed)), "a room stands on two floors"
    assert rooms_on_disk() == set(listed)


def test_imports_go_downward_only() -> None:
    floor_of = {room: depth for depth, floor in enumerate(floors()) for room in floor}
    checked = 0
    upward = []
    for path in python_files():
        here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if here == "__init__":
            continue
        for room in imported_rooms(ast.parse(path.read_text(encoding="utf-8"))):
            if room == here or room not in floor_of:
                continue
            checked += 1
            if floor_of[room] <= floor_of[here]:
                upward.append(f"{path.relative_to(ROOT)} imports vultus.{room}")
    assert checked >= 50, "the test looked at almost nothing"
    assert not upward, "\n".join(upward)


def test_heavy_libraries_are_imported_at_the_top_only_in_engine_rooms() -> None:
    checked = 0
    misplaced = []
    for path in python_files():
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith(ENGINE_ROOMS):
            continue
        checked += 1
        for line, library in top_level_imports(ast.parse(path.read_text(encoding="utf-8"))):
            if library in HEAVY:
                misplaced.append(f"vultus/{name}:{line} imports {library} at its top")
    assert checked >= 40, "the test looked at almost nothing"
    assert not misplaced, "\n".join(misplaced)


def test_importing_every_light_module_loads_nothing_heavy() -> None:
    """What the list above cannot see: a light file that imports an engine file at its top."""
    modules = [
        path.relative_to(ROOT)
        .with_suffix("")
        .as_posix()
        .replace("/", ".")
        .removesuffix(".__init__")
        for path in python_files()
        if not path.relative_to(PACKAGE).as_posix().startswith(ENGINE_ROOMS)
        and path.name != "__main__.py"
    ]
    program = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = set(json.loads(done.stdout))
    assert len(modules) >= 40, "the test looked at almost nothing"
    assert not loaded & HEAVY


def test_every_module_names_what_it_offers() -> None:
    """`__all__` exists and every name in it is defined: nothing public by accident."""
    checked = 0
    faults = []
    for path in python_files():
        if path.name == "__main__.py":
            continue  # nothing is imported from a program
        checked += 1
        tree = ast.parse(path.read_text(encoding="utf-8"))
        offered = _offered(tree)
        if offered is None:
            faults.append(f"{path.relative_to(ROOT)} has no __all__")
            continue
        missing = offered - _defined(tree)
        faults += [
            f"{path.relative_to(ROOT)} offers {name}, which it lacks" for name in sorted(missing)
        ]
    assert checked >= 50, "the test looked at almost nothing"
    assert not faults, "\n".join(faults)


def _offered(tree: ast.Module) -> set[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id == "__all__":
                return set(ast.literal_eval(node.value))
    return None


def _defined(tree: ast.Module) -> set[str]:
    """Return the names that a file binds at its top, also inside `if` and `try`."""
    names: set[str] = set()
    blocks: list[ast.stmt] = list(tree.body)
    while blocks:
        node = blocks.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            names |= {n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.If | ast.Try):
            blocks += node.body + node.orelse
    return names
