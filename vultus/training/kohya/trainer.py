"""Kohya's trainer behind the same door as ours: the same spec in, checkpoints out.

    pictures + captions (+ alpha) -> dataset.toml -> sdxl_train_network.py in its own environment -> checkpoints

It is another program: its crash is one error here with its last lines, its memory is its own. What it cannot do is
refused first (`command`). Kohya's resume is not exact (the place in the data is lost), so a training that was killed
starts over; only one whose last file is there is taken as done. When memory runs out the next rung of
`training.ladder` that kohya knows is taken and the training starts over.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from vultus.core.clock import SystemClock
from vultus.core.errors import TrainingError
from vultus.core.files import write_json, write_text
from vultus.core.keys import file_content_id
from vultus.core.sdxl.tokenizer import write_tokenizer_folder
from vultus.core.weights import light_print, require_base
from vultus.tools.places import ToolPlace, current
from vultus.training.checks import refuse_contradictions
from vultus.training.kohya.command import (
    NAME,
    Places,
    arguments,
    dataset_toml,
    refuse_unknown_to_kohya,
    save_every,
)
from vultus.training.kohya.pictures import lay_out
from vultus.training.kohya.reading import Heard, lines_of
from vultus.training.ladder import apply_rungs, next_rung
from vultus.training.lora_file import checkpoint_path
from vultus.training.records import (
    CheckpointRecord,
    Progress,
    TrainPicture,
    TrainResult,
    TrainSpec,
)
from vultus.training.views import expand_views

__all__ = ["refuse_folder", "train", "train_with"]

STARTER = Path(__file__).with_name("start_script.py")
NVIDIA_DRIVER = Path("/proc/driver/nvidia")
DONE = "kohya.json"


def train(
    spec: TrainSpec,
    base: Path,
    pictures: Sequence[TrainPicture],
    out: Path,
    seed: int,
    progress: Progress | None = None,
    *,
    until: int | None = None,
) -> TrainResult:
    """Train with the installed kohya. Raises ToolError where it is not installed, TrainingError otherwise."""
    if until is not None:
        raise TrainingError(
            "kohya's trainer cannot be stopped and taken up again exactly",
            where="[clock]",
            expected='blocks = 0, or trainer = "native"',
        )
    return train_with(current("kohya"), spec, base, pictures, out, seed, progress)


def refuse_folder(base: Path) -> None:
    """Raise TrainingError where kohya's script cannot read the base."""
    if require_base(base) != "file":
        raise TrainingError(
            "kohya's trainer reads one file, and this base is a folder",
            where=str(base),
            expected="an SDXL checkpoint as one .safetensors file",
            next_command='name another training_base in vultus.toml, or set trainer = "native"',
        )


def train_with(
    tool: ToolPlace,
    spec: TrainSpec,
    base: Path,
    pictures: Sequence[TrainPicture],
    out: Path,
    seed: int,
    progress: Progress | None = None,
) -> TrainResult:
    """The same with a given environment: what tests and benchmarks call."""
    refuse_contradictions(spec, pictures)
    refuse_unknown_to_kohya(spec)
    refuse_folder(base)
    views, told = expand_views(spec, pictures)
    out.mkdir(parents=True, exist_ok=True)
    request = _request(tool, spec, base, views, seed)
    known = _finished(out, request)
    if known is not None:
        return known
    rungs: list[str] = []
    while True:
        effective = apply_rungs(spec, rungs)
        heard, seconds = _once(tool, effective, base, views, out, seed, progress)
        if not heard.out_of_memory:
            break
        rungs.append(_next(effective, rungs))
        if progress:
            progress.advance(0, f"out of memory: starts over with {rungs[-1]}")
    notes = (*told, *heard.notes, *(f"memory: gave up {rung}" for rung in rungs))
    if spec.views != "full":
        notes = (*notes, "kohya tells SDXL that each crop is a whole picture")
    made = _collect(spec, out)
    result = TrainResult(made, heard.losses, seconds, 0, notes)
    about = {"losses": heard.losses, "seconds": seconds, "notes": list(notes)}
    write_json(out / DONE, {"request": request, **about})
    return result


def _next(spec: TrainSpec, rungs: Sequence[str]) -> str:
    """The next rung that kohya has a word for."""
    rung = next_rung(spec)
    while rung is not None and rung.name == "split":  # it cannot compute a batch in parts
        spec = apply_rungs(spec, [rung.name])
        rung = next_rung(spec)
    if rung is None:
        raise TrainingError(
            "kohya's training does not fit into memory, and nothing is left to give up",
            where=f"after {', '.join(rungs) or 'the first try'}",
            expected="more memory, a smaller train.batch, train.resolution_px or train.rank",
            next_command='set train.precision = "bf16" or a smaller train.batch in vultus.toml',
        )
    return rung.name


