"""A fake ComfyUI as a process beside a planted card, for tests and drills of the hand-over."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vultus.jobs import fake_cards
from vultus.jobs.comfyui_server import ComfyServer
from vultus.jobs.holders import port_owner
from vultus.jobs.processes import identify, send
from vultus.testing.jobs import SOURCE, wait_until

__all__ = [
    "GIB",
    "HELD",
    "RESIDUE",
    "TOTAL",
    "Neighbour",
    "command",
    "free_port",
    "graph",
    "neighbour",
]

GIB = 2**30
TOTAL = 24 * GIB
HELD = 8 * GIB
RESIDUE = GIB


@dataclass
class Neighbour:
    """One fake server and its card."""

    server: ComfyServer
    cards: Path
    uuid: str
    base: Path
    argv: list[str]

    def pid(self) -> int:
        pid = port_owner(self.server.port)
        assert pid is not None
        return pid

    def free_bytes(self) -> int:
        return fake_cards.FakeProbe(self.cards).free_bytes(self.uuid)

    def command_line(self) -> bytes:
        return Path(f"/proc/{self.pid()}/cmdline").read_bytes()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def command(folder: Path, port: int, uuid: str, *more: str) -> list[str]:
    """The command line of a fake ComfyUI."""
    return [
        *(sys.executable, "-m", "vultus.testing.comfyui_server"),
        *("--port", str(port), "--base-directory", str(folder / "comfy base")),
        *("--hold-bytes", str(HELD), "--residue-bytes", str(RESIDUE)),
        *("--card", f"{folder / 'cards'}:{uuid}"),
        *more,
    ]


@contextmanager
def neighbour(folder: Path, *more: str) -> Iterator[Neighbour]:
    """Plant a card of 24 GiB, start a fake ComfyUI that holds 8 of them, and end it afterwards."""
    (uuid,) = fake_cards.plant_cards(folder / "cards", [TOTAL])
    port = free_port()
    argv = command(folder, port, uuid, *more)
    with (folder / "comfy.log").open("ab") as log:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            start_new_session=True,
        )
    server = ComfyServer(f"http://127.0.0.1:{port}")
    found = Neighbour(server, folder / "cards", uuid, folder / "comfy base", argv)
    try:
        wait_until(server.is_healthy, (folder / "comfy.log").read_text())
        for name in ("checkpoints/ada.safetensors", "loras/ada.safetensors"):
            (found.base / "models" / name).write_bytes(b"planted")
        yield found
    finally:
        child.kill()
        child.wait()
        pid = port_owner(port)
        process = identify(pid) if pid else None
        if process is not None:
            with suppress(OSError):
                send(process, signal.SIGKILL)


def graph(prompt: str, steps: int = 4, seed: int = 1) -> dict[str, object]:
    """A graph that the fake server takes."""
    from vultus.generation.backends.comfyui_graphs import sdxl_graph
    from vultus.generation.records import RenderSpec

    spec = RenderSpec(steps=steps, width_px=64, height_px=64)
    return dict(sdxl_graph(spec, "ada.safetensors", prompt, seed))
