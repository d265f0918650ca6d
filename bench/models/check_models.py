"""The full-size SDXL architecture on random weights: train, export, reload, render.

    python -m bench.models.check_models [--folder DIR] [--keep] [--unet-only]

No weights are downloaded and no picture is meant to be looked at. What is proven: the trainer,
the exporter and the renderer that the stand-in world runs daily also run the real thing.

    1  write   a single-file checkpoint in the original layout, fp16, 6.5 GiB, random weights
    2  train   2 LoRA steps at 256 px on the UNet and both text encoders, bf16, checkpointing
    3  load    the LoRA through diffusers: 986 modules, merged weights equal to the file's
    4  render  strength 0 equals the base bit for bit, strength 1 does not; one picture

Each part runs in a process of its own, so that its peak memory is its own. Cost on two cores:
3-6 minutes, at most 14 GiB of memory, 7 GiB of disk (given back at the end).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # so that `python bench/models/check_models.py` works as well
    sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402 - after the path is set

from bench.record import record  # noqa: E402

SIDE_PX = 256
STEPS = 2
RANK = 16
ALPHA = 8.0
MODULES = {"unet": 722, "text_encoder": 72, "text_encoder_2": 192}
MEMORY_LIMIT_GIB = 14.0
PROMPT = "a photo of a woman, soft light"
# a block of normal numbers that is read again and again from another place: random enough, and
# thirty times faster than drawing 3.5 billion of them
POOL = 1 << 24


def write(folder: Path) -> dict[str, Any]:
    """Write the checkpoint tensor by tensor: never more than one of them in memory."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    from bench.models.sgm_layout import to_sgm
    from vultus.core.sdxl import architecture as sdxl

    with torch.device("meta"):
        parts = {
            "unet": UNet2DConditionModel.from_config(dict(sdxl.UNET)),
            "vae": AutoencoderKL.from_config(dict(sdxl.VAE)),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**sdxl.TEXT_ENCODER)),
            "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**sdxl.TEXT_ENCODER_2)),
        }
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    shapes = to_sgm(**{name: part.state_dict() for name, part in parts.items()})
    table: dict[str, Any] = {}
    place = 0
    for name in sorted(shapes):
        size = 2 * shapes[name].numel()
        table[name] = {
            "dtype": "F16",
            "shape": list(shapes[name].shape),
            "data_offsets": [place, place + size],
        }
        place += size
    head = json.dumps(table).encode()
    head += b" " * (-len(head) % 8)
    pool = np.random.default_rng(0).standard_normal(POOL, dtype=np.float32)
    with (folder / "sdxl.safetensors").open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for i, name in enumerate(sorted(shapes)):
            for chunk in _random(name, tuple(shapes[name].shape), pool, i):
                file.write(chunk.tobytes())
    return {"parameters": counts, "tensors": len(shapes), "gib": round(place / 2**30, 2)}


def _random(
    name: str, shape: tuple[int, ...], pool: np.ndarray[Any, np.dtype[np.float32]], i: int
) -> Iterator[np.ndarray[Any, np.dtype[np.float16]]]:
    """Weights that keep signals at their size, piece by piece: norms 1, biases 0, rest by fan-in."""
    if len(shape) <= 1:
        norm = name.endswith(("weight", "logit_scale"))
        yield np.full(shape, 1.0 if norm else 0.0, np.float16)
        return
    embedding = "embedding" in name and "embedders" in name and "layers" not in name
    scale = 0.02 if embedding else 0.7 / float(np.prod(shape[1:])) ** 0.5
    left = int(np.prod(shape))
    start = (i * 7_919_317) % POOL
    while left:
        piece = pool[start : start + left]
        yield (piece * scale).astype(np.float16)
        left -= len(piece)
        start = 0


def train(folder: Path, unet_only: bool) -> dict[str, Any]:
    """Two steps of the recipe, and the file it leaves."""
    from PIL import Image

    from vultus.core.weights import read_header
    from vultus.training.native import recipe
    from vultus.training.records import TrainPicture, TrainSpec

    draw = np.random.default_rng(1)
    pictures = []
    for i in range(2):
        path = folder / f"{i}.png"
        coarse = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC).save(path)
        pictures.append(TrainPicture(path, PROMPT, (SIDE_PX, SIDE_PX)))
    spec = TrainSpec(
        rank=RANK,
        alpha=ALPHA,
        steps=STEPS,
        batch=1,
        checkpoints=1,
        learning_rate=1e-2,
        precision="bf16",
        gradient_checkpointing=True,
        text_encoders=not unet_only,
        resolution_px=SIDE_PX,
    )
    base = folder / "sdxl.safetensors"
    result = recipe.train(spec, base, pictures, folder / "run", 0, device="cpu")
    header = read_header(result.checkpoints[0].path)
    modules = sum(name.endswith(".lora_down.weight") for name in header.tensors)
    wanted = MODULES["unet"] if unet_only else sum(MODULES.values())
    assert modules == wanted, f"{modules} modules were written, not {wanted}"
    assert header.metadata["ss_base_model_version"] == "sdxl_base_v1-0"
    losses = [round(loss, 4) for _, loss in result.losses]
    return {"modules": modules, "losses": losses, "seconds_in_steps": round(result.seconds, 1)}


