"""`vultus store`: look into a workspace's memory, prove that it is whole, and remove what nothing refers to."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.cli.wording import EXIT_DONE, EXIT_NO, Nouns, noun, say, verb
from vultus.core.errors import StoreError

if TYPE_CHECKING:
    from vultus.store.ledger import Ledger

__all__ = ["add"]

MIB = 2**20
SHOWN = 20


def add(subparsers: Nouns) -> None:
    """Add `vultus store` and its verbs."""
    parser = noun(
        subparsers,
        "store",
        help="look into a workspace's memory, check it, and remove what nothing needs",
        examples=["vultus store show ada", "vultus store verify ada"],
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    show = verb(
        verbs,
        "show",
        help="tell what the memory holds, or everything about one step",
        examples=["vultus store show ada", "vultus store show ada 3f2a9c01"],
    )
    _workspace(show)
    show.add_argument("key", nargs="?", default="", help="the first digits of a step's key")
    show.set_defaults(handle=_show)
    check = verb(
        verbs,
        "verify",
        help="hash every stored file again and check the ledger; exit code 1 if anything is not whole",
        examples=["vultus store verify ada", "vultus store verify ada --json"],
    )
    _workspace(check)
    check.add_argument("--quiet", action="store_true", help="no progress line")
    check.set_defaults(handle=_verify)
    sweep = verb(
        verbs,
        "sweep",
        help="list the stored files that nothing refers to; with --apply remove them",
        examples=["vultus store sweep ada", "vultus store sweep ada --apply"],
    )
    _workspace(sweep)
    sweep.add_argument(
        "--apply", action="store_true", help="remove them (without it nothing is changed)"
    )
    sweep.set_defaults(handle=_sweep)


def _workspace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workspace", type=Path, help="folder with a .vultus folder in it")


@contextmanager
def _opened(workspace: Path) -> Iterator[Ledger]:
    """The ledger of a workspace; a folder that has none gets none."""
    from vultus.store.ledger import Ledger
    from vultus.studies.workspace import Workspace

    memory = Workspace(workspace).memory
    if not Workspace(workspace).was_begun:
        raise StoreError(
            "there is no ledger here",
            where=str(memory),
            expected="a workspace in which a run was begun",
            next_command=f"vultus run {workspace}",
        )
    with Ledger.open(memory) as ledger:
        yield ledger


def _show(args: argparse.Namespace) -> int:
    with _opened(args.workspace) as ledger:
        record, lines = _about_step(ledger, args.key) if args.key else _about_all(ledger)
    say(args, record, lines)
    return EXIT_DONE


def _about_all(ledger: Ledger) -> tuple[dict[str, Any], list[str]]:
    from vultus.store.census import count

    census = count(ledger)
    files = ledger.blobs.names()
    stored = sum(ledger.blobs.path(name).stat().st_size for name in files)
    record = {**asdict(census), "files": len(files), "file_bytes": stored}
    lines = [
        "steps     " + (_counted(census.steps) or "none"),
        "attempts  " + (_counted(census.attempts) or "none"),
        f"outputs   {census.outputs:,} in {len(files):,} files, {_size(stored)}",
        f"ledger    {_size(census.ledger_bytes)}, work of {census.environments} environment"
        + ("" if census.environments == 1 else "s"),
    ]
    return record, lines


def _about_step(ledger: Ledger, digits: str) -> tuple[dict[str, Any], list[str]]:
    from vultus.store.records import environment_digest

    found = ledger.keys(digits)
    if len(found) != 1:
        raise StoreError(
            f"{len(found) or 'no'} steps have a key that begins with {digits!r}",
            where=str(ledger.folder),
            expected="the first digits of one key"
            if not found
            else ", ".join(key[:12] for key in found[:5]),
            next_command=f"vultus store show {ledger.folder.parent}",
        )
    step = ledger.step(found[0])
    assert step is not None
    outputs = ledger.outputs(step.key) or {}
    attempts = [
        {
            "id": one.id,
            "state": one.state.value,
            "started_at": _moment(one.started_at),
            "seconds": one.seconds,
            "host": one.host,
            "environment": environment_digest(one.environment),
            "message": one.message,
        }
        for one in ledger.attempts(step.key)
    ]
    record = {
        "key": step.key,
        "kind": step.kind,
        "version": step.version,
        "inputs": step.inputs_json,
        "attempts": attempts,
        "outputs": outputs,
    }
    lines = [
        f"step      {step.kind} (version {step.version}), {step.key}",
        f"asked     {_moment(step.asked_at)}",
        f"inputs    {step.inputs_json}",
    ]
    for one in attempts:
        took = "" if one["seconds"] is None else f" after {one['seconds']:.1f} s"
        lines.append(
            f"attempt   {one['started_at']} {one['state']}{took} on {one['host']},"
            f" environment {one['environment']}"
        )
        lines += [f"          {line}" for line in str(one["message"]).splitlines()[-1:]]
    lines += [f"output    {name}  {content}" for name, content in sorted(outputs.items())]
    return record, lines


def _verify(args: argparse.Namespace) -> int:
    from vultus.core.progress import Progress
    from vultus.store.census import verify

    with _opened(args.workspace) as ledger:
        with Progress(0, "verify", "files", quiet=args.quiet) as progress:

            def told(done: int, total: int) -> None:
                progress.retotal(total)
                progress.advance(done - progress.done)

            faults = verify(ledger, told)
        looked = len(ledger.blobs.names())
    lines = [f"{looked:,} stored files, {len(faults)} of them or of the ledger's rows not whole"]
    lines += [fault.line() for fault in faults]
    if faults:
        lines.append(
            "  next: restore the named files from a backup; or move the workspace's .vultus folder"
            " away and run again: finished work is then redone"
        )
    else:
        lines = [f"{looked:,} stored files and the ledger are whole"]
    say(args, {"files": looked, "faults": [asdict(fault) for fault in faults]}, lines)
    return EXIT_NO if faults else EXIT_DONE


def _sweep(args: argparse.Namespace) -> int:
    with _opened(args.workspace) as ledger:
        dead = ledger.dead()
        size = sum(size for _, size in dead)
        removed = ledger.sweep() if args.apply else 0
    lines = [f"  {name}  {_size(size)}" for name, size in dead[:SHOWN]]
    if len(dead) > SHOWN:
        lines.append(f"  and {len(dead) - SHOWN} more")
    if args.apply:
        lines.append(f"{removed} files removed, {_size(size)}")
    elif dead:
        lines.insert(0, f"{len(dead)} files that nothing refers to, {_size(size)}:")
        lines.append(
            f"nothing was changed; to remove them: vultus store sweep {args.workspace} --apply"
        )
    else:
        lines = ["every stored file is needed"]
    record = {
        "dead": [{"content_id": name, "bytes": size} for name, size in dead],
        "bytes": size,
        "removed": removed,
    }
    say(args, record, lines)
    return EXIT_DONE


def _counted(table: Any) -> str:
    return ", ".join(f"{n:,} {name}" for name, n in sorted(table.items()))


def _size(size: float) -> str:
    return f"{size / MIB:,.1f} MiB" if size >= MIB / 10 else f"{size:,.0f} bytes"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
