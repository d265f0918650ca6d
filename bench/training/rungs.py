"""Which lever pays: plain -> views -> face weight -> SNR ramp -> identity loss -> averaging, on the stand-in base.

    python -m bench.training.rungs [--personas 6] [--seeds 3] [--steps 300] [--lanes 2] [--folder DIR]

Every arm is trained on the same pictures with the same seeds; renders share prompts and noise. Each finished
training leaves a file in DIR: a second call goes on. Rows of other settings lie in another folder.

Notation
    unit        one persona and one training seed: what an interval is taken over, clustered by persona
    oracle      how much nearer to the persona's true geometry a render's face is than the base's of the same block, in
                z units (a regressor to the truth: nobody trains on it); a render without a face has moved by nothing
    judge       points of recogniser a, 0 = the base alone, 10 = the persona's held-out pictures (leave-one-out)
    taught      the same of recogniser b, whose likeness the identity loss teaches: shown, and never called a gain
    copy        mean over renders of (largest cosine to 12 training pictures - largest to 12 held-out ones), judge's
                vectors, minus the same of the base alone: above 0 = nearer to the photographs than to the person
    seconds     CPU seconds of one training, loading included
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.record import record
from vultus.core.files import write_json
from vultus.core.keys import key_of
from vultus.core.seeds import seed_of, stream
from vultus.core.weights import light_print
from vultus.stats.compare import paired_difference
from vultus.training.records import TrainPicture, TrainSpec

BASE = Path(__file__).resolve().parents[2] / "vultus" / "standin" / "weights" / "bases" / "plain"
FIRST = 40
TRIGGER = "ohwx woman"
TRAINED, HELD, PROMPTS = 24, 12, 12
PLAIN = TrainSpec(rank=8, alpha=8.0, batch=4, learning_rate=2e-3, checkpoints=4, resolution_px=128)
VIEWS = replace(PLAIN, views="added")
FACE = replace(VIEWS, face_weight=10.0, face_ramp=False)
RAMP = replace(FACE, face_ramp=True)
IDENTITY = replace(
    RAMP, identity_weight=0.1, identity_recogniser="standin:b", identity_min_latents=4.0
)
ARMS = {"plain": PLAIN, "views": VIEWS, "face weight": FACE, "ramp": RAMP, "identity": IDENTITY}
AVERAGE = "average"
FRAMINGS = ("close-up", "half body", "full body")
Floats = npt.NDArray[np.float64]


def folder_of(args: argparse.Namespace) -> Path:
    """Where rows of these settings and of this base are kept."""
    base = key_of("base", 1, {"print": light_print(BASE)})[:8]
    return Path(args.folder) / f"base-{base}-steps-{args.steps}"


def _row_path(folder: Path, persona: int, seed: int, arm: str) -> Path:
    return folder / f"persona-{persona}" / f"seed-{seed}-{arm.replace(' ', '-')}.json"


class World:
    """One persona's pictures, prompts and the eyes that look at renders; made once per process and persona."""

    def __init__(self, persona: int, folder: Path) -> None:
        from vultus.faces.engines import open_engine
        from vultus.faces.packs import find_pack
        from vultus.images.write import save_png
        from vultus.standin.nuisance import FRAMINGS as KNOWN
        from vultus.standin.nuisance import caption, sample_nuisance, without_accessories
        from vultus.standin.personas import clean_pictures

        self.persona = persona
        self.engines = {name: open_engine(find_pack(f"standin:{name}")) for name in "ab"}
        pictures = folder / f"persona-{persona}" / "pictures"
        pictures.mkdir(parents=True, exist_ok=True)
        self.pictures: list[TrainPicture] = []
        rgbs = []
        for k, (rgb, scene) in enumerate(clean_pictures(persona, TRAINED)):
            found = self.engines["a"].read(rgb).face
            if found is None:
                continue
            path = pictures / f"{k:02d}.png"
            save_png(path, rgb, xmp_ai=False)
            x0, y0, x1, y1 = found.box_px
            points = tuple((float(x), float(y)) for x, y in found.points_px)
            size = (rgb.shape[1], rgb.shape[0])
            text = caption(scene, TRIGGER)
            self.pictures.append(
                TrainPicture(path, text, size, faces=((x0, y0, x1, y1),), points=points)
            )
            rgbs.append(rgb)
        held = [rgb for rgb, _ in clean_pictures(persona, HELD, name="held out")]
        self.trained = {n: self._vectors(n, rgbs[:HELD]) for n in "ab"}
        self.held = {n: self._vectors(n, held) for n in "ab"}
        scenes = [
            without_accessories(
                sample_nuisance(stream("bench", "rungs", k), framing=KNOWN[k % len(KNOWN)])
            )
            for k in range(PROMPTS)
        ]
        self.framings = [FRAMINGS[k % 3] for k in range(PROMPTS)]
        self.prompts = [caption(scene, TRIGGER) for scene in scenes]

    def _vectors(self, name: str, rgbs: Sequence[Any]) -> Floats:
        found = [r.emb for r in self.engines[name].read_many(list(rgbs)) if r.emb is not None]
        return np.stack(found).astype(np.float64)

    def genuine(self, name: str) -> float:
        """Mean leave-one-out cosine of the held-out pictures to the centre of the others."""
        rows = self.held[name]
        rest = rows.sum(0) - rows
        rest /= np.linalg.norm(rest, axis=1, keepdims=True)
        return float((rows * rest).sum(1).mean())

    def look(self, rgbs: Sequence[Any]) -> list[dict[str, Any]]:
        """What the eyes say of each render, in the order of the prompts."""
        from bench.training.oracle import distances

        far = distances(self.engines["a"], list(rgbs), self.persona)
        rows: list[dict[str, Any]] = [
            {"framing": framing, "oracle": d} for framing, d in zip(self.framings, far, strict=True)
        ]
        for name in "ab":
            centre = self.held[name].mean(0)
            centre /= np.linalg.norm(centre)
            for row, read in zip(rows, self.engines[name].read_many(list(rgbs)), strict=True):
                row[name] = None if read.emb is None else float(read.emb @ centre)
                if name == "a" and read.emb is not None:
                    nearest = [float((v["a"] @ read.emb).max()) for v in (self.trained, self.held)]
                    row["copy"] = nearest[0] - nearest[1]
        return rows

    def render(self, lora: Path | None) -> list[dict[str, Any]]:
        """Render every prompt with (or without) a LoRA at strength 1 and look."""
        from bench.standin.generated import WEIGHTS
        from vultus.generation.backends.diffusers_backend import open_renderer
        from vultus.generation.records import RenderRequest, RenderSpec

        renderer = open_renderer(WEIGHTS / "bases" / "plain", RenderSpec(steps=12, guidance=4.0))
        requests = [
            RenderRequest(text, seed_of("bench", "rungs", k), lora, 1.0 if lora else 0.0)
            for k, text in enumerate(self.prompts)
        ]
        try:
            return self.look(list(renderer.render(requests)))
        finally:
            renderer.close()


