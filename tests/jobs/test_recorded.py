"""The fake ComfyUI answers with the shapes of the real one, as `bench.jobs.record_comfyui` recorded them.

Recorded on 2026-11-22 from ComfyUI 0.3.64 (commit a125cd84) on a processor, run as a process of its
own, without any model: the prompts made plain pictures (EmptyImage -> SaveImage).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vultus.generation.backends.comfyui_events import Events
from vultus.testing.neighbour import Neighbour, graph, neighbour

RECORD = json.loads((Path(__file__).parent / "comfyui-recorded.json").read_text("utf-8"))

NOT_SENT = {"progress_state"}
"""What the real one sends and no client of ours reads."""


def played(one: Neighbour, prompt_id: str) -> list[dict[str, Any]]:
    events = Events(one.server.url, "me")
    assert events.open()
    one.server.submit(graph("photo"), prompt_id, client_id="me")
    heard = []
    while (event := events.next(10.0)) is not None:
        heard.append(event)
        if event["type"] == "executing" and event["data"]["node"] is None:
            break
    events.close()
    return heard


def keys_by_type(events: list[dict[str, Any]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for event in events:
        found.setdefault(event["type"], set()).update(event["data"])
    return found


def test_the_record_shows_the_traps() -> None:
    first, again, other = (RECORD[name] for name in ("prompt", "same_prompt_again", "other_name"))
    assert again["images"] == first["images"], "an identical prompt is answered with the old file"
    assert other["images"] != first["images"], "another name of the file is enough to have it saved"
    assert RECORD["argv_begins_with"][0] == "main.py", "its argv is not the command line"
    assert RECORD["history_of_unknown"] is None and RECORD["history_after_forgetting"] is None
    assert RECORD["view"]["ends"].endswith("49454e44ae426082"), "the end of a whole PNG"
    assert RECORD["instantid"] is None and RECORD["loras_folders_told"] >= 1


def test_the_fake_has_the_shapes_of_the_real_one(tmp_path: Path) -> None:
    with neighbour(tmp_path) as one:
        stats = one.server.stats()
        assert set(stats["system"]) == set(RECORD["system_stats"]["system"])
        assert set(stats["devices"][0]) == set(RECORD["system_stats"]["devices"][0])
        assert stats["system"]["argv"][0] == "main.py"

        heard = keys_by_type(played(one, "first"))
        real = keys_by_type(RECORD["prompt"]["events"])
        compared = 0
        for name in set(real) - NOT_SENT - {"execution_cached"}:
            # a field that only a running node has (display_node) is not in the last `executing`
            assert heard.get(name, set()) >= real[name] or name == "status", (name, heard)
            compared += 1
        assert compared >= 5
        history = one.server.history("first")
        recorded = RECORD["prompt"]["history"]
        assert history is not None and set(history) == set(recorded)
        assert set(history["status"]) == set(recorded["status"])
        assert len(history["prompt"]) == len(recorded["prompt"]) == 5

        again = keys_by_type(played(one, "second"))
        assert again["execution_cached"] >= {"nodes", "prompt_id", "timestamp"}
        second = one.server.history("second")
        assert second is not None and second["outputs"] == history["outputs"]
        assert one.server.history("nobody") is None
        one.server.forget("second")
        assert one.server.history("second") is None


def test_refusals_have_the_words_of_the_real_one(tmp_path: Path) -> None:
    from vultus.core.errors import NeighbourError

    with neighbour(tmp_path) as one:
        told = {}
        wrong = graph("photo")
        wrong["base"]["inputs"]["ckpt_name"] = "none.safetensors"  # type: ignore[index]
        for name, asked in (
            ("unknown_node", {"1": {"class_type": "NoSuchNode", "inputs": {}}}),
            ("unknown_checkpoint", wrong),
        ):
            try:
                one.server.submit(asked, "x")
            except NeighbourError as fault:
                told[name] = fault.what
        assert len(told) == 2
        for name, text in told.items():
            kind = RECORD[name].split(": ")[1]
            assert text.startswith(f"refused: {kind}"), (text, RECORD[name])
        assert (
            "Value not in list ckpt_name: 'none.safetensors' not in" in told["unknown_checkpoint"]
        )
