"""Asks a running ComfyUI everything that Vultus asks one, and writes down what it answered.

    python -m bench.jobs.record_comfyui --url http://127.0.0.1:8188

The record (tests/jobs/comfyui-recorded.json) is what the fake server of the tests is compared with.
No model is needed: the prompts make a plain picture (EmptyImage -> SaveImage). Values that differ
from machine to machine (paths, sizes, times) are replaced by their kind.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from vultus.core.errors import NeighbourError
from vultus.core.files import write_json
from vultus.generation.backends.comfyui_events import Events
from vultus.jobs.comfyui_server import ComfyServer

RECORD = Path(__file__).resolve().parents[2] / "tests" / "jobs" / "comfyui-recorded.json"


def picture(prefix: str, side: int = 64, count: int = 1) -> dict[str, Any]:
    """Return a graph without a model; `count` pictures of one colour."""
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": side, "height": side, "batch_size": count, "color": 255},
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }


def kinds(value: Any, depth: int = 0) -> Any:
    """Replace values by their kind, keep keys; short texts stay, paths do not."""
    if isinstance(value, dict):
        return {key: kinds(one, depth + 1) for key, one in sorted(value.items())}
    if isinstance(value, list):
        return [kinds(one, depth + 1) for one in value[:6]]
    if isinstance(value, str):
        return value if len(value) < 60 and "/" not in value else "text"
    return type(value).__name__


def run_prompt(
    server: ComfyServer, events: Events, client: str, graph: dict[str, Any], prompt_id: str
) -> dict[str, Any]:
    """Submit a prompt, listen to its end, and return the events and the history."""
    server.submit(graph, prompt_id, client_id=client)
    heard = []
    polled = []
    until_s = time.monotonic() + 120
    while time.monotonic() < until_s:
        event = events.next(2.0)
        if event is None:
            continue
        heard.append(event)
        data = event.get("data", {})
        if event["type"] in ("execution_success", "execution_error", "execution_interrupted"):
            polled.append(server.history(prompt_id) is not None)
        if event["type"] == "executing" and data.get("node") is None:
            break
    history = server.history(prompt_id)
    return {
        "events": [kinds(event) for event in heard],
        "history_there_right_after_success": polled,
        "history": kinds(history),
        "images": (history or {}).get("outputs", {}).get("2", {}).get("images", []),
    }


def refused(server: ComfyServer, graph: dict[str, Any]) -> str:
    """Return the server's words for a graph that it does not take."""
    try:
        server.submit(graph, "refused-1")
    except NeighbourError as fault:
        return fault.what
    return "was taken"


def main() -> None:
    """Ask, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8188")
    parser.add_argument("--out", type=Path, default=RECORD)
    args = parser.parse_args()
    server = ComfyServer(args.url)
    client = "vultus-record"
    events = Events(args.url, client)
    assert events.open(), "no websocket"
    first = events.next(5.0)
    stats = server.stats()
    mark = f"vultus/record-{int(time.time())}"
    wrong_kind = {"1": {"class_type": "NoSuchNode", "inputs": {}}}
    wrong_name = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "none.safetensors"}},
        "2": {
            "class_type": "VAEDecode",
            "inputs": {"samples": ["1", 0], "vae": ["1", 2]},
        },
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    }
    record = {
        "version": stats["system"]["comfyui_version"],
        "system_stats": kinds(stats),
        "argv_begins_with": stats["system"]["argv"][:2],
        "queue": kinds(server._json("GET", "/queue")),
        "first_event": kinds(first),
        "prompt": run_prompt(server, events, client, picture(mark), "record-1"),
        "same_prompt_again": run_prompt(server, events, client, picture(mark), "record-2"),
        "other_name": run_prompt(server, events, client, picture(mark + "b"), "record-3"),
        "unknown_node": refused(server, wrong_kind),
        "unknown_checkpoint": refused(server, wrong_name),
        "history_of_unknown": server.history("nobody"),
        "free": kinds(server._json("POST", "/free", {"unload_models": True, "free_memory": True})),
        "interrupt_of_nothing": kinds(server._json("POST", "/interrupt", {"prompt_id": "nobody"})),
        "lora_names": server.choices("LoraLoader", "lora_name"),
        "instantid": server.choices("ApplyInstantID", "weight"),
        "loras_folders_told": len(server.model_folders("loras")),
    }
    images = record["prompt"]["images"]
    data = server.view(images[0])
    record["view"] = {"begins": data[:4].hex(), "ends": data[-8:].hex()}
    upload = server.upload("vultus-record.png", data)
    record["upload"] = upload
    server.forget("record-1")
    record["history_after_forgetting"] = server.history("record-1")
    write_json(args.out, record)
    print(json.dumps(record, indent=1)[:6000])


if __name__ == "__main__":
    main()
