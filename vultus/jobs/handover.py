"""A ComfyUI makes room for a training, and gets its card back afterwards, whatever became of it.

    capture -> its queue (wait | interrupt) -> write down the debt -> /free -> stop -> measured free
                                 ... the training ...
    restart with the identical command line -> healthy -> its prompts given back -> debt struck off

The debt is on the disk before anything is stopped: whoever looks after the job next, after a crash
or a reboot, finds it and pays it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from vultus.core.clock import Clock
from vultus.core.errors import CardBusyError, JobError, NeighbourError, VultusError
from vultus.core.files import write_json
from vultus.jobs.cards import Card, CardProbe
from vultus.jobs.comfyui_process import Capture, capture, find, restart, stop
from vultus.jobs.comfyui_server import ComfyServer
from vultus.jobs.holders import users_of_device
from vultus.jobs.lease import free_or_refuse
from vultus.jobs.processes import Process
from vultus.jobs.records import read_json
from vultus.jobs.settings import ComfySpec

__all__ = ["FREED_WITHIN_S", "clear_the_card", "debts", "neighbours", "pay_back"]

INTERRUPT_WITHIN_S = 180.0
FREE_HINT_WITHIN_S = 15.0
FREED_WITHIN_S = 60.0
FREES_IN_S = 2.0
"""ComfyUI answers /free at once and obeys in the next second, when its own loop comes round."""
POLL_S = 0.5
FIRST_PAUSE_S = 2.0


def neighbours(card: Card, spec: ComfySpec) -> list[ComfyServer]:
    """Return the ComfyUIs that use this card: the one the settings name, or those with it open."""
    if spec.url:
        return find(spec.url)
    users = {holder.pid for holder in users_of_device(card.device_file)}
    found = []
    for server in find():
        with suppress(NeighbourError):
            kinds = {str(device.get("type")) for device in server.stats().get("devices", [])}
            here = not card.device_file or capture(server).process.pid in users
            if here and kinds != {"cpu"}:
                found.append(server)
    return found


def clear_the_card(
    card: Card,
    probe: CardProbe,
    need_bytes: int,
    *,
    spec: ComfySpec,
    way: str,
    owed_file: Path,
    patience_s: float,
    clock: Clock,
    breathe: Callable[[], None],
    tell: Callable[[str], None] = lambda text: None,
) -> int:
    """Make room on a card whose lease the caller holds; return the bytes that were measured free.

    `way` is one of `settings.COMFYUI_WAYS`. Raises CardBusyError when the room cannot be had, with
    who holds it; what was stopped is then still owed in `owed_file`.
    """
    stopped = False
    if way == "share":
        return _share(card, probe, spec, clock, tell)
    for server in [] if way == "ignore" else neighbours(card, spec):
        if way == "refuse":
            raise CardBusyError(
                f"a ComfyUI uses card {card.index}",
                where=server.url,
                expected="no ComfyUI on the card (--comfyui refuse)",
                next_command="stop it, or choose --comfyui wait",
            )
        tell(f"ComfyUI at {server.url}: {way}")
        _empty_queue(server, way, spec, owed_file, clock, breathe)
        if not spec.stop_always and _freed_by_asking(server, card, probe, need_bytes, clock):
            tell(f"ComfyUI at {server.url} freed its memory and keeps running")
            continue
        found = _with_queue(server, capture(server))
        _owe(owed_file, found)
        with suppress(NeighbourError):
            server.free()  # a hint: what it frees in time need not be waited for
        stop(found, clock=clock)
        tell(f"ComfyUI at {server.url} stopped (process {found.process.pid})")
        stopped = True
    wait_s = max(patience_s, FREED_WITHIN_S) if stopped else patience_s
    return free_or_refuse(card, probe, need_bytes, patience_s=wait_s, clock=clock, breathe=breathe)


def _share(
    card: Card, probe: CardProbe, spec: ComfySpec, clock: Clock, tell: Callable[[str], None]
) -> int:
    """Ask whoever is there to free its models, and take what is free: it renders for us and must go on running."""
    for server in neighbours(card, spec):
        with suppress(NeighbourError):
            server.free()
            tell(f"ComfyUI at {server.url} was asked to free its models; it keeps running")
            clock.sleep(FREES_IN_S)
    return probe.free_bytes(card.uuid)


def debts(owed_file: Path) -> list[Capture]:
    """Return the ComfyUIs that are owed a restart. Raises JobError for a note that cannot be read: it is no receipt."""
    if not owed_file.exists():
        return []
    table = read_json(owed_file)
    if table is None:
        raise JobError(
            "the note of a stopped ComfyUI cannot be read",
            where=str(owed_file),
            expected="the file as the job wrote it",
            next_command=f"start that ComfyUI by hand, then: rm '{owed_file}'",
        )
    return [Capture.from_json(row) for row in table["owed"]]


def pay_back(
    owed_file: Path,
    spec: ComfySpec,
    *,
    clock: Clock,
    tell: Callable[[str], None] = lambda text: None,
) -> list[VultusError]:
    """Restart everything that is owed; return what went wrong (that stays owed).

    A start that ends at once is tried again, with growing pauses, until `healthy_within_s` is spent:
    its environment may just be in the middle of an installation.
    """
    faults: list[VultusError] = []
    left = []
    for found in debts(owed_file):
        try:
            process = _restart_patiently(found, spec.healthy_within_s, clock, tell)
            tell(f"ComfyUI at {found.url} is back (process {process.pid})")
        except VultusError as fault:
            faults.append(fault)
            left.append(found)
            tell(f"ComfyUI at {found.url} did not come back: {fault}")
    if left:
        _write(owed_file, left)
    else:
        owed_file.unlink(missing_ok=True)
    return faults


def _restart_patiently(
    found: Capture, within_s: float, clock: Clock, tell: Callable[[str], None]
) -> Process:
    until_s = clock.monotonic() + within_s
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            left_s = max(1.0, until_s - clock.monotonic())
            return restart(found, healthy_within_s=left_s, clock=clock)
        except VultusError as fault:
            if clock.monotonic() + pause_s >= until_s:
                raise
            tell(f"ComfyUI at {found.url}: {fault.what}; tried again in {pause_s:g} s")
        clock.sleep(pause_s)
        pause_s *= 2


def _empty_queue(
    server: ComfyServer,
    way: str,
    spec: ComfySpec,
    owed_file: Path,
    clock: Clock,
    breathe: Callable[[], None],
) -> None:
    """Wait until nothing runs; with `interrupt`, write down what runs and waits, then stop it."""
    patience_s = 60 * spec.queue_wait_min
    if way == "interrupt" and len(server.queue()):
        found = _with_queue(server, capture(server))
        _owe(owed_file, found)  # what is cleared now exists nowhere else any more
        server.clear_queue()
        for entry in server.queue().running:
            server.interrupt(str(entry[1]))
        patience_s = INTERRUPT_WITHIN_S
    until_s = clock.monotonic() + patience_s
    while len(server.queue()):
        if clock.monotonic() >= until_s:
            if way == "interrupt":
                return  # a stuck node never looks; ending the process does
            raise CardBusyError(
                f"ComfyUI still has {len(server.queue())} prompts to do",
                where=server.url,
                expected=f"an empty queue within {spec.queue_wait_min:g} minutes",
                next_command="choose --comfyui interrupt: its prompts are given back afterwards",
            )
        breathe()
        clock.sleep(POLL_S)


def _freed_by_asking(
    server: ComfyServer, card: Card, probe: CardProbe, need_bytes: int, clock: Clock
) -> bool:
    server.free()
    try:
        free_or_refuse(card, probe, need_bytes, patience_s=FREE_HINT_WITHIN_S, clock=clock)
    except CardBusyError:
        return False
    return True


def _with_queue(server: ComfyServer, found: Capture) -> Capture:
    from dataclasses import replace

    queue = server.queue()
    return replace(found, prompts=(*queue.running, *queue.pending))


def _owe(owed_file: Path, found: Capture) -> None:
    """Write a debt down; one for the same server is renewed, and its prompts are kept."""
    from dataclasses import replace

    others = []
    for old in debts(owed_file):
        if old.url != found.url:
            others.append(old)
            continue
        known = {str(entry[1]) for entry in found.prompts}
        kept = [entry for entry in old.prompts if str(entry[1]) not in known]
        found = replace(found, prompts=(*kept, *found.prompts))
    _write(owed_file, [*others, found])


def _write(owed_file: Path, owed: list[Capture]) -> None:
    rows: list[dict[str, Any]] = [one.to_json() for one in owed]
    write_json(owed_file, {"owed": rows})
