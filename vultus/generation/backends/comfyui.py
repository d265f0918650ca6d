"""Rendering by a running ComfyUI: a graph per picture, under an id that the request determines.

    request -> graph -> id -> known already? (history, queue, file) -> else submit -> events -> picture

The id is a hash of the graph, so after a crash of either side the same call finds what was made,
waits for what is on its way, and asks again for what is gone. A queue does not survive the server;
files do, and theirs carry the id too.

Cost: one render in the queue and one behind it, so that the card never waits for us. Each change of
the strength lets ComfyUI patch the weights again (a minute for SDXL on a processor; on a card a
second): keep equal strengths together.

Notation
    rgb     one render      uint8 (height_px, width_px, 3)
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vultus.core.clock import Clock, SystemClock
from vultus.core.errors import NeighbourError, RenderError
from vultus.core.files import drafted
from vultus.core.keys import file_content_id
from vultus.core.registry import hint
from vultus.core.weights import require_lora
from vultus.generation.backends.comfyui_events import Events
from vultus.generation.backends.comfyui_graphs import (
    FOLDER,
    Graph,
    InstantId,
    prompt_id_of,
    sdxl_graph,
)
from vultus.generation.records import Progress, RenderRequest, RenderSpec, Rgb
from vultus.images.load import decode_picture
from vultus.jobs.comfyui_process import DEFAULT_PORT
from vultus.jobs.comfyui_server import ComfyServer
from vultus.jobs.settings import load_settings

__all__ = ["ComfyRenderer", "find_instantid", "open_renderer"]

AHEAD = 2
EVENT_WITHIN_S = 0.5
HISTORY_WITHIN_S = 10.0
TRIES = 3


@dataclass(frozen=True)
class _Asked:
    """One request on its way."""

    request: RenderRequest
    graph: Graph
    id: str


class ComfyRenderer:
    """A ComfyUI with this base among its checkpoints. `render` yields in the order of the requests."""

    def __init__(
        self,
        server: ComfyServer,
        checkpoint: str,
        mark: str,
        spec: RenderSpec,
        *,
        healthy_within_s: float = 300.0,
        instantid: InstantId | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._server = server
        self._checkpoint = checkpoint
        self._mark = mark
        self._spec = spec
        self._patience_s = healthy_within_s
        self._instantid = instantid
        self._clock: Clock = clock or SystemClock()
        self._client = "vultus-" + os.urandom(8).hex()
        self._events = Events(server.url, self._client)
        self._loras: dict[tuple[str, int, int], str] = {}
        self._open = True

    def render(
        self, requests: Sequence[RenderRequest], progress: Progress | None = None
    ) -> Iterator[Rgb]:
        """Render all requests, one after the other; what was made before is fetched, not made."""
        waiting: deque[_Asked] = deque()
        left = deque(requests)
        while left or waiting:
            if not self._open:
                raise RenderError("this renderer was closed", next_command="open it again")
            while left and len(waiting) < AHEAD:
                asked = self._asked(left.popleft())
                self._submit(asked)
                waiting.append(asked)
            rgb = self._picture(waiting.popleft(), progress)
            if progress:
                progress.advance(1)
            yield rgb

    def close(self) -> None:
        """Let go of the connection; the server keeps its models."""
        self._open = False
        self._events.close()

    def _asked(self, request: RenderRequest) -> _Asked:
        lora = ""
        if request.lora is not None and request.strength != 0.0:
            lora = self._lora_name(request.lora)
        graph = sdxl_graph(
            self._spec,
            self._checkpoint,
            request.prompt,
            request.seed,
            lora=lora,
            strength=request.strength,
            instantid=self._instantid,
            mark=self._mark,
        )
        return _Asked(request, graph, prompt_id_of(graph, self._mark))

    def _submit(self, asked: _Asked) -> None:
        """Put a request into the queue, unless it is there or was done."""
        for _ in range(TRIES):
            try:
                if self._is_known(asked):
                    return
                if not self._events.is_open:
                    self._events.open()
                self._server.forget(asked.id)  # a failure of an earlier life
                self._server.submit(asked.graph, asked.id, client_id=self._client)
                return
            except NeighbourError as fault:
                if self._server.is_healthy():
                    raise _refused(asked, fault) from fault
                self._wait_until_healthy(fault)
        raise _crashes(asked)

    def _is_known(self, asked: _Asked) -> bool:
        if asked.id in self._server.queue().ids or self._file(asked) is not None:
            return True
        told = self._server.history(asked.id)
        return told is not None and told["status"]["status_str"] == "success"

    def _picture(self, asked: _Asked, progress: Progress | None) -> Rgb:
        """Wait for a request and return its picture; ask again when the server lost it."""
        for attempt in range(TRIES):
            try:
                data = self._wait(asked, progress)
                if data is not None:
                    return decode_picture(data, Path(f"{asked.id}.png")).rgb
                if self._server.history(asked.id) is not None:
                    # Success from the cache, and the file that it names was removed since: under
                    # another name it is saved again.
                    self._server.forget(asked.id)
                    asked = _renamed(asked, attempt)
            except NeighbourError as fault:
                self._wait_until_healthy(fault)
            self._submit(asked)
        raise _crashes(asked)

    def _wait(self, asked: _Asked, progress: Progress | None) -> bytes | None:
        """Return the bytes once they are there, or None when the server knows nothing of it."""
        gone_s: float | None = None
        while True:
            data = self._file(asked)
            if data is not None:
                return data
            told = self._server.history(asked.id)
            if told is not None:
                return self._from_history(asked, told)
            if asked.id in self._server.queue().ids:
                gone_s = None
            elif gone_s is None:
                # Out of the queue and not yet in the history: that moment exists, so it gets time.
                gone_s = self._clock.monotonic()
            elif self._clock.monotonic() > gone_s + HISTORY_WITHIN_S:
                return None
            self._hear(asked, progress, 0.05 if gone_s is not None else EVENT_WITHIN_S)

    def _hear(self, asked: _Asked, progress: Progress | None, within_s: float) -> None:
        """Listen until something about the request's end is said, or for so long."""
        until_s = self._clock.monotonic() + within_s
        while (left_s := until_s - self._clock.monotonic()) > 0:
            if not self._events.is_open:
                self._clock.sleep(left_s)
                return
            event = self._events.next(left_s)
            data = event.get("data", {}) if event else {}
            if not event or data.get("prompt_id") != asked.id:
                continue
            if event["type"] == "progress" and progress:
                progress.advance(0, f"step {data.get('value')}/{data.get('max')}")
            if event["type"] in ("execution_error", "execution_interrupted"):
                return
            if event["type"] == "executing" and data.get("node") is None:
                return

    def _from_history(self, asked: _Asked, told: dict[str, Any]) -> bytes | None:
        status = told.get("status", {})
        if status.get("status_str") != "success":
            kinds = [row[0] for row in status.get("messages", []) if row]
            if "execution_interrupted" in kinds:
                raise RenderError(
                    "somebody interrupted it",
                    where=self._server.url,
                    expected="a ComfyUI that is left to render",
                    next_command="run the same command again: it goes on from here",
                )
            raise RenderError(
                f"ComfyUI failed at {asked.request.prompt!r}: {_reason(status)}",
                where=self._server.url,
                next_command="read ComfyUI's log",
            )
        for output in told.get("outputs", {}).values():
            for image in output.get("images", []):
                with suppress(NeighbourError):
                    return self._server.view(image)
        return None  # cached, and the old file was removed: it is asked for again

    def _file(self, asked: _Asked) -> bytes | None:
        """The picture under the name that only this request gives it, if it lies there whole."""
        name = {"filename": f"{asked.id}_00001_.png", "subfolder": FOLDER, "type": "output"}
        try:
            data = self._server.view(name)
        except NeighbourError as fault:
            if "404" in fault.what:
                return None
            raise
        # The server writes in place: a file without its end is one that it is still writing.
        return data if data.endswith(b"IEND\xaeB`\x82") else None

    def _wait_until_healthy(self, fault: NeighbourError) -> None:
        until_s = self._clock.monotonic() + self._patience_s
        self._events.close()
        while not self._server.is_healthy():
            if self._clock.monotonic() > until_s:
                raise RenderError(
                    f"ComfyUI is gone and did not come back within {self._patience_s:g} s",
                    where=self._server.url,
                    next_command="start it, then run the same command again: it goes on from here",
                ) from fault
            self._clock.sleep(0.5)

    def _lora_name(self, lora: Path) -> str:
        """The name under which the server sees this file: put there under its content's id."""
        stat = lora.stat()
        key = (str(lora.resolve()), stat.st_mtime_ns, stat.st_size)
        if key not in self._loras:
            require_lora(lora)
            name = f"vultus-{file_content_id(lora).removeprefix('sha256:')[:16]}.safetensors"
            if name not in (self._server.choices("LoraLoader", "lora_name") or []):
                self._place(lora, name)
            self._loras[key] = name
        return self._loras[key]

    def _place(self, lora: Path, name: str) -> None:
        folders = [Path(one) for one in self._server.model_folders("loras")]
        for folder in folders:
            if os.access(folder, os.W_OK):
                with drafted(folder, ".safetensors") as draft:
                    draft.write_bytes(lora.read_bytes())
                    draft.replace(folder / name)
                return
        raise RenderError(
            "ComfyUI cannot be given the LoRA: none of its loras folders can be written from here",
            where=", ".join(map(str, folders)) or self._server.url,
            expected="a ComfyUI on this machine",
            next_command=f"copy {lora} to its models/loras as {name}",
        )


