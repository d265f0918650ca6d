"""What a ComfyUI answers over HTTP: the few routes that are needed, with their traps told.

Facts are of v0.3.64. Notation: a prompt is {node id: {"class_type", "inputs"}}; its `prompt_id` is
chosen by the client, so that a submission can be checked after a crash (the server does not
recognise one that it has had before).

* `free` only sets flags and answers 200 at once; what it frees is done after the current prompt,
  and 1-2 GB may stay. It is a hint, never the proof.
* `history` is empty for a moment after a prompt has succeeded, and is gone after a restart.
* `interrupt` acts between two sampler steps only.
* `system_stats` tells `sys.argv`, which is not the command line of the process.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vultus.core.errors import NeighbourError

__all__ = ["ComfyServer", "Queue"]

MOST_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Queue:
    """What a server has to do: each entry is [number, prompt_id, prompt, extra_data, outputs]."""

    running: tuple[Any, ...]
    pending: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.running) + len(self.pending)

    @property
    def ids(self) -> list[str]:
        """Ids of all prompts, the running ones first."""
        return [str(entry[1]) for entry in (*self.running, *self.pending)]


class ComfyServer:
    """One server. Every method raises NeighbourError when it does not answer as it should."""

    def __init__(self, url: str, *, timeout_s: float = 20.0) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        # Its own opener: a proxy of the environment is not for a neighbour on this machine.
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    @property
    def port(self) -> int:
        """The TCP port."""
        return urllib.parse.urlsplit(self.url).port or 80

    def stats(self) -> dict[str, Any]:
        """Return /system_stats; a server that is no ComfyUI is refused."""
        found = self._json("GET", "/system_stats")
        system = found.get("system") if isinstance(found, dict) else None
        if not isinstance(system, dict) or "comfyui_version" not in system:
            raise NeighbourError(
                "answers, but is no ComfyUI", where=self.url, expected="/system_stats of a ComfyUI"
            )
        return dict(found)

    def argv(self) -> list[str]:
        """Return the server's `sys.argv`."""
        return [str(word) for word in self.stats()["system"].get("argv", [])]

    def is_healthy(self) -> bool:
        """Say whether it answers as a ComfyUI."""
        try:
            self.stats()
        except NeighbourError:
            return False
        return True

    def queue(self) -> Queue:
        """Return what it has to do."""
        found = self._json("GET", "/queue")
        return Queue(tuple(found["queue_running"]), tuple(found["queue_pending"]))

    def submit(
        self,
        prompt: Mapping[str, Any],
        prompt_id: str,
        *,
        client_id: str = "",
        extra_data: Mapping[str, Any] | None = None,
    ) -> None:
        """Put a prompt into the queue. Raises NeighbourError with the server's own reasons."""
        body: dict[str, Any] = {"prompt": prompt, "prompt_id": prompt_id}
        if client_id:
            body["client_id"] = client_id
        if extra_data:
            body["extra_data"] = dict(extra_data)
        self._json("POST", "/prompt", body)

    def history(self, prompt_id: str) -> dict[str, Any] | None:
        """Return what became of a prompt, or None while (or where) it is not known."""
        found = self._json("GET", f"/history/{urllib.parse.quote(prompt_id)}")
        entry = found.get(prompt_id) if isinstance(found, dict) else None
        return dict(entry) if isinstance(entry, dict) else None

    def forget(self, prompt_id: str) -> None:
        """Drop what became of a prompt, so that an old outcome is not taken for a new one."""
        self._json("POST", "/history", {"delete": [prompt_id]})

    def interrupt(self, prompt_id: str) -> None:
        """Ask for the end of a running prompt; it comes at its next sampler step."""
        self._json("POST", "/interrupt", {"prompt_id": prompt_id})

    def clear_queue(self) -> None:
        """Drop what waits; what runs goes on."""
        self._json("POST", "/queue", {"clear": True})

    def delete(self, prompt_ids: list[str]) -> None:
        """Drop these from what waits."""
        self._json("POST", "/queue", {"delete": prompt_ids})

    def free(self) -> None:
        """Hint that models may be unloaded; proves nothing."""
        self._json("POST", "/free", {"unload_models": True, "free_memory": True})

    def choices(self, node: str, field: str) -> list[str] | None:
        """Return what a node's input may be (e.g. its checkpoints), or None without such a node."""
        found = self._json("GET", f"/object_info/{urllib.parse.quote(node)}")
        info = found.get(node) if isinstance(found, dict) else None
        if not isinstance(info, dict):
            return None
        for group in ("required", "optional"):
            row = info.get("input", {}).get(group, {}).get(field)
            if row and isinstance(row[0], list):
                return [str(one) for one in row[0]]
            if row and isinstance(row[0], str) and len(row) > 1 and "options" in row[1]:
                return [str(one) for one in row[1]["options"]]  # the newer form of a list
        return []

    def view(self, image: Mapping[str, Any]) -> bytes:
        """Return the bytes of a picture that a prompt gave."""
        words = {name: str(image.get(name, "")) for name in ("filename", "subfolder", "type")}
        return self._bytes("GET", "/view?" + urllib.parse.urlencode(words))

    def model_folders(self, kind: str) -> list[str]:
        """Return where it looks for a kind of model ("loras"), or nothing where it does not tell."""
        try:
            found = self._json("GET", "/internal/folder_paths")
        except NeighbourError:
            return []  # not a route to depend upon, says its source
        return [str(one) for one in found.get(kind, [])] if isinstance(found, dict) else []

    def upload(self, name: str, data: bytes) -> str:
        """Give the server a picture to read; return the name it has there."""
        mark = "vultus" + os.urandom(8).hex()
        head = f'--{mark}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        body = head.encode() + b"Content-Type: image/png\r\n\r\n" + data
        body += f"\r\n--{mark}--\r\n".encode()
        answer = json.loads(
            self._bytes("POST", "/upload/image", body, f"multipart/form-data; boundary={mark}")
        )
        return str(answer["name"])

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        raw = None if body is None else json.dumps(body).encode()
        data = self._bytes(method, path, raw)
        if not data.strip():
            return {}
        try:
            return json.loads(data)
        except ValueError as fault:
            raise NeighbourError(
                f"answers something that is not JSON to {path}", where=self.url
            ) from fault

    def _bytes(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> bytes:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=body,
            headers={"Content-Type": kind} if body is not None else {},
        )
        try:
            with self._open(request, timeout=self._timeout_s) as answer:
                data: bytes = answer.read(MOST_BYTES)
                return data
        except urllib.error.HTTPError as refusal:
            raise NeighbourError(
                _refusal(refusal), where=f"{self.url}{path.partition('?')[0]}"
            ) from refusal
        except (OSError, http.client.HTTPException) as fault:
            raise NeighbourError(
                f"does not answer: {getattr(fault, 'reason', fault)}",
                where=self.url,
                expected="a running ComfyUI",
                next_command="start ComfyUI, or set comfyui.url in jobs.toml",
            ) from fault


def _refusal(answer: urllib.error.HTTPError) -> str:
    """The reason in the server's words: its error, then those of its nodes."""
    try:
        told = json.loads(answer.read(1 << 20))
        error = told["error"]
        text = f"refused: {error['type']}: {error['message']} {error.get('details', '')}".strip()
        for node, faults in (told.get("node_errors") or {}).items():
            for fault in faults.get("errors", []):
                text += f"; node {node}: {fault.get('message', '')} {fault.get('details', '')}"
        return text.rstrip()
    except (ValueError, KeyError, TypeError, OSError):
        return f"refused with {answer.code} {answer.reason}"