def train_arm(world: World, arm: str, seed: int, steps: int, out: Path) -> None:
    """Train one arm, render, look, write its row; the identity arm is averaged too."""
    from bench.standin.generated import WEIGHTS
    from vultus.training.lora_tools import sum_loras
    from vultus.training.native.recipe import train

    base = WEIGHTS / "bases" / "plain"
    spec = replace(ARMS[arm], steps=steps)
    began = time.process_time()
    result = train(spec, base, world.pictures, out / "training", seed, device="cpu")
    seconds = time.process_time() - began
    files = [record.path for record in result.checkpoints]
    folder = out.parent.parent
    if arm == "identity":
        made = out / "average.safetensors"
        sum_loras(files[len(files) // 2 :], made, weights=None, rank=None, precision="fp16")
        whole = {"seconds": time.process_time() - began, "renders": world.render(made)}
        write_json(_row_path(folder, world.persona, seed, AVERAGE), whole)
    row = {"seconds": seconds, "renders": world.render(files[-1])}
    write_json(_row_path(folder, world.persona, seed, arm), row)


def work(args: argparse.Namespace, lane: int) -> None:
    """One lane's share of the personas; what has a row is left alone."""
    folder = folder_of(args)
    for persona in range(FIRST + lane, FIRST + args.personas, args.lanes):
        world: World | None = None
        alone = folder / f"persona-{persona}" / "alone.json"
        for seed in range(1, args.seeds + 1):
            for arm in ARMS:
                path = _row_path(folder, persona, seed, arm)
                if path.exists() and alone.exists():
                    continue
                world = world or World(persona, folder)
                if not alone.exists():
                    genuine = {name: world.genuine(name) for name in "ab"}
                    write_json(alone, {"genuine": genuine, "renders": world.render(None)})
                if not path.exists():
                    out = folder / f"persona-{persona}" / f"{seed}-{arm.replace(' ', '-')}"
                    train_arm(world, arm, seed, args.steps, out)
                    print(f"persona {persona}, seed {seed}, {arm}", flush=True)


def _values(row: dict[str, Any], alone: dict[str, Any], framing: str) -> dict[str, float]:
    """A unit's figures in one framing ("" = all, framings weighing the same)."""
    if not framing:
        each = [_values(row, alone, one) for one in FRAMINGS]
        return {key: float(np.mean([one[key] for one in each])) for key in each[0]}
    mine = [r for r in row["renders"] if r["framing"] == framing]
    base = [r for r in alone["renders"] if r["framing"] == framing]
    usual = _mean([r["oracle"] for r in base])
    moved = [
        (usual if b["oracle"] is None else b["oracle"]) - r["oracle"]
        for r, b in zip(mine, base, strict=True)
        if r["oracle"] is not None
    ]
    found = {"oracle": sum(moved) / len(mine)}
    for key, name in (("judge", "a"), ("taught", "b")):
        low, high = _mean([r[name] for r in base]), alone["genuine"][name]
        seen = [low if r[name] is None else r[name] for r in mine]
        found[key] = 10 * (float(np.mean(seen)) - low) / max(high - low, 1e-6)
    found["copy"] = _mean([r.get("copy") for r in mine]) - _mean([r.get("copy") for r in base])
    found["misses"] = sum(r["a"] is None for r in mine) / len(mine)
    return found


def _mean(values: Sequence[float | None]) -> float:
    kept = [v for v in values if v is not None]
    return float(np.mean(kept)) if kept else 0.0


def summarise(args: argparse.Namespace) -> dict[str, Any]:
    """Each rung against the one below it and against plain, per framing, with intervals clustered by persona."""
    folder = folder_of(args)
    units = [(p, s) for p in range(FIRST, FIRST + args.personas) for s in range(1, args.seeds + 1)]
    rungs = [*ARMS, AVERAGE]
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    seconds: dict[str, float] = {}
    for arm in rungs:
        rows = [json.loads(_row_path(folder, p, s, arm).read_text("utf-8")) for p, s in units]
        bare = [
            json.loads((folder / f"persona-{p}" / "alone.json").read_text("utf-8"))
            for p, _ in units
        ]
        for framing in ("", *FRAMINGS):
            found[arm, framing] = [_values(r, b, framing) for r, b in zip(rows, bare, strict=True)]
        seconds[arm] = round(float(np.median([row["seconds"] for row in rows])), 1)
    clusters = [str(p) for p, _ in units]
    table: dict[str, Any] = {
        "personas": args.personas,
        "seeds": args.seeds,
        "steps": args.steps,
        "units": len(units),
    }
    for i, arm in enumerate(rungs):
        table[arm] = {
            "cpu_s": seconds[arm],
            "over_plain": _contrast(found, arm, "plain", clusters),
            "over_the_rung_below": _contrast(found, arm, rungs[max(0, i - 1)], clusters),
        }
    return table


def _contrast(
    found: dict[tuple[str, str], list[dict[str, float]]], arm: str, other: str, clusters: list[str]
) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for framing in ("", *FRAMINGS):
        for key in ("oracle", "judge", "taught", "copy"):
            a = np.array([one[key] for one in found[arm, framing]])
            name = f"{framing or 'all'}: {key}"
            if arm == other:
                told[name] = [round(float(a.mean()), 3)]
                continue
            b = np.array([one[key] for one in found[other, framing]])
            gap = paired_difference(a, b, clusters, key)
            told[name] = [round(v, 3) for v in (gap.value, gap.low, gap.high)]
    return told


def show(table: dict[str, Any]) -> None:
    """Print the ladder as a person reads it."""
    head = ("", *FRAMINGS)
    print(
        f"{table['units']} units ({table['personas']} personas x {table['seeds']} seeds), {table['steps']} steps"
    )
    for arm, row in table.items():
        if not isinstance(row, dict):
            continue
        print(f"{arm}  ({row['cpu_s']} CPU-s a training)")
        for against in ("over_plain", "over_the_rung_below"):
            if arm == "plain" and against != "over_plain":
                continue
            for key in ("oracle", "judge", "taught", "copy"):
                cells = [row[against][f"{framing or 'all'}: {key}"] for framing in head]
                words = "  ".join(_cell(cell) for cell in cells)
                print(f"  {against if arm != 'plain' else 'itself':<20} {key:<7} {words}")


def _cell(cell: list[float]) -> str:
    if len(cell) == 1:
        return f"{cell[0]:+.3f}".ljust(26)
    sure = "*" if cell[1] > 0 or cell[2] < 0 else " "
    return f"{cell[0]:+.3f} ({cell[1]:+.3f} .. {cell[2]:+.3f}){sure}".ljust(26)


def ladder(args: argparse.Namespace) -> dict[str, Any]:
    """Run what is missing in `lanes` processes, then read everything."""
    words = [sys.executable, "-m", "bench.training.rungs", "--folder", str(args.folder)]
    for name in ("personas", "seeds", "steps", "lanes"):
        words += [f"--{name}", str(getattr(args, name))]
    lanes = [
        subprocess.Popen([*words, "--lane", str(i)], env=os.environ) for i in range(args.lanes)
    ]
    failed = [lane.wait() for lane in lanes]
    if any(failed):
        raise SystemExit(f"a lane ended with {failed}; the same command goes on")
    return summarise(args)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the ladder is asked; the defaults fit 30 minutes on two idle cores."""
    parser.add_argument("--personas", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3, help="trainings per persona and arm")
    parser.add_argument("--steps", type=int, default=300, help="of each training")
    parser.add_argument("--lanes", type=int, default=2, help="processes side by side")
    parser.add_argument("--folder", type=Path, default=Path("build/bench-training"))


def main() -> None:
    """Run the ladder alone and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--lane", type=int, default=None, help="(one lane's work, no table)")
    args = parser.parse_args()
    if args.lane is not None:
        work(args, args.lane)
        return
    began = time.monotonic()
    table = ladder(args)
    show(table)
    if args.personas >= 6 and args.seeds >= 3:
        print(record("training-ladder", table, seconds=time.monotonic() - began))


if __name__ == "__main__":
    main()