def _request(
    tool: ToolPlace, spec: TrainSpec, base: Path, views: Sequence[TrainPicture], seed: int
) -> dict[str, object]:
    seen = [
        [file_content_id(v.path), v.caption, list(v.crop or ()), [list(box) for box in v.faces]]
        for v in views
    ]
    table = {"tool": tool.digest, "spec": asdict(spec), "base": light_print(base)}
    return dict(json.loads(json.dumps({**table, "pictures": seen, "seed": seed})))


def _finished(out: Path, request: Mapping[str, object]) -> TrainResult | None:
    """A training that was finished here before, if it was this one."""
    try:
        table = json.loads((out / DONE).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if table["request"] != request:
        raise TrainingError(
            "the folder holds another training",
            where=str(out),
            expected="the same training, or an empty folder",
            next_command=f"rm -r '{out}', or give another folder",
        )
    steps = [int(p.stem.rpartition("-")[2]) for p in sorted(out.glob("checkpoint-*.safetensors"))]
    made = tuple(CheckpointRecord(step, checkpoint_path(out, step)) for step in steps)
    losses = [(int(s), float(v)) for s, v in table["losses"]]
    return TrainResult(made, losses, float(table["seconds"]), 0, tuple(table["notes"]))


def _once(
    tool: ToolPlace,
    spec: TrainSpec,
    base: Path,
    views: Sequence[TrainPicture],
    out: Path,
    seed: int,
    progress: Progress | None,
) -> tuple[Heard, float]:
    """One try, from empty folders; returns what was heard, and seconds. A fault that is not memory is raised."""
    work = out / "kohya"
    shutil.rmtree(work, ignore_errors=True)
    lay_out(spec, views, work / "pictures")
    dataset = work / "dataset.toml"
    write_text(dataset, dataset_toml(spec, work / "pictures"))
    places = Places(base, dataset, work / "out", _tokenizers(work / "tokenizers"))
    words = [str(tool.python), str(STARTER), str(tool.source), tool.entry.name]
    words += arguments(spec, places, seed)
    clock, heard = SystemClock(), Heard()
    began_s = clock.monotonic()
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_environment()
    ) as process:
        try:
            _listen(process, work / "log.txt", heard, progress)
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
    if heard.diverged or (code and not heard.out_of_memory):
        raise TrainingError(
            "kohya's loss is no longer a number"
            if heard.diverged
            else f"kohya's trainer ended with {code}: {heard.tail[-1] if heard.tail else 'no word'}",
            where=str(work / "log.txt"),
            expected="a training that ends by itself",
            next_command=f"read {work / 'log.txt'}",
        )
    heard.out_of_memory = heard.out_of_memory and bool(code)
    return heard, clock.monotonic() - began_s


def _tokenizers(folder: Path) -> Path:
    """SDXL's two tokenizers under the names by which kohya looks for them: nothing is asked of a model hub."""
    write_tokenizer_folder(folder / "openai_clip-vit-large-patch14", pad_token="<|endoftext|>")
    write_tokenizer_folder(
        folder / "laion_CLIP-ViT-bigG-14-laion2B-39B-b160k", pad_token="<|endoftext|>"
    )
    return folder


def _listen(
    process: subprocess.Popen[bytes], log: Path, heard: Heard, progress: Progress | None
) -> None:
    """Read every line until the program's output ends, and keep it."""
    with log.open("w", encoding="utf-8") as kept:
        for line in lines_of(_chunks(process)):
            kept.write(line + "\n")
            new = heard.hear(line)
            if new and progress:
                progress.advance(new, f"loss {heard.losses[-1][1]:.3f}" if heard.losses else "")


def _chunks(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    assert process.stdout is not None
    while chunk := os.read(process.stdout.fileno(), 65536):
        yield chunk


def _environment() -> dict[str, str]:
    """Ours without what would lead its Python astray; nothing is asked of the network."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    kept |= {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    if not NVIDIA_DRIVER.exists():
        kept["ACCELERATE_USE_CPU"] = "true"
    return kept


def _collect(spec: TrainSpec, out: Path) -> tuple[CheckpointRecord, ...]:
    """Move kohya's files to our names; the last one has no step in its name."""
    made = []
    for step in spec.checkpoint_steps:
        numbered = out / "kohya" / "out" / f"{NAME}-step{step:08d}.safetensors"
        last = out / "kohya" / "out" / f"{NAME}.safetensors"
        found = last if step == spec.steps and last.exists() else numbered
        if not found.exists():
            raise TrainingError(
                f"kohya's trainer left no checkpoint at step {step}",
                where=str(out / "kohya"),
                expected=f"one every {save_every(spec)} steps",
                next_command=f"read {out / 'kohya' / 'log.txt'}",
            )
        found.replace(checkpoint_path(out, step))
        made.append(CheckpointRecord(step, checkpoint_path(out, step)))
    return tuple(made)