def load_and_render(folder: Path) -> dict[str, Any]:
    """What diffusers makes of the file, and what the renderer makes of diffusers."""
    from PIL import Image
    from safetensors.numpy import load_file

    from vultus.generation.backends.diffusers_backend import open_renderer
    from vultus.generation.records import RenderRequest, RenderSpec

    lora = next((folder / "run").glob("checkpoint-*.safetensors"))
    spec = RenderSpec(steps=2, width_px=SIDE_PX, height_px=SIDE_PX, precision="bf16")
    renderer = open_renderer(folder / "sdxl.safetensors", spec, "cpu")

    def picture(strength: float) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return next(renderer.render([RenderRequest(PROMPT, 1, lora, strength)]))

    before = next(renderer.render([RenderRequest(PROMPT, 1)]))
    strong = picture(1.0)
    worst = _merged_difference(renderer, load_file(lora))
    zero = picture(0.0)
    assert np.array_equal(before, zero), "strength 0 differs from the base"
    assert not np.array_equal(before, strong), "strength 1 changed nothing"
    Image.fromarray(strong).save(folder / "render.png")
    return {
        "strength_0_equals_base": True,
        "mean_change_at_strength_1": round(float(np.abs(strong - before.astype(float)).mean()), 2),
        "merged_worst_relative_difference": worst,
    }


def _merged_difference(renderer: Any, tensors: Mapping[str, Any]) -> float:
    """Worst relative difference of a module's change of weights: as loaded against as written.

    bf16 keeps 8 bits, so 1 % is rounding; a wrong alpha would be 100 %, a lost module an error.
    """
    import torch

    from vultus.core.sdxl import architecture as sdxl
    from vultus.core.sdxl.lora_keys import lora_modules

    rows = lora_modules(sdxl.UNET, sdxl.TEXT_ENCODER, sdxl.TEXT_ENCODER_2)
    rows = [row for row in rows if f"{row.kohya_prefix}.alpha" in tensors]
    worst = 0.0
    for row in rows:
        component = getattr(renderer._pipe, row.component)
        name = row.module
        if not hasattr(component, "text_model"):
            name = name.removeprefix("text_model.")
        layer = component.get_submodule(name)
        (key,) = layer.lora_A.keys()
        loaded = layer.lora_B[key].weight.float() @ layer.lora_A[key].weight.float()
        loaded = loaded * layer.scaling[key]
        down, up, alpha = (
            torch.from_numpy(tensors[f"{row.kohya_prefix}.{part}"]).float()
            for part in ("lora_down.weight", "lora_up.weight", "alpha")
        )
        written = (alpha / down.shape[0]) * (up @ down)
        size = float(written.norm())
        if size > 0:
            worst = max(worst, float((loaded - written).norm()) / size)
        else:
            assert not loaded.any(), row.kohya_prefix
    assert len(rows) in (MODULES["unet"], sum(MODULES.values()))
    assert worst < 0.01, f"merged weights differ by {worst:.1%}"
    return round(worst, 5)


def main(arguments: list[str] | None = None) -> int:
    """Run all parts, each in its own process; 0 when everything held."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where the 7 GiB go (default: a temporary one)")
    parser.add_argument("--keep", action="store_true", help="leave the checkpoint there")
    parser.add_argument("--unet-only", action="store_true", help="no LoRA on the text encoders")
    parser.add_argument("--part", choices=("write", "train", "render"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.part:
        return _part(options)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="vultus-models-"))
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    figures: dict[str, Any] = {}
    try:
        for part in ("write", "train", "render"):
            figures[part] = _in_a_process(part, folder, options.unet_only)
            print(f"{part}: {json.dumps(figures[part])}", flush=True)
        most = max(part["peak_gib"] for part in figures.values())
        if most > MEMORY_LIMIT_GIB:
            print(f"check-models: {most} GiB is more than {MEMORY_LIMIT_GIB} GiB", file=sys.stderr)
            return 1
        path = record("check_models", figures, seconds=time.monotonic() - began)
        print(f"check-models: all held; figures in {path.relative_to(ROOT)}")
        return 0
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def _in_a_process(part: str, folder: Path, unet_only: bool) -> dict[str, Any]:
    command = [sys.executable, __file__, "--part", part, "--folder", str(folder)]
    if unet_only:
        command.append("--unet-only")
    # waiting threads that spin cost more than the work on busy cores
    quiet = {"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env={**os.environ, **quiet}, check=False)
    answer = folder / f"{part}.json"
    if done.returncode != 0 or not answer.exists():
        raise SystemExit(f"check-models: part {part!r} failed with status {done.returncode}")
    found: dict[str, Any] = json.loads(answer.read_text("utf-8"))
    return found


def _part(options: argparse.Namespace) -> int:
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "write": lambda: write(options.folder),
        "train": lambda: train(options.folder, options.unet_only),
        "render": lambda: load_and_render(options.folder),
    }
    began = time.monotonic()
    figures = parts[options.part]()
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures["seconds"] = round(time.monotonic() - began, 1)
    figures["cpu_seconds"] = round(used.ru_utime + used.ru_stime, 1)
    figures["peak_gib"] = round(used.ru_maxrss / 2**20, 2)
    (options.folder / f"{options.part}.json").write_text(json.dumps(figures), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
