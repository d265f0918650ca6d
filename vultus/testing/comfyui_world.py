"""What a fake ComfyUI does with prompts: validates, queues, executes, remembers, caches.

It follows v0.3.64 in everything that a client can see, the traps included; pictures are planted
noise that depends on what the graph says (checkpoint, prompt, seed, LoRA, strength) and nothing
else. Its memory lies on a planted card (`vultus.jobs.fake_cards`), a residue stays after /free.
"""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vultus.core.keys import canonical, content_id
from vultus.core.seeds import stream
from vultus.jobs import fake_cards

__all__ = ["INSTANTID_NODES", "Options", "World"]

INSTANTID_NODES = ("InstantIDModelLoader", "InstantIDFaceAnalysis", "ApplyInstantID")
NODES = (
    "CheckpointLoaderSimple",
    "LoraLoader",
    "CLIPTextEncode",
    "ConditioningZeroOut",
    "EmptyLatentImage",
    "KSampler",
    "VAEDecode",
    "SaveImage",
    "LoadImage",
    "ControlNetLoader",
)
Prompt = Mapping[str, Any]
Send = Callable[[str, str, Mapping[str, Any]], None]


@dataclass
class Options:
    """How this fake behaves; its command line sets it."""

    base: Path
    step_s: float = 0.002
    late_history_s: float = 0.0
    """how long after `execution_success` the history is still empty"""
    crash_at: int = 0
    """end without a word in the middle of this prompt (counted from 1)"""
    hold_bytes: int = 0
    residue_bytes: int = 0
    card_folder: Path | None = None
    card_uuid: str = ""
    instantid: bool = False


