"""The stages of building the stand-in's models: what each needs, and what runs beside what.

Notation
    stage    one process of one thread; it resumes from its checkpoint when started again
    cache    folder of shards and checkpoints (3 GB); `weights` is the folder that ships
Order: pictures, then the autoencoder beside the small nets, then the plain base on two processes, then the two styled
bases side by side, then the decoder's refinement, then export.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.distributed as dist
from torch._C._distributed_c10d import FileStore

from vultus.standin.build import base as bases
from vultus.standin.build.data import POPULATIONS, Shards, make_shards, open_shards
from vultus.standin.build.demo import write_demo
from vultus.standin.build.export import export_base, export_net, write_pack
from vultus.standin.build.landmarks import load_landmarks, train_landmarks
from vultus.standin.build.oracle import load_oracle, load_scene_oracle, train_oracle, train_scene
from vultus.standin.build.recogniser import load_recogniser, train_recogniser
from vultus.standin.build.tokens import write_tokenizer
from vultus.standin.build.vae import load_vae, refine_decoder, train_vae

__all__ = ["PLAN", "run_stage"]

# Rows of one list run side by side; each name is a stage, `name*2` starts two cooperating processes.
PLAN: Final[tuple[tuple[str, ...], ...]] = (
    ("pictures*2",),
    ("vae", "landmarks+recogniser_a+recogniser_b+oracle+scene"),
    ("base*2",),
    ("soft", "ink"),
    ("decoder",),
    ("export", "demo"),
)


def _world(cache: Path, name: str) -> Shards:
    return open_shards(name, cache / "world")


def _latents(cache: Path, name: str, rows: np.ndarray, part: str) -> bases.LatentSet:
    return bases.encode_latents(_world(cache, name), rows, load_vae(cache), part, cache)


def _tokenizer(cache: Path) -> Path:
    folder = cache / "tokenizer"
    if not (folder / "vocab.json").exists():
        write_tokenizer(folder)
    return folder


def _pictures(cache: Path, rank: int, ranks: int) -> None:
    for population in POPULATIONS:
        make_shards(population, cache / "world", part=rank, parts=ranks)


def _base(cache: Path, rank: int, ranks: int) -> None:
    if ranks > 1:
        store = FileStore(str(cache / f"rendezvous_{ranks}"), ranks)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    _tokenizer(cache)
    for part in list(_BASE_PARTS)[rank::ranks]:
        _base_set(cache, part)
    if ranks > 1:
        dist.barrier()
    sets = [_base_set(cache, part) for part in _BASE_PARTS]
    bases.train_base(
        bases.BASE, sets, list(_BASE_PARTS.values()), _tokenizer(cache), cache, rank=rank
    )


# Two views of every named picture and one of half the crowd, with their shares of a batch.
_BASE_PARTS: Final = {"named_0": 0.3, "named_1": 0.3, "crowd_0": 0.2, "crowd_1": 0.2}


def _base_set(cache: Path, part: str) -> bases.LatentSet:
    population, _, number = part.partition("_")
    whole = len(_world(cache, population))
    rows = np.arange(whole)
    if population == "crowd":
        rows = rows[int(number) * whole // 4 : (int(number) + 1) * whole // 4]
    return _latents(cache, population, rows, part)


def _style(cache: Path, style: str) -> None:
    rows = np.arange(len(_world(cache, f"named_{style}")))
    sets = [_latents(cache, f"named_{style}", rows, f"named_{style}")]
    start = bases.load_base(bases.BASE, _tokenizer(cache), cache).state_dict()
    bases.train_base(bases.STYLE_LOOPS[style], sets, [1.0], _tokenizer(cache), cache, start=start)


def _export(cache: Path, weights: Path) -> None:
    pack = weights / "pack"
    export_net(
        load_landmarks(cache),
        pack / "landmarks.onnx",
        side_px=128,
        inputs="image",
        outputs=["points", "score"],
        points=True,
    )
    for which in ("a", "b"):
        export_net(
            load_recogniser(which, cache),
            pack / f"recogniser_{which}.onnx",
            side_px=56,
            inputs="face",
            outputs=["emb"],
        )
    write_pack(pack)
    export_net(
        load_oracle(cache),
        weights / "oracle" / "oracle.onnx",
        side_px=56,
        inputs="face",
        outputs=["z"],
    )
    export_net(
        load_scene_oracle(cache),
        weights / "oracle" / "scene.onnx",
        side_px=64,
        inputs="small",
        outputs=["logits"],
    )
    vae = load_vae(cache, refined=(cache / "vae_decoder.pt").exists())
    for name, loop in (("plain", bases.BASE), *bases.STYLE_LOOPS.items()):
        if (cache / f"{loop.name}.pt").exists():
            export_base(
                bases.load_base(loop, _tokenizer(cache), cache),
                vae,
                _tokenizer(cache),
                weights / "bases" / name,
                like=None if name == "plain" else weights / "bases" / "plain",
            )


def run_stage(name: str, cache: Path, weights: Path, *, rank: int = 0, ranks: int = 1) -> None:
    """Run one stage in this process."""
    torch.set_num_threads(1)
    cache.mkdir(parents=True, exist_ok=True)
    work: dict[str, Callable[[], object]] = {
        "pictures": lambda: _pictures(cache, rank, ranks),
        "vae": lambda: train_vae(_world(cache, "crowd"), cache),
        "decoder": lambda: refine_decoder(_world(cache, "crowd"), cache),
        "landmarks": lambda: train_landmarks(
            [_world(cache, name) for name in ("crowd", "named_soft", "named_ink")], cache
        ),
        "recogniser_a": lambda: train_recogniser(
            "a", _world(cache, "crowd"), _world(cache, "named"), cache
        ),
        "recogniser_b": lambda: train_recogniser(
            "b", _world(cache, "crowd"), _world(cache, "named"), cache
        ),
        "oracle": lambda: train_oracle(_world(cache, "crowd"), _world(cache, "named"), cache),
        "scene": lambda: train_scene(_world(cache, "crowd"), cache),
        "base": lambda: _base(cache, rank, ranks),
        "soft": lambda: _style(cache, "soft"),
        "ink": lambda: _style(cache, "ink"),
        "export": lambda: _export(cache, weights),
        "demo": lambda: write_demo(weights.parent / "demo"),
    }
    work[name]()
