"""Installed packages: the pinned versions, and every file as its package's RECORD says."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from vultus.core.home import home
from vultus.health.findings import Finding
from vultus.tools.installed import check_files, packages_digest, packages_in, sites
from vultus.tools.places import current, installed
from vultus.tools.recipe import recipe_names

__all__ = ["RIVALS", "files", "foreign_tools", "pins", "version_findings"]

RIVALS = (
    ("opencv-python", "opencv-python-headless"),
    ("onnxruntime-gpu", "onnxruntime"),
)
"""Pairs that overwrite each other's files: with both installed, removing one breaks the other."""

EXTRAS = {
    "bitsandbytes": "8-bit optimizers",
    "ray": "the executor ray",
    "apprise": "notices to services",
}
MEMORY = "sound.json"
MEND = "make clean setup"


def pins(folder: Path) -> Iterator[Finding]:
    """What is installed against what this version was locked and tested with."""
    del folder
    found = {p.name: p.version for site in sites() for p in packages_in(site)}
    try:
        wanted = requires("vultus") or []
    except PackageNotFoundError:
        yield Finding("packages", "fault", "vultus itself is not installed here", "make setup")
        return
    yield from version_findings(found, wanted, _lock())


def version_findings(
    found: dict[str, str], wanted: list[str], lock: dict[str, str]
) -> Iterator[Finding]:
    """Compare versions: `wanted` are vultus' own requirements, `lock` every locked package (may be empty)."""
    direct = [line for line in wanted if "extra ==" not in line]
    pinned = dict(line.split(";")[0].strip().split("==") for line in direct if "==" in line)
    pinned = {name.lower().replace("_", "-"): version for name, version in pinned.items()}
    missing = sorted(name for name in pinned if name not in found)
    if missing:
        yield Finding("packages", "fault", "missing: " + ", ".join(missing), "make setup")
    whole = {**lock, **pinned}
    other = sorted(
        f"{name} {found[name]} (tested: {version})"
        for name, version in whole.items()
        if name in found and found[name].split("+")[0] != version.split("+")[0]
    )
    if other:
        yield Finding("packages", "note", "not the tested version: " + ", ".join(other), MEND)
    if not missing and not other:
        checked = sum(name in found for name in whole)
        text = f"{checked} are the tested versions"
        yield Finding(
            "packages", "ok", text + ("" if lock else " (no lock here: direct ones only)")
        )
    for first, second in RIVALS:
        if first in found and second in found:
            text = f"{first} and {second} are both installed and overwrite each other"
            yield Finding("packages", "fault", text, MEND)
    here = [f"{name} {found[name]}" for name in EXTRAS if name in found]
    absent = [f"{name} ({what})" for name, what in EXTRAS.items() if name not in found]
    text = "; ".join(
        filter(None, (", ".join(here), "not here: " + ", ".join(absent) if absent else ""))
    )
    yield Finding("extras", "ok" if here else "note", text)


def files(folder: Path) -> Iterator[Finding]:
    """Every installed file against its RECORD; sound packages are remembered by the state of their files."""
    del folder
    where = sites()
    looked, altered = check_files(where, home() / MEMORY)
    name = packages_digest(where)[:16]
    if not altered:
        yield Finding("installed files", "ok", f"{looked:,} as their records say, digest {name}")
        return
    first = altered[0]
    text = (
        f"{len(altered)} of {looked:,} are not as installed, first {first.path}, which {first.what}"
    )
    yield Finding("installed files", "fault", text, MEND)


def foreign_tools(folder: Path) -> Iterator[Finding]:
    """Kohya and ComfyUI, where they were installed by `vultus tools`."""
    del folder
    for name in recipe_names():
        if not installed(name):
            continue
        place = current(name)
        faults = place.faults(home() / MEMORY)
        about = f"tool {name}"
        if faults:
            cure = f"rm -r {place.folder} && vultus tools install {name}"
            yield Finding(about, "fault", f"{len(faults)} changes, first: {faults[0]}", cure)
        else:
            text = f"commit {str(place.record['commit'])[:12]}, environment {place.digest}"
            yield Finding(about, "ok", text)


def _lock() -> dict[str, str]:
    """Every package that uv.lock names once, where this is a checkout; a forked resolution is left out."""
    import tomllib

    try:
        text = (Path(__file__).resolve().parents[2] / "uv.lock").read_text(encoding="utf-8")
        rows = tomllib.loads(text)["package"]
    except (OSError, ValueError, KeyError):
        return {}
    names = [row["name"] for row in rows]
    once = {row["name"]: row.get("version", "") for row in rows if names.count(row["name"]) == 1}
    once.pop("vultus", None)
    return once
