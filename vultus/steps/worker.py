"""A process that does one piece of work after another, told by its parent through a pipe.

Notation, one JSON object per line:
    parent -> worker    {"order": {kind, inputs, files, hints, scratch}}
    worker -> parent    {"advance": n, "note": text, "remembered": bool}
                        | {"outputs": {name: path}, "environment": {...}} | {"fault": {...}} | {"crash": text}

The worker keeps what is dear to load (a base, a face pack) between orders, which is why it is a process of its
own and not a call. It knows no ledger: only its parent writes there. When the parent dies, whatever killed it,
the pipe ends and so does the worker, in the middle of its order; what it had left in `scratch` waits for the next one.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from vultus.core.errors import Fault, SpecError, VultusError
from vultus.core.locks import held
from vultus.steps.environment import here
from vultus.steps.table import Job, do


def main() -> None:
    """Take orders from stdin until it ends. The one argument is a lock to share for as long as this process lives."""
    with held(Path(sys.argv[1]), blocking=True, shared=True):
        _work()


def _work() -> None:
    # Ctrl-C reaches the whole process group; only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries print to stdout: keep the pipe to the parent apart from their chatter.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    while True:
        _serve(json.loads(orders.get())["order"], answers)


def _listen(orders: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        orders.put(line)
    os._exit(0)  # the parent is gone: nobody would hear the answer


def _serve(order: Mapping[str, Any], answers: TextIO) -> None:
    def advance(n: float = 1, note: str = "", *, remembered: bool = False) -> None:
        _say(answers, {"advance": n, "note": note, "remembered": remembered})

    try:
        job = Job(
            kind=str(order["kind"]),
            inputs=order["inputs"],
            files={name: Path(path) for name, path in order["files"].items()},
            hints=order["hints"],
            scratch=Path(order["scratch"]),
            advance=advance,
        )
        outputs = do(job)
        made = {name: str(path) for name, path in outputs.items()}
        _say(answers, {"outputs": made, "environment": here()})
    except VultusError as fault:
        _say(answers, {"fault": pack_fault(fault)})
    except Exception:  # noqa: BLE001  told whole to the parent, which names the log; the worker lives on
        _say(answers, {"crash": traceback.format_exc()})


def _say(answers: TextIO, message: Mapping[str, Any]) -> None:
    try:
        answers.write(json.dumps(message) + "\n")
    except BrokenPipeError:
        os._exit(0)


def pack_fault(fault: VultusError) -> dict[str, Any]:
    """Turn an error into plain data that survives the pipe."""
    table: dict[str, Any] = {
        "type": type(fault).__name__,
        "what": fault.what,
        "where": fault.where,
        "expected": fault.expected,
        "next_command": fault.next_command,
    }
    if isinstance(fault, SpecError):
        table["faults"] = [[f.where, f.what, f.expected] for f in fault.faults]
    return table


def unpack_fault(table: Mapping[str, Any]) -> VultusError:
    """Make the error again from what `pack_fault` wrote."""
    from vultus.core import errors

    if "faults" in table:
        faults = [Fault(*row) for row in table["faults"]]
        return SpecError(faults, next_command=table["next_command"])
    kind = getattr(errors, str(table["type"]), VultusError)
    made = kind(
        table["what"],
        where=table["where"],
        expected=table["expected"],
        next_command=table["next_command"],
    )
    assert isinstance(made, VultusError)
    return made


if __name__ == "__main__":
    main()


__all__ = ["main", "pack_fault", "unpack_fault"]
