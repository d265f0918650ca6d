"""`vultus doctor`: what of this machine is ready, what is not, and what to type.

A check never raises: it returns findings. `ok` is good; `note` is worth knowing (no graphics card,
little disk); `fault` stops work, and then the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from vultus.cli.wording import EXIT_DONE, EXIT_NO, Nouns, noun, say

__all__ = ["CHECKS", "Finding", "add", "examine"]

MIB = 2**20
GIB = 2**30

ENOUGH_MEMORY_GIB = 4
"""What the demo needs; training full-size SDXL asks for a card with 24 GB."""

ENOUGH_DISK_GIB = 2

RIVALS = (
    ("opencv-python", "opencv-python-headless"),
    ("onnxruntime-gpu", "onnxruntime"),
)
"""Pairs that overwrite each other's files: with both installed, removing one breaks the other."""


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    about: str
    state: Literal["ok", "note", "fault"]
    text: str
    next_command: str = ""


def add(subparsers: Nouns) -> None:
    """Add `vultus doctor`."""
    parser = noun(
        subparsers,
        "doctor",
        help="say what of this machine is ready, what is not, and what to type",
        examples=["vultus doctor", "vultus doctor --json"],
    )
    parser.set_defaults(handle=_handle)


def examine(folder: Path) -> list[Finding]:
    """Run every check; `folder` is where a workspace would lie (its disk is measured)."""
    return [finding for check in CHECKS for finding in check(folder)]


def _handle(args: argparse.Namespace) -> int:
    findings = examine(Path.cwd())
    faults = sum(finding.state == "fault" for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:>5}  {finding.about}: {finding.text}")
        if finding.next_command:
            lines.append(f"       next: {finding.next_command}")
    lines.append("" if not faults else f"\n{faults} fault{'s' if faults > 1 else ''}.")
    say(args, {"faults": faults, "findings": [asdict(f) for f in findings]}, lines)
    return EXIT_NO if faults else EXIT_DONE


def _python(folder: Path) -> Iterator[Finding]:
    del folder
    state: Literal["ok", "fault"] = "ok" if sys.version_info >= (3, 11) else "fault"
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding("Python", state, text, "" if state == "ok" else "install Python 3.11 or newer")


def _machine(folder: Path) -> Iterator[Finding]:
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    yield Finding("processor", "ok", f"{cores} core{'s' if cores > 1 else ''}")
    try:
        memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    except (AttributeError, ValueError, OSError):
        yield Finding("memory", "note", "this system does not tell how much there is")
    else:
        enough = memory_gib >= ENOUGH_MEMORY_GIB
        text = f"{memory_gib:.1f} GiB" + ("" if enough else f"; the demo needs {ENOUGH_MEMORY_GIB}")
        yield Finding("memory", "ok" if enough else "note", text)
    free_gib = shutil.disk_usage(folder).free / GIB
    if free_gib >= ENOUGH_DISK_GIB:
        yield Finding("disk", "ok", f"{free_gib:.0f} GiB free at {folder}")
    else:
        text = f"{free_gib:.1f} GiB free at {folder}; a workspace wants {ENOUGH_DISK_GIB}"
        yield Finding("disk", "note", text, "free some space, or work in a folder on another disk")


def _packages(folder: Path) -> Iterator[Finding]:
    """Compare what is installed with what this version of vultus was locked and tested with."""
    del folder
    from importlib.metadata import PackageNotFoundError, distributions, requires

    installed = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in distributions()}
    try:
        wanted = [line for line in requires("vultus") or () if "extra ==" not in line]
    except PackageNotFoundError:
        yield Finding("packages", "fault", "vultus itself is not installed here", "make setup")
        return
    pins = dict(line.split(";")[0].strip().split("==") for line in wanted if "==" in line)
    missing = sorted(name for name in pins if name not in installed)
    other = sorted(
        f"{name} {installed[name]} (tested: {pin})"
        for name, pin in pins.items()
        if name in installed and installed[name].split("+")[0] != pin
    )
    if missing:
        yield Finding("packages", "fault", "missing: " + ", ".join(missing), "make setup")
    if other:
        yield Finding("packages", "note", "not the tested version: " + ", ".join(other))
    if not missing and not other:
        yield Finding("packages", "ok", f"all {len(pins)} direct ones are the tested versions")
    for first, second in RIVALS:
        if first in installed and second in installed:
            text = f"{first} and {second} are both installed and overwrite each other"
            yield Finding("packages", "fault", text, "make clean setup")
    extra = "bitsandbytes"
    text = (
        f"{extra} {installed[extra]}" if extra in installed else "not installed (8-bit optimizers)"
    )
    yield Finding("extra gpu", "ok" if extra in installed else "note", text)


def _torch(folder: Path) -> Iterator[Finding]:
    del folder
    try:
        import torch
    except ImportError as absence:
        yield Finding("torch", "fault", f"cannot be imported: {absence}", "make setup")
        return
    if not torch.cuda.is_available():
        text = f"{torch.__version__}, no graphics card: full-size SDXL is too slow, the rest runs"
        yield Finding("torch", "note", text)
        return
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        text = f"{torch.__version__}, {card.name} with {card.total_memory / GIB:.0f} GiB"
        yield Finding("torch", "ok", text)


def _models(folder: Path) -> Iterator[Finding]:
    del folder
    from vultus.cli.models import found_models

    for model in found_models():
        state: Literal["ok", "note", "fault"] = "ok"
        if not model.present:
            state = "fault" if model.bundled else "note"
        yield Finding(f"{model.kind} {model.name}", state, model.text, model.next_command)


CHECKS: tuple[Callable[[Path], Iterator[Finding]], ...] = (
    _python,
    _machine,
    _packages,
    _torch,
    _models,
)
