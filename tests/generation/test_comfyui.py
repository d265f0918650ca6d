"""Rendering by a ComfyUI: the renderers' exam, and every trap of the server that a client can fall into."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vultus.core.errors import NeighbourError, RenderError
from vultus.generation.backends.comfyui import ComfyRenderer, find_instantid, open_renderer
from vultus.generation.backends.comfyui_events import Events, _split
from vultus.generation.backends.comfyui_graphs import InstantId, prompt_id_of, sdxl_graph
from vultus.generation.records import RenderRequest, RenderSpec, Rgb
from vultus.jobs.comfyui_process import capture, restart
from vultus.jobs.holders import port_owner
from vultus.testing.jobs import wait_until
from vultus.testing.neighbour import Neighbour, graph, neighbour
from vultus.testing.renderer import check_renderer
from vultus.training.fake import train
from vultus.training.records import TrainPicture, TrainSpec

SPEC = RenderSpec(steps=4, width_px=64, height_px=64)


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Neighbour]:
    monkeypatch.setenv("VULTUS_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    # the trap: for a moment after its success a prompt is in no history
    with neighbour(tmp_path, "--late-history-s", "0.1", "--instantid") as found:
        (tmp_path / "home" / "jobs.toml").write_text(f'[comfyui]\nurl = "{found.server.url}"\n')
        yield found


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    from vultus.generation.backends.fake import write_fake_base
    from vultus.images.write import save_png

    save_png(tmp_path / "p.png", np.zeros((64, 64, 3), np.uint8), xmp_ai=False)
    pictures = [TrainPicture(tmp_path / "p.png", "a photo", (64, 64))]
    base = write_fake_base(tmp_path / "fake base")
    done = train(TrainSpec(steps=4, checkpoints=1), base, pictures, tmp_path / "out", 1)
    return done.checkpoints[0].path


class Heard:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.done = 0.0
        self.notes: list[str] = []

    def advance(self, n: float = 1.0, note: str = "", *, remembered: bool = False) -> None:
        self.done += n
        if note:
            self.notes.append(note)


def base_of(one: Neighbour) -> Path:
    return one.base / "models" / "checkpoints" / "ada.safetensors"


def renders(renderer: ComfyRenderer, count: int = 3) -> list[Rgb]:
    return list(renderer.render([RenderRequest("photo", seed) for seed in range(count)]))


def test_the_exam_of_renderers(one: Neighbour, lora: Path) -> None:
    check_renderer(lambda spec: open_renderer(base_of(one), spec), lora)
    placed = [p.name for p in (one.base / "models" / "loras").glob("vultus-*.safetensors")]
    assert len(placed) == 1, "the LoRA was put there once, under its content's id"


def test_steps_are_heard_over_the_websocket(one: Neighbour) -> None:
    heard = Heard()
    renderer = open_renderer(base_of(one), RenderSpec(steps=30, width_px=64, height_px=64))
    assert len(list(renderer.render([RenderRequest("photo", 1)], heard))) == 1
    assert heard.done == 1 and len(heard.notes) >= 5
    assert all(note.startswith("step ") and note.endswith("/30") for note in heard.notes)


@pytest.mark.slow
def test_what_was_made_is_fetched_and_not_made_again(one: Neighbour) -> None:
    first = renders(open_renderer(base_of(one), SPEC))
    files = sorted((one.base / "output" / "vultus").glob("*.png"))
    again = renders(open_renderer(base_of(one), SPEC))
    assert len(files) == 3 and sorted((one.base / "output" / "vultus").glob("*.png")) == files
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.slow
def test_a_cached_success_with_a_file_that_is_gone_is_saved_again(one: Neighbour) -> None:
    """An identical prompt is answered at once with the old name, whether or not the file is there."""
    (before,) = renders(open_renderer(base_of(one), SPEC), 1)
    for path in (one.base / "output" / "vultus").glob("*.png"):
        path.unlink()
    (after,) = renders(open_renderer(base_of(one), SPEC), 1)
    assert np.array_equal(before, after)


@pytest.mark.slow
def test_it_goes_on_after_a_crash_of_the_server(one: Neighbour, tmp_path: Path) -> None:
    """Killed between two renders and brought back: its queue and history are gone, the rest is made."""
    expected = renders(open_renderer(base_of(one), SPEC), 6)
    for path in (one.base / "output" / "vultus").glob("*.png"):
        path.unlink()
    found = capture(one.server)
    os.kill(one.pid(), signal.SIGKILL)
    wait_gone(one)
    restart(found, healthy_within_s=60)
    renderer = open_renderer(base_of(one), SPEC)
    seen: list[Rgb] = []
    for rgb in renderer.render([RenderRequest("photo", seed) for seed in range(6)]):
        seen.append(rgb)
        if len(seen) == 2:
            os.kill(one.pid(), signal.SIGKILL)
            wait_gone(one)
            restart(found, healthy_within_s=60)
    assert len(seen) == 6
    assert all(np.array_equal(a, b) for a, b in zip(seen, expected, strict=True))


def wait_gone(one: Neighbour) -> None:
    wait_until(lambda: port_owner(one.server.port) is None)


@pytest.mark.slow
def test_a_server_that_dies_at_every_render_is_told(tmp_path: Path) -> None:
    with neighbour(tmp_path, "--crash-at", "1") as one:
        renderer = ComfyRenderer(one.server, "ada.safetensors", "", SPEC, healthy_within_s=0.5)
        with pytest.raises(RenderError, match="did not come back"):
            renders(renderer, 1)


def test_somebody_interrupts(one: Neighbour) -> None:
    slow = RenderSpec(steps=400, width_px=64, height_px=64)
    renderer = open_renderer(base_of(one), slow)

    class Interrupter(Heard):
        def advance(self, n: float = 1.0, note: str = "", *, remembered: bool = False) -> None:
            for prompt_id in one.server.queue().ids:
                one.server.interrupt(prompt_id)

    with pytest.raises(RenderError, match="somebody interrupted it"):
        list(renderer.render([RenderRequest("photo", 1)], Interrupter()))
    quick = open_renderer(base_of(one), slow)
    assert len(list(quick.render([RenderRequest("photo", 1)]))) == 1, "an old failure is forgotten"


def test_refusals_say_what_to_do(one: Neighbour, tmp_path: Path) -> None:
    absent = tmp_path / "eve.safetensors"
    absent.write_bytes(b"x")
    with pytest.raises(RenderError, match=r"no checkpoint 'eve.safetensors'") as caught:
        open_renderer(absent, SPEC)
    assert "ada.safetensors" in caught.value.expected
    renderer = ComfyRenderer(one.server, "gone.safetensors", "", SPEC)
    with pytest.raises(RenderError, match="Value not in list"):
        renders(renderer, 1)
    with pytest.raises(NeighbourError, match="invalid_prompt"):
        one.server.submit({"1": {"class_type": "NoSuchNode", "inputs": {}}}, "x")


def test_graphs() -> None:
    plain = sdxl_graph(SPEC, "a.safetensors", "photo", 7)
    assert "lora" not in plain and plain["negative"]["class_type"] == "ConditioningZeroOut"
    assert sdxl_graph(SPEC, "a.safetensors", "photo", 7, lora="l", strength=0.0) == plain
    with_lora = sdxl_graph(SPEC, "a.safetensors", "photo", 7, lora="l", strength=0.8)
    assert with_lora["sampler"]["inputs"]["model"] == ["lora", 0]
    assert with_lora["prompt"]["inputs"]["clip"] == ["lora", 1]
    ids = {prompt_id_of(one) for one in (plain, with_lora)}
    ids.add(prompt_id_of(plain, "another file"))
    assert len(ids) == 3 and prompt_id_of(plain) in ids
    assert plain["picture"]["inputs"]["filename_prefix"] == f"vultus/{prompt_id_of(plain)}"
    negative = RenderSpec(negative="blurry", scheduler="dpmpp_2m_karras")
    asked = sdxl_graph(negative, "a", "photo", 7)
    assert asked["negative"]["inputs"]["text"] == "blurry"
    assert asked["sampler"]["inputs"]["sampler_name"] == "dpmpp_2m"


@pytest.mark.slow
def test_instantid_where_the_server_has_it(one: Neighbour) -> None:
    names = find_instantid(one.server)
    assert names == ("ip-adapter.bin", "instantid.safetensors")
    image = one.server.upload("face.png", b"\x89PNG planted")
    assert (one.base / "input" / image).read_bytes() == b"\x89PNG planted"
    face = InstantId(image, *names)
    renderer = ComfyRenderer(one.server, "ada.safetensors", "", SPEC, instantid=face)
    (with_face,) = renders(renderer, 1)
    (without,) = renders(open_renderer(base_of(one), SPEC), 1)
    assert not np.array_equal(with_face, without)


def test_a_server_without_instantid(tmp_path: Path) -> None:
    with neighbour(tmp_path) as plain:
        assert find_instantid(plain.server) is None


@pytest.mark.slow
def test_frames_arrive_in_any_pieces(one: Neighbour) -> None:
    assert _split(b"") is None and _split(b"\x81\x7e\x00") is None
    assert _split(b"\x81\x02hi\x82\x00") == (1, b"hi", b"\x82\x00")
    long = b"\x81\x7e" + (300).to_bytes(2, "big") + b"x" * 300
    for cut in range(len(long)):
        assert _split(long[:cut]) is None
    assert _split(long) == (1, b"x" * 300, b"")
    huge = b"\x82\x7f" + (70000).to_bytes(8, "big") + b"x" * 70000 + b"rest"
    assert _split(huge) == (2, b"x" * 70000, b"rest")
    events = Events(one.server.url, "me")
    assert events.open() and events.next(5.0) is not None
    one.server.submit(graph("photo", steps=3), "mine", client_id="me")
    kinds = []
    while (event := events.next(5.0)) is not None:
        kinds.append(event["type"])
        if event["type"] == "executing" and event["data"]["node"] is None:
            break
    assert kinds.count("progress") == 3 and kinds[-1] == "executing"
    assert not Events("http://127.0.0.1:9", "me").open()
