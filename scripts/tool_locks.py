"""Makes the locks of the foreign tools from their pinned requirements: every package, version and hash.

    python scripts/tool_locks.py            write vultus/tools/recipes/*/lock.txt (make lock-tools)
    python scripts/tool_locks.py --check    say whether the requirements changed since (no network)

The first line of a lock names the sha256 of the requirements it was made from, which is what --check compares. The
index is PyPI alone; the platform is the one of GPU pods (Linux, x86_64, glibc 2.28 or newer).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from vultus.tools.build import find_uv
from vultus.tools.recipe import find_recipe, recipe_names

__all__ = ["lock", "main", "stale"]

MARK = "# made from requirements.in sha256:"


def lock(name: str) -> None:
    """Resolve the requirements of a tool and write its lock."""
    recipe = find_recipe(name)
    source = Path(recipe.folder) / "requirements.in"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "PIP_"))}
    words = [find_uv(), "pip", "compile", "--quiet", "--generate-hashes", "--no-annotate"]
    words += ["--no-header", "--no-config", "--python-version", recipe.python]
    words += ["--python-platform", "x86_64-manylinux_2_28"]
    words += ["--default-index", "https://pypi.org/simple", str(source)]
    overrides = Path(recipe.folder) / "overrides.txt"
    if overrides.is_file():
        words += ["--overrides", str(overrides)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.strip()}")
    recipe.lock.write_text(f"{MARK}{_digest(source)}\n{done.stdout}", encoding="utf-8")


def stale() -> list[str]:
    """The tools whose requirements changed after their lock was made."""
    found = []
    for name in recipe_names():
        recipe = find_recipe(name)
        there = recipe.lock.read_text(encoding="utf-8") if recipe.lock.is_file() else ""
        if not there.startswith(MARK + _digest(Path(recipe.folder) / "requirements.in")):
            found.append(name)
    return found


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> int:
    """Write the locks, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("names", nargs="*", default=recipe_names(), help="tools (default: all)")
    args = parser.parse_args()
    if args.check:
        for name in stale():
            print(f"the lock of {name} is not made from its requirements: make lock-tools")
        return 1 if stale() else 0
    for name in args.names:
        lock(name)
        print(f"{name}: locked")
    return 0


if __name__ == "__main__":
    sys.exit(main())
