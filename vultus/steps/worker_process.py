"""One worker process as its parent sees it: started when first needed, given orders, ended by its own process id.

The worker's stderr goes to a log in the workspace. It holds a shared lock on `locks/workers` for as long as it
lives, so that a later run can tell that a worker of a killed parent is really gone before touching its scratch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from vultus.core.errors import CancelledError, StepError, VultusError, WorkerLostError
from vultus.core.files import disk_errors
from vultus.steps.orders import Order
from vultus.steps.run import Made
from vultus.steps.worker import unpack_fault

WORKERS_LOCK = "locks/workers"
END_WITHIN_S = 5.0
QUIET = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
}
"""What every worker's environment says: waiting threads sleep, no hub is asked, and CUDA counts cards as the driver's
library does (its own default is the fastest first: the leased card would be another one)."""


class WorkerProcess:
    """Gives orders to one worker process, one at a time."""

    def __init__(self, folder: Path, number: int, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._number = number
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None
        self._ended = False
        self._lock = threading.Lock()

    @property
    def log(self) -> Path:
        """Where the worker's own words go."""
        return self._folder / "logs" / f"worker-{self._number}.log"

    @property
    def pid(self) -> int | None:
        """Process id of the living worker."""
        return None if self._process is None else self._process.pid

    def perform(
        self, order: Order, scratch: Path, advance: Callable[..., None]
    ) -> Mapping[str, Path]:
        """Have one order done.

        Raises the worker's own VultusError, StepError when it crashed, WorkerLostError when it died, CancelledError
        when it was ended from here. After a death the next order starts a new one.
        """
        process = self._started()
        step = order.step
        message = {"order": order_message(order, scratch)}
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(message, default=dict) + "\n")
            process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise self._gone(process, step.kind) from None
        while (answer := _answer(process)) is not None:
            outputs = self._heard(answer, step.kind, advance)
            if outputs is not None:
                return outputs
        raise self._gone(process, step.kind)

    def end(self) -> None:
        """End the worker, if it lives, and wait for it."""
        with self._lock:
            self._ended = True
            process = self._process
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError, ValueError):
                    pipe.close()  # its reader, if any, has met the end of the pipe by now
        with self._lock:
            if self._process is process:
                self._process = None

    def _started(self) -> subprocess.Popen[str]:
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return self._process
            if self._ended:
                raise CancelledError("the worker was ended")
            with disk_errors(self.log):
                self.log.parent.mkdir(parents=True, exist_ok=True)
                log = self.log.open("a", encoding="utf-8")
            with log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "vultus.steps.worker", str(self._folder / WORKERS_LOCK)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    encoding="utf-8",
                    env={**os.environ, **self._environment},
                )
            return self._process

    def _heard(
        self, answer: Mapping[str, Any], kind: str, advance: Callable[..., None]
    ) -> Mapping[str, Path] | None:
        """Act on one line of the worker; the outputs when it was the last."""
        if "advance" in answer:
            remembered = bool(answer.get("remembered", False))
            advance(answer["advance"], answer.get("note", ""), remembered=remembered)
        elif "outputs" in answer:
            outputs = {name: Path(path) for name, path in answer["outputs"].items()}
            return Made(outputs, answer["environment"])
        elif "fault" in answer:
            raise unpack_fault(answer["fault"])
        elif "crash" in answer:
            with self.log.open("a", encoding="utf-8") as log:
                log.write(answer["crash"])
            last = str(answer["crash"]).strip().splitlines()[-1]
            raise StepError(
                f"the step {kind!r} crashed: {last}",
                where=str(self.log),
                expected="no crash: this is a mistake of Vultus or of a library",
                next_command="run the same command again; if it crashes again, report the log",
            )
        return None

    def _gone(self, process: subprocess.Popen[str], kind: str) -> VultusError:
        try:
            code = process.wait(END_WITHIN_S)
        except (
            subprocess.TimeoutExpired
        ):  # it lives and speaks no sense: its next words could be anything
            process.kill()
            code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError, ValueError):
                    pipe.close()
        if self._ended:
            return CancelledError(f"the worker was ended during {kind!r}")
        # Lost, not failed: the step did not say no, so asking again simply makes it again.
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        hint = " (often: out of memory)" if code == -9 else ""
        return WorkerLostError(
            f"the worker doing {kind!r} died: {how}{hint}",
            where=str(self.log),
            next_command="run the same command again: it goes on from here",
        )


def _answer(process: subprocess.Popen[str]) -> dict[str, Any] | None:
    """The next thing a worker says; None when it died, was ended while it spoke, or speaks no sense."""
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        answer = json.loads(line) if line else None
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def order_message(order: Order, scratch: Path) -> dict[str, Any]:
    """An order as plain data, for a worker of any kind."""
    return {
        "kind": order.step.kind,
        "inputs": order.step.inputs,
        "files": {name: str(path) for name, path in order.files.items()},
        "hints": dict(order.hints),
        "scratch": str(scratch),
    }


__all__ = ["END_WITHIN_S", "QUIET", "WORKERS_LOCK", "WorkerProcess", "order_message"]
