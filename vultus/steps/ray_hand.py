"""What runs on a Ray worker: one hand that does one order after another and keeps what is dear to load.

It knows no ledger: outputs go back to the driver, which alone writes. Where the driver's disk is visible here (a
machine with several cards, a shared disk), the hand works in the step's own scratch folder, so that a killed
training goes on where it was. Elsewhere it works in a folder of its own and sends the outputs back in pieces; what
a killed training had saved there is lost with the machine.

Answers are streamed: {"advance": n, "note", "remembered"}, {"piece": [output, path inside, first, bytes]}, and last
{"outputs": {name: path or ""}, "environment": {...}} | {"fault": {...}} | {"crash": text}.
"""

from __future__ import annotations

import os
import queue
import shutil
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import vultus
from vultus.core.errors import VultusError
from vultus.core.locks import Lock
from vultus.steps.environment import here
from vultus.steps.parcels import Packer, Parcel, pieces, place_piece
from vultus.steps.table import Job, do
from vultus.steps.worker import pack_fault

Answer = dict[str, Any]


class RayHand:
    """One worker. Ray makes it an actor; without Ray it is a plain object, which is how most tests use it.

    `folder` is the ledger's folder at the driver's; `probe` a file in it with a word that only this run's has, by
    which a machine can tell that it sees the same disk.
    """

    def __init__(
        self, folder: str, probe: str, word: str, lock: str, environment: Mapping[str, str]
    ) -> None:
        os.environ.update(environment)  # before anything loads torch
        self._folder = Path(folder)
        self._shared = bool(word) and _reads(self._folder / probe) == word
        # As long as it lives, a later run can tell that this one is not gone (see steps/worker.py).
        self._lock = (
            Lock.take(self._folder / lock, blocking=True, shared=True) if self._shared else None
        )
        self._home = Path(tempfile.mkdtemp(prefix="vultus-ray-"))
        self._packer = Packer()
        self._thread = ThreadPoolExecutor(
            1
        )  # one thread for all orders: what is resident is not locked

    def about(self) -> dict[str, Any]:
        """Process, version, place, and whether the driver's disk is seen from here."""
        return {
            "pid": os.getpid(),
            "version": vultus.__version__,
            "shared": self._shared,
            "environment": here(),
        }

    def lacks(self, parcels: Sequence[Parcel]) -> list[str]:
        """Digests of the parcels that must be sent."""
        return [parcel.digest for parcel in parcels if self._found(parcel) is None]

    def receive(self, digest: str, name: str, first: bool, data: bytes, last: bool) -> None:
        """Take one piece of a parcel; with the last one it may be used."""
        draft = self._home / "incoming" / digest
        if not last:
            place_piece(draft, name, first, data)
            return
        target = self._home / "parcels" / digest
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.rename(target)

    def perform(self, order: Mapping[str, Any], parcels: Mapping[str, Parcel]) -> Iterator[Answer]:
        """Do one order and stream the answers."""
        answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        done = self._thread.submit(self._work, order, parcels, answers)
        while (answer := answers.get()) is not None:
            yield answer
        scratch, outputs = done.result()
        if not outputs:
            return
        if not self._shared:
            for name, path in outputs["outputs"].items():
                for inside, first, data in pieces(Path(path)):
                    yield {"piece": [name, inside, first, data]}
            outputs["outputs"] = {
                name: str(Path(path).resolve().relative_to(scratch.resolve()))
                for name, path in outputs["outputs"].items()
            }
            shutil.rmtree(scratch, ignore_errors=True)
        yield outputs

    def _work(
        self,
        order: Mapping[str, Any],
        parcels: Mapping[str, Parcel],
        answers: queue.SimpleQueue[Answer | None],
    ) -> tuple[Path, Answer]:
        def advance(n: float = 1, note: str = "", *, remembered: bool = False) -> None:
            answers.put({"advance": n, "note": note, "remembered": remembered})

        scratch = Path(order["scratch"]) if self._shared else self._home / "scratch"
        try:
            scratch.mkdir(parents=True, exist_ok=True)
            files = {name: Path(path) for name, path in order["files"].items()}
            files |= {name: found for name, p in parcels.items() if (found := self._found(p))}
            job = Job(
                kind=str(order["kind"]),
                inputs=order["inputs"],
                files=files,
                hints=order["hints"],
                scratch=scratch,
                advance=advance,
            )
            outputs = {name: str(path) for name, path in do(job).items()}
            return scratch, {"outputs": outputs, "environment": here()}
        except VultusError as fault:
            answers.put({"fault": pack_fault(fault)})
        except Exception:  # noqa: BLE001  told whole to the driver, which names the log; the hand lives on
            answers.put({"crash": traceback.format_exc()})
        finally:
            answers.put(None)
        return scratch, {}

    def _found(self, parcel: Parcel) -> Path | None:
        """Where a parcel lies on this machine: under its own path, or as it was sent."""
        sent = self._home / "parcels" / parcel.digest
        if sent.exists():
            return sent
        mine = self._packer.pack(Path(parcel.path)) if self._home_has(parcel) else None
        return Path(parcel.path) if mine is not None and mine.digest == parcel.digest else None

    def _home_has(self, parcel: Parcel) -> bool:
        """Whether hashing is worth its while: the sizes agree."""
        root = Path(parcel.path)
        try:
            return all((root / name).stat().st_size == size for name, _, size in parcel.rows)
        except OSError:
            return False


def _reads(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


__all__ = ["RayHand"]