def open_renderer(base: Path, spec: RenderSpec, device: str = "auto") -> ComfyRenderer:
    """Find the base among the checkpoints of the ComfyUI that the settings name.

    It is found by its file name; `device` is the server's own affair. Raises RenderError when the
    server does not have it, NeighbourError when it does not answer.
    """
    del device
    settings = load_settings().comfyui
    server = ComfyServer(settings.url or f"http://127.0.0.1:{DEFAULT_PORT}")
    server.stats()
    names = server.choices("CheckpointLoaderSimple", "ckpt_name") or []
    found = [name for name in names if Path(name).name == base.name]
    if not found:
        raise RenderError(
            f"ComfyUI has no checkpoint {base.name!r}{hint(base.name, names)}",
            where=server.url,
            expected=f"one of {', '.join(names)}" if names else "a checkpoint in its folder",
            next_command=f"ln -s {base} MODELS/checkpoints/ where MODELS is ComfyUI's models folder",
        )
    stat = base.stat()
    return ComfyRenderer(
        server,
        found[0],
        f"{stat.st_size} {stat.st_mtime_ns}",
        spec,
        healthy_within_s=settings.healthy_within_s,
    )


def find_instantid(server: ComfyServer) -> tuple[str, str] | None:
    """Return the names of InstantID's model and control net on a server that has its nodes."""
    if server.choices("ApplyInstantID", "weight") is None:
        return None
    models = server.choices("InstantIDModelLoader", "instantid_file") or []
    nets = server.choices("ControlNetLoader", "control_net_name") or []
    nets = [name for name in nets if "instantid" in name.lower()] or nets
    return (models[0], nets[0]) if models and nets else None


def _renamed(asked: _Asked, attempt: int) -> _Asked:
    inputs = {"filename_prefix": f"{FOLDER}/{asked.id}-{attempt + 2}"}
    picture = {**asked.graph["picture"], "inputs": {**asked.graph["picture"]["inputs"], **inputs}}
    return _Asked(asked.request, {**asked.graph, "picture": picture}, asked.id)


def _reason(status: dict[str, Any]) -> str:
    for event, data in status.get("messages", []):
        if event == "execution_error":
            return f"{data.get('node_type', 'a node')}: {data.get('exception_message', '')}".strip()
    return "no reason given"


def _refused(asked: _Asked, fault: NeighbourError) -> RenderError:
    return RenderError(
        f"ComfyUI {fault.what}",
        where=fault.where,
        expected=f"the graph of {asked.request.prompt!r}",
    )


def _crashes(asked: _Asked) -> RenderError:
    return RenderError(
        f"ComfyUI lost the render of {asked.request.prompt!r} {TRIES} times",
        expected="a server that finishes it (often: out of memory)",
        next_command="read ComfyUI's log",
    )