@dataclass
class World:
    """The state of one server. `send(client, event, data)` reaches a websocket."""

    options: Options
    send: Send = lambda client, event, data: None
    pending: list[list[Any]] = field(default_factory=list)
    running: list[list[Any]] = field(default_factory=list)
    history: dict[str, Any] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    executed: int = 0
    _number: int = 0
    _interrupted: bool = False
    _cache: dict[str, Any] = field(default_factory=dict)
    _wake: threading.Condition = field(default_factory=threading.Condition)

    def start(self) -> None:
        """Begin to work; the models lie on the card from now on."""
        for name in ("output/vultus", "input", "models/checkpoints", "models/loras"):
            (self.options.base / name).mkdir(parents=True, exist_ok=True)
        self._hold(self.options.hold_bytes)
        threading.Thread(target=self._work, daemon=True).start()

    def nodes(self) -> tuple[str, ...]:
        """Return the node classes of this server."""
        return (*NODES, *(INSTANTID_NODES if self.options.instantid else ()))

    def names(self, kind: str) -> list[str]:
        """Return the model files of a folder."""
        folder = self.options.base / "models" / kind
        return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())

    def submit(self, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Take a prompt in, or say why not, in the server's own form."""
        if "prompt" not in body:
            return 400, _refused("no_prompt", "No prompt provided")
        prompt = body["prompt"]
        faults = self._faults(prompt)
        if faults:
            kind, node_errors = faults
            told = _refused(kind, "Prompt outputs failed validation" if node_errors else kind)
            return 400, {**told, "node_errors": node_errors}
        prompt_id = str(body.get("prompt_id") or os.urandom(16).hex())
        extra = dict(body.get("extra_data") or {})
        if "client_id" in body:
            extra["client_id"] = body["client_id"]
        with self._wake:
            number = self._number
            self._number += 1
            outputs = [n for n, row in prompt.items() if row["class_type"] == "SaveImage"]
            # like the real one, it does not notice an id that it has had before
            self.pending.append([number, prompt_id, prompt, extra, outputs])
            self._wake.notify_all()
        return 200, {"prompt_id": prompt_id, "number": number, "node_errors": {}}

    def interrupt(self, prompt_id: str | None) -> None:
        """Ask for the end of what runs; it comes between two steps."""
        with self._wake:
            if prompt_id is None or any(e[1] == prompt_id for e in self.running):
                self._interrupted = True

    def clear(self) -> None:
        """Drop what waits."""
        with self._wake:
            self.pending.clear()

    def delete(self, ids: list[str]) -> None:
        """Drop these from what waits."""
        with self._wake:
            self.pending[:] = [entry for entry in self.pending if entry[1] not in ids]

    def set_flags(self, names: set[str]) -> None:
        """Note what to free; done after the current prompt."""
        with self._wake:
            self.flags |= names
            self._wake.notify_all()

    # -- execution --------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self.pending and not self.flags:
                    self._wake.wait()
                entry = self.pending.pop(0) if self.pending else None
                if entry is not None:
                    self.running.append(entry)
                    self._interrupted = False
            if entry is not None:
                self._execute(entry)
            with self._wake:
                flags, self.flags = self.flags, set()
            if flags:
                self._cache.clear()
                self._hold(self.options.residue_bytes)  # the context, and what nodes kept

    def _execute(self, entry: list[Any]) -> None:
        _, prompt_id, prompt, extra, outputs = entry
        client = str(extra.get("client_id", ""))
        self.executed += 1
        self._hold(self.options.hold_bytes)
        self._event(client, "execution_start", prompt_id)
        made: dict[str, Any] = {}
        state = "success"
        messages: list[Any] = [["execution_start", _stamped(prompt_id)]]
        for node in outputs:
            signature = canonical(_ancestry(prompt, node))
            if signature in self._cache:
                # the old file name: nothing was made for this prompt
                self._event(client, "execution_cached", prompt_id, nodes=[node])
                made[node] = self._cache[signature]
                told = {"node": node, "display_node": node, "output": made[node]}
                self.send(client, "executed", {**told, "prompt_id": prompt_id})
                continue
            if not self._sample(prompt, prompt_id, client):
                state = "error"
                messages.append(["execution_interrupted", _stamped(prompt_id)])
                break
            made[node] = self._cache[signature] = self._save(prompt, node)
            told = {"node": node, "display_node": node, "output": made[node]}
            self.send(client, "executed", {**told, "prompt_id": prompt_id})
        event = "execution_success" if state == "success" else "execution_interrupted"
        self._event(client, event, prompt_id)
        time.sleep(self.options.late_history_s)
        with self._wake:
            self.running.remove(entry)
            self.history[prompt_id] = {
                "prompt": entry,
                "outputs": made,
                "status": {
                    "status_str": state,
                    "completed": state == "success",
                    "messages": messages,
                },
                "meta": {},
            }
        if client:
            self.send(client, "executing", {"node": None, "prompt_id": prompt_id})

    def _event(self, client: str, event: str, prompt_id: str, **more: Any) -> None:
        self.send(client, event, {**_stamped(prompt_id), **more})

    def _sample(self, prompt: Prompt, prompt_id: str, client: str) -> bool:
        node, sampler = _node(prompt, "KSampler")
        steps = int(sampler["steps"])
        for step in range(1, steps + 1):
            time.sleep(self.options.step_s)
            if self.options.crash_at == self.executed and step > steps // 2:
                os._exit(70)
            if self._interrupted:
                return False
            told = {"value": step, "max": steps, "node": node, "prompt_id": prompt_id}
            self.send(client, "progress", told)
            if step == 1:
                about = {"node": node, "display_node": node, "prompt_id": prompt_id}
                self.send(client, "executing", about)
        return True

    def _save(self, prompt: Prompt, node: str) -> dict[str, Any]:
        from PIL import Image

        prefix = str(prompt[node]["inputs"]["filename_prefix"])
        folder = self.options.base / "output" / Path(prefix).parent
        folder.mkdir(parents=True, exist_ok=True)
        stem = Path(prefix).name
        count = len(list(folder.glob(f"{stem}_*_.png"))) + 1
        name = f"{stem}_{count:05}_.png"
        buffer = io.BytesIO()
        Image.fromarray(_drawn(prompt)).save(buffer, "PNG")
        (folder / name).write_bytes(buffer.getvalue())
        sub = Path(prefix).parent.as_posix()
        return {
            "images": [{"filename": name, "subfolder": "" if sub == "." else sub, "type": "output"}]
        }

    def _hold(self, held_bytes: int) -> None:
        if self.options.card_folder is not None:
            fake_cards.hold(self.options.card_folder, self.options.card_uuid, held_bytes)

    def _faults(self, prompt: Any) -> tuple[str, dict[str, Any]] | None:
        if not isinstance(prompt, dict) or not prompt:
            return "prompt_no_outputs", {}
        errors: dict[str, Any] = {}
        for node, row in prompt.items():
            kind = row.get("class_type")
            if kind not in self.nodes():
                return "invalid_prompt", {}
            for name, folder in (("ckpt_name", "checkpoints"), ("lora_name", "loras")):
                value = row.get("inputs", {}).get(name)
                if value is not None and value not in self.names(folder):
                    errors[node] = {
                        "errors": [
                            {
                                "type": "value_not_in_list",
                                "message": "Value not in list",
                                "details": f"{name}: '{value}' not in {self.names(folder)}",
                            }
                        ],
                        "dependent_outputs": [],
                        "class_type": kind,
                    }
        return ("prompt_outputs_failed_validation", errors) if errors else None


def _stamped(prompt_id: str) -> dict[str, Any]:
    return {"prompt_id": prompt_id, "timestamp": int(time.time() * 1000)}


def _refused(kind: str, message: str) -> dict[str, Any]:
    error = {"type": kind, "message": message, "details": "", "extra_info": {}}
    return {"error": error, "node_errors": {}}


def _node(prompt: Prompt, kind: str) -> tuple[str, Mapping[str, Any]]:
    for node, row in prompt.items():
        if row["class_type"] == kind:
            return node, row["inputs"]
    return "", {}


def _ancestry(prompt: Prompt, node: str) -> Any:
    """A node with everything it is made from, links followed."""
    row = prompt[node]
    inputs = {
        name: _ancestry(prompt, value[0]) if _is_link(value, prompt) else value
        for name, value in row["inputs"].items()
    }
    return {"class_type": row["class_type"], "inputs": inputs}


def _is_link(value: Any, prompt: Prompt) -> bool:
    return isinstance(value, list) and len(value) == 2 and value[0] in prompt


def _drawn(prompt: Prompt) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Planted noise: equal graphs give equal pictures, and every part of a graph matters."""
    sampler, _ = _node(prompt, "KSampler")
    _, latent = _node(prompt, "EmptyLatentImage")
    about = content_id(canonical(_ancestry(prompt, sampler)).encode())
    shape = (int(latent["height"]), int(latent["width"]), 3)
    return stream("fake comfyui", about).integers(0, 256, shape, dtype=np.uint8)
