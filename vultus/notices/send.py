"""Tells a notice on every way that is set, and never lets a way that fails fail the job.

A failed notice is a line in the log and in what `announce` returns; it is never raised, it never waits longer than
SEND_S, and it never repeats an address, which carries a secret.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from vultus.core import specs
from vultus.core.errors import VultusError
from vultus.core.home import home
from vultus.core.log import logger
from vultus.notices.records import Notice, NotifySpec

__all__ = ["HOME_FILE", "SEND_S", "Told", "announce", "tell_home"]

SEND_S = 30.0
HOME_FILE = "notify.toml"

Told = dict[str, str]
"""way -> "" when it was told, else why not"""


def announce(notice: Notice, spec: NotifySpec, folder: Path) -> Told:
    """Tell a notice. Paths of the spec are relative to `folder`. Never raises."""
    if spec.is_silent or notice.event not in spec.on:
        return {}
    ways: dict[str, Callable[[], None]] = {}
    if spec.file:
        ways["file"] = lambda: _append(notice, _path(spec.file, folder))
    if spec.command:
        ways["command"] = lambda: _start(notice, spec.command, folder)
    if spec.services:
        ways["services"] = lambda: _post(notice, _path(spec.services, folder))
    told = {name: _try(way) for name, way in ways.items()}
    for name, why in told.items():
        if why:
            logger(__name__).warning(
                "the notice %r was not told by %s: %s", notice.title, name, why
            )
    return told


def tell_home(notice: Notice) -> Told:
    """Tell a notice to whoever `notify.toml` in the home folder names: for what belongs to no workspace, such as a
    job that died or missed its deadline. Never raises; no file means nobody.
    """
    path = home() / HOME_FILE
    if not path.is_file():
        return {}
    try:
        spec = specs.load(NotifySpec, path)
    except VultusError as fault:
        logger(__name__).warning("%s names nobody: %s", path, fault.what)
        return {"file": fault.what}
    return announce(notice, spec, path.parent)


def _try(way: Callable[[], None]) -> str:
    """Run one way in a thread of its own, so that one that hangs is left behind."""
    why = [f"no end within {SEND_S:.0f} s"]

    def call() -> None:
        try:
            way()
            why[0] = ""
        except Exception as fault:  # noqa: BLE001  whatever it is, the job must not feel it
            why[0] = str(fault) if isinstance(fault, _NotToldError) else type(fault).__name__

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(SEND_S)
    return why[0]


class _NotToldError(Exception):
    """Why a way failed, in words that hold no address."""


def _append(notice: Notice, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"at": round(time.time(), 3), **notice.to_json()}, ensure_ascii=False)
    with path.open("a", encoding="utf-8") as file:  # one write: lines of two jobs do not mix
        file.write(line + "\n")


def _start(notice: Notice, command: tuple[str, ...], folder: Path) -> None:
    try:
        done = subprocess.run(
            command,
            input=json.dumps(notice.to_json(), ensure_ascii=False),
            text=True,
            cwd=folder,
            capture_output=True,
            check=False,
            timeout=SEND_S,
        )
    except subprocess.TimeoutExpired as late:
        raise _NotToldError(f"{command[0]} did not end within {SEND_S:.0f} s") from late
    except OSError as fault:
        raise _NotToldError(f"{command[0]} cannot be started: {fault.strerror}") from fault
    if done.returncode:
        raise _NotToldError(f"{command[0]} ended with exit code {done.returncode}")


def _post(notice: Notice, path: Path) -> None:
    try:
        import apprise
    except ModuleNotFoundError as absent:
        raise _NotToldError(
            "the package 'apprise' is not installed: VULTUS_EXTRAS=notify make setup"
        ) from absent
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as fault:
        raise _NotToldError(f"{path} cannot be read: {fault.strerror}") from fault
    addresses = [one.strip() for one in lines if one.strip() and not one.strip().startswith("#")]
    sender = apprise.Apprise()
    refused = [number for number, one in enumerate(addresses, start=1) if not sender.add(one)]
    if refused or not addresses:
        raise _NotToldError(
            f"{path} has no address that apprise knows"
            + (f" in line {', '.join(map(str, refused))}" if refused else "")
        )
    kinds = {"done": "success", "failed": "failure", "undecided": "info", "deadline": "warning"}
    if not sender.notify(
        title=notice.title, body=notice.body or notice.title, notify_type=kinds[notice.event]
    ):
        raise _NotToldError(
            f"at least one of the {len(addresses)} services in {path} did not take it"
        )


def _path(words: str, folder: Path) -> Path:
    return folder / Path(words).expanduser()
