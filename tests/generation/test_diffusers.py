"""The resident renderer: exact at strength 0, honest about LoRAs, blind to its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.generation.conftest import write_random_lora
from vultus.core.errors import RenderError, WeightsError
from vultus.core.weights import write_weights
from vultus.generation.backends import adapters, merging
from vultus.generation.backends.diffusers_backend import DiffusersRenderer, open_renderer
from vultus.generation.records import RenderRequest, RenderSpec, Rgb
from vultus.training.lora_tools import convert_lora

SPEC = RenderSpec(steps=2, width_px=64, height_px=64)
PROMPT = "a photo of zorblax woman, smiling"


class Listener:
    def __init__(self) -> None:
        self.renders = 0.0

    def advance(self, n: float = 1.0, note: str = "", *, remembered: bool = False) -> None:
        self.renders += n


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> DiffusersRenderer:
    return open_renderer(tiny_base, SPEC, "cpu")


def _pictures(renderer: DiffusersRenderer, requests: Sequence[RenderRequest]) -> list[Rgb]:
    return list(renderer.render(requests))


def _one(renderer: DiffusersRenderer, request: RenderRequest) -> Rgb:
    (rgb,) = _pictures(renderer, [request])
    return rgb


def _distance(one: Rgb, two: Rgb) -> float:
    return float(np.abs(one.astype(float) - two.astype(float)).mean())


def test_strength_zero_is_the_base_bit_for_bit(
    renderer: DiffusersRenderer, tiny_base: Path, loras: dict[str, Path]
) -> None:
    """Before any LoRA, with one at strength 0, after two of them, and in a fresh renderer."""
    plain = [RenderRequest(PROMPT, seed) for seed in (1, 2)]
    before = _pictures(renderer, plain)
    for lora in loras.values():
        strong = _pictures(renderer, [RenderRequest(PROMPT, seed, lora, 1.0) for seed in (1, 2)])
        assert all(_distance(a, b) > 1 for a, b in zip(before, strong, strict=True))
        zero = _pictures(renderer, [RenderRequest(PROMPT, seed, lora, 0.0) for seed in (1, 2)])
        assert all(np.array_equal(a, b) for a, b in zip(before, zero, strict=True))
    after = _pictures(renderer, plain)
    fresh = _pictures(open_renderer(tiny_base, SPEC, "cpu"), plain)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(before, fresh, strict=True))


def test_switching_leaves_no_trace(tiny_base: Path, loras: dict[str, Path], form: str) -> None:
    """Any order of LoRAs and strengths gives what a fresh renderer gives for that cell alone."""
    cells = [("unet", 1.0), ("conv", 0.5), ("all", 1.5), ("unet", 1.0)]
    requests = [RenderRequest(PROMPT, 5, loras[name], strength) for name, strength in cells]
    mixed = _pictures(open_renderer(tiny_base, SPEC, "cpu"), requests)
    assert np.array_equal(mixed[0], mixed[3])
    alone = _one(open_renderer(tiny_base, SPEC, "cpu"), requests[1])
    assert np.array_equal(mixed[1], alone)
    assert _distance(mixed[0], mixed[1]) > 0.5


@pytest.mark.parametrize("name", ["all", "conv"])
def test_strength_multiplies_the_weights_change(
    tiny_base: Path, loras: dict[str, Path], tmp_path: Path, name: str
) -> None:
    """Strength 0.5 = the same LoRA with every alpha halved; text encoders, convolutions included."""
    tensors = load_file(loras[name])
    halved = {
        key: (values / 2).astype(values.dtype) if key.endswith(".alpha") else values
        for key, values in tensors.items()
    }
    path = tmp_path / "halved.safetensors"
    write_weights(path, halved, {})
    renderer = open_renderer(tiny_base, SPEC, "cpu")
    half = _one(renderer, RenderRequest(PROMPT, 3, loras[name], 0.5))
    same = _one(renderer, RenderRequest(PROMPT, 3, path, 1.0))
    whole = _one(renderer, RenderRequest(PROMPT, 3, loras[name], 1.0))
    assert int(np.abs(half.astype(int) - same.astype(int)).max()) <= 1
    assert _distance(half, whole) > 0.5


def test_renders_do_not_depend_on_their_neighbours(tiny_base: Path) -> None:
    requests = [RenderRequest(f"a photo of woman {'smiling ' * i}", 10 + i) for i in range(5)]
    together = _pictures(open_renderer(tiny_base, SPEC, "cpu", batch=5), requests)
    apart = _pictures(open_renderer(tiny_base, SPEC, "cpu", batch=2), requests[::-1])[::-1]
    assert len(together) == len(apart) == 5
    for one, two in zip(together, apart, strict=True):
        # batches of another size may round differently in the last bit, never more
        assert int(np.abs(one.astype(int) - two.astype(int)).max()) <= 1
    distances = [_distance(together[0], other) for other in together[1:]]
    assert min(distances) > 1


@pytest.fixture(params=["merged", "beside"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How a LoRA is rendered: merged into the weights, or beside the layers for want of room."""
    if request.param == "beside":
        monkeypatch.setattr(merging, "_COPIES_ON_CPU_MOST", 0)
    return str(request.param)


@pytest.mark.parametrize("name", ["unet", "conv", "all"])
def test_merged_or_beside_the_layers_is_one_picture(
    tiny_base: Path, loras: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = RenderRequest(PROMPT, 5, loras[name], 0.9)
    renderer = open_renderer(tiny_base, SPEC, "cpu")
    weights = {key: value.clone() for key, value in _unet_weights(renderer).items()}
    merged = _one(renderer, asked)
    assert _one(renderer, replace(asked, strength=0.0)).max() > 0
    after = _unet_weights(renderer)
    assert len(weights) == len(after) > 100
    for key, value in weights.items():
        assert torch.equal(value, after[key]), key
    monkeypatch.setattr(merging, "_COPIES_ON_CPU_MOST", 0)
    beside = _one(open_renderer(tiny_base, SPEC, "cpu"), asked)
    assert int(np.abs(merged.astype(int) - beside.astype(int)).max()) <= 1


def _unet_weights(renderer: DiffusersRenderer) -> dict[str, torch.Tensor]:
    """The base's own weights, by the names they had before any LoRA wrapped its layer."""
    state = renderer._pipe.unet.state_dict()
    return {key.replace(".base_layer", ""): v for key, v in state.items() if ".lora_" not in key}


@pytest.mark.parametrize("name", ["unet", "conv", "all"])
def test_each_picture_of_a_batch_has_its_own_strength(
    tiny_base: Path, loras: dict[str, Path], name: str, form: str
) -> None:
    strengths = (0.4, 1.0, 0.0, 1.3, 1.0)
    asked = [RenderRequest(PROMPT, 5 + i, loras[name], s) for i, s in enumerate(strengths)]
    together = _pictures(open_renderer(tiny_base, SPEC, "cpu", batch=5), asked)
    alone = open_renderer(tiny_base, SPEC, "cpu", batch=1)
    apart = [_one(alone, request) for request in asked]
    assert len(together) == len(apart) == 5
    for one, two in zip(together, apart, strict=True):
        assert int(np.abs(one.astype(int) - two.astype(int)).max()) <= 1
    same_noise = [RenderRequest(PROMPT, 5, loras[name], s) for s in (0.4, 1.3)]
    weak, strong = _pictures(open_renderer(tiny_base, SPEC, "cpu", batch=2), same_noise)
    assert _distance(weak, strong) > 0.5


def test_a_batch_that_does_not_fit_is_halved(
    tiny_base: Path, loras: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "_COPIES_ON_CPU_MOST", 0)
    renderer = open_renderer(tiny_base, SPEC, "cpu", batch=8)
    whole = renderer._render_batch
    sizes: list[int] = []

    def tight(requests: Sequence[RenderRequest]) -> list[Rgb]:
        sizes.append(len(requests))
        if len(requests) > 2:
            raise torch.OutOfMemoryError("planted")
        return whole(requests)

    monkeypatch.setattr(renderer, "_render_batch", tight)
    asked = [RenderRequest(PROMPT, 3 + i, loras["unet"], 0.5 + i / 10) for i in range(5)]
    assert len(_pictures(renderer, asked)) == 5
    assert sizes == [5, 2, 2, 1] and renderer.batch == 2

    def none(requests: Sequence[RenderRequest]) -> list[Rgb]:
        raise torch.OutOfMemoryError("planted")

    monkeypatch.setattr(renderer, "_render_batch", none)
    with pytest.raises(RenderError, match="no room for a single render"):
        _pictures(renderer, asked)


def test_the_copy_of_the_weights_goes_before_the_batch_is_halved(
    tiny_base: Path, loras: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer = open_renderer(tiny_base, SPEC, "cpu", batch=4)
    whole = renderer._render_batch
    full = [True, True]

    def tight(requests: Sequence[RenderRequest]) -> list[Rgb]:
        made = whole(requests)
        if len(requests) == 4 and full:
            full.pop()
            raise torch.OutOfMemoryError("planted")
        return made

    asked = [RenderRequest(PROMPT, 3 + i, loras["conv"], 0.7) for i in range(4)]
    roomy = _pictures(open_renderer(tiny_base, SPEC, "cpu", batch=4), asked)
    monkeypatch.setattr(renderer, "_render_batch", tight)
    squeezed = _pictures(renderer, asked)
    assert not full and renderer.batch == 2
    for one, two in zip(roomy, squeezed, strict=True):
        assert int(np.abs(one.astype(int) - two.astype(int)).max()) <= 1


def test_a_strength_beyond_all_numbers_gives_a_black_picture(
    tiny_base: Path, loras: dict[str, Path], form: str
) -> None:
    renderer = open_renderer(tiny_base, SPEC, "cpu")
    hot = _one(renderer, RenderRequest(PROMPT, 1, loras["unet"], 1e30))
    assert hot.max() == 0
    assert _one(renderer, RenderRequest(PROMPT, 1)).max() > 0, "the base is as it was"


def test_order_progress_and_laziness(renderer: DiffusersRenderer, loras: dict[str, Path]) -> None:
    requests = [
        RenderRequest(PROMPT, 1),
        RenderRequest(PROMPT, 2, loras["unet"], 1.0),
        RenderRequest(PROMPT, 1),
    ]
    progress = Listener()
    stream = renderer.render(requests, progress)
    first = next(stream)
    assert progress.renders == 1
    # another use between two pictures of a running stream must not disturb it
    _one(renderer, RenderRequest(PROMPT, 9, loras["all"], 1.0))
    rest = list(stream)
    assert len(rest) == 2
    assert progress.renders == 3
    assert np.array_equal(first, rest[1])
    assert first.dtype == np.uint8
    assert first.shape == (64, 64, 3)


def test_a_changed_file_is_read_anew(tiny_base: Path, tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    renderer = open_renderer(tiny_base, SPEC, "cpu")
    pictures = []
    for seed in (7, 8):
        write_random_lora(path, tiny_base, text_encoders=False, seed=seed)
        pictures.append(_one(renderer, RenderRequest(PROMPT, 1, path, 1.0)))
    assert _distance(*pictures) > 0.5


def test_merged_and_attached_loras_take_turns(
    tiny_base: Path, loras: dict[str, Path], tmp_path: Path
) -> None:
    """A file in another tool's names runs beside the layers of a base that merges kohya's."""
    other = tmp_path / "diffusers.safetensors"
    convert_lora(
        loras["all"], other, to="diffusers", precision="fp32", private=False, base=tiny_base
    )
    renderer = open_renderer(tiny_base, SPEC, "cpu")
    paths = (None, loras["all"], other, loras["conv"], other, None, loras["all"])
    shown = [_one(renderer, RenderRequest(PROMPT, 4, path, 0.8)) for path in paths]
    assert np.array_equal(shown[0], shown[5])
    assert np.array_equal(shown[1], shown[6])
    assert np.array_equal(shown[2], shown[4])
    assert int(np.abs(shown[1].astype(int) - shown[2].astype(int)).max()) <= 1
    assert min(_distance(shown[3], shown[i]) for i in (0, 1)) > 0.5


def test_old_loras_make_room(
    tiny_base: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "_LORAS_KEPT", 1)
    renderer = open_renderer(tiny_base, SPEC, "cpu")
    paths = [
        write_random_lora(tmp_path / f"{i}.safetensors", tiny_base, text_encoders=i == 1, seed=i)
        for i in range(2)
    ]
    first = [_one(renderer, RenderRequest(PROMPT, 1, path, 1.0)) for path in paths]
    again = [_one(renderer, RenderRequest(PROMPT, 1, path, 1.0)) for path in paths]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len(renderer._adapters._loaded) == 1
    held = [m for m in renderer._pipe.unet.modules() if hasattr(m, "lora_A")]
    assert {len(module.lora_A) for module in held} == ({1} if form == "beside" else set())


@pytest.mark.parametrize("damage", ["name", "shape", "lost", "base"])
def test_loras_that_do_not_fit_are_refused_and_leave_no_trace(
    renderer: DiffusersRenderer, loras: dict[str, Path], tmp_path: Path, damage: str
) -> None:
    """Other loaders drop what they do not know and render on; this one says so."""
    tensors = load_file(loras["all"])
    prefix = "lora_unet_middle_block_1_proj_in"
    moved = {
        "name": "lora_unet_output_blocks_9_1_proj_in",
        "lost": "lora_unet_time_embed_7",
    }.get(damage)
    if moved:
        for end in (".lora_down.weight", ".lora_up.weight", ".alpha"):
            tensors[moved + end] = tensors.pop(prefix + end)
    if damage == "shape":
        tensors[f"{prefix}.lora_down.weight"] = np.zeros((2, 40), np.float16)
    if damage == "base":
        tensors = {"model.weight": np.zeros((2, 2), np.float16)}
    path = tmp_path / "wrong.safetensors"
    write_weights(path, tensors, {})
    before = _one(renderer, RenderRequest(PROMPT, 4, loras["unet"], 1.0))
    with pytest.raises((RenderError, WeightsError)) as caught:
        _one(renderer, RenderRequest(PROMPT, 4, path, 1.0))
    assert str(path) in caught.value.lines()[0]
    assert caught.value.expected
    after = _one(renderer, RenderRequest(PROMPT, 4, loras["unet"], 1.0))
    assert np.array_equal(before, after)


def test_every_weight_stays_frozen(renderer: DiffusersRenderer, loras: dict[str, Path]) -> None:
    _one(renderer, RenderRequest(PROMPT, 1, loras["all"], 1.0))
    parts = ("unet", "vae", "text_encoder", "text_encoder_2")
    parameters = [p for part in parts for p in getattr(renderer._pipe, part).parameters()]
    assert len(parameters) > 200
    assert not any(p.requires_grad for p in parameters)


@pytest.mark.parametrize("scheduler", ["ddim", "euler", "dpmpp_2m_karras"])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_sdxl_vae_and_every_sampler_render(kl_base: Path, scheduler: str, guidance: float) -> None:
    spec = RenderSpec(
        steps=2, width_px=96, height_px=64, scheduler=scheduler, guidance=guidance, negative="hat"
    )
    rgb = _one(open_renderer(kl_base, spec, "cpu"), RenderRequest(PROMPT, 1))
    assert rgb.shape == (64, 96, 3)
    assert rgb.std() > 0


def test_it_renders_what_diffusers_renders(kl_base: Path) -> None:
    """The whole path against the pipeline's own call, from prompt to pixels."""
    from diffusers import DDIMScheduler, StableDiffusionXLPipeline

    pipe = StableDiffusionXLPipeline.from_pretrained(
        str(kl_base), local_files_only=True, add_watermarker=False
    )
    pipe.scheduler = DDIMScheduler.from_config(
        pipe.scheduler.config, clip_sample=False, set_alpha_to_one=False
    )
    pipe.set_progress_bar_config(disable=True)
    wanted = pipe(
        PROMPT,
        width=64,
        height=64,
        num_inference_steps=2,
        guidance_scale=5.0,
        latents=torch.randn((4, 8, 8), generator=torch.Generator().manual_seed(21))[None],
        output_type="np",
    ).images[0]
    rgb = _one(open_renderer(kl_base, SPEC, "cpu"), RenderRequest(PROMPT, 21))
    assert int(np.abs(rgb.astype(int) - (wanted * 255).round().astype(int)).max()) <= 1


def test_what_cannot_be_opened_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        open_renderer(tmp_path / "none.safetensors", SPEC)
    with pytest.raises(RenderError, match="not a multiple of 32") as caught:
        open_renderer(tiny_base, RenderSpec(width_px=72, height_px=64), "cpu")
    assert caught.value.expected == "64 or 96"
    with pytest.raises(RenderError, match="fp16"):
        open_renderer(tiny_base, RenderSpec(precision="fp16"), "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(RenderError, match="CUDA"):
            open_renderer(tiny_base, SPEC, "cuda")


def test_a_closed_renderer_says_so(tiny_base: Path) -> None:
    renderer = open_renderer(tiny_base, SPEC, "cpu")
    renderer.close()
    with pytest.raises(RenderError, match="closed"):
        _one(renderer, RenderRequest(PROMPT, 1))
