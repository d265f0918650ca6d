"""The real kohya sd-scripts on a processor: a few steps on the full-size architecture, and what it said.

    vultus tools install kohya [--source CHECKOUT] [--torch WHEEL]      once
    python -m bench.training.kohya [--folder DIR] [--keep-log FILE]

Random weights in the published single-file layout (7 GiB in DIR), four stand-in pictures with face masks, and kohya's
script started as `trainer = "kohya"` starts it, once for each kind of run. Then: are the names and shapes in its file
those of the key table, and which of its words did we read?
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.models.check_models import write
from bench.record import record
from vultus.core.files import write_text
from vultus.core.sdxl.architecture import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from vultus.core.weights import read_header
from vultus.images.write import save_png
from vultus.standin.personas import clean_pictures
from vultus.tools.places import current
from vultus.training.kohya.trainer import train_with
from vultus.training.records import TrainPicture, TrainSpec
from vultus.training.targets import target_modules as modules_of
from vultus.training.targets import tensor_shapes

SIDE_PX = 256
SPEC = TrainSpec(
    rank=4,
    alpha=4.0,
    steps=2,
    batch=1,
    checkpoints=1,
    precision="bf16",
    gradient_checkpointing=True,
    face_weight=3.0,
    face_ramp=False,
    resolution_px=SIDE_PX,
)
RUNS = {
    "UNet alone, face masks": SPEC,
    "text encoders too": replace(SPEC, text_encoders=True),
    "convolutions too": replace(SPEC, conv_rank=4),
}


def pictures(folder: Path) -> list[TrainPicture]:
    """Four pictures of one persona, each with a box around the middle as its face."""
    found = []
    for i, (rgb, _) in enumerate(clean_pictures(40, 4)):
        path = folder / f"{i}.png"
        save_png(path, rgb, xmp_ai=False)
        side = rgb.shape[0]
        box = (0.3 * side, 0.2 * side, 0.7 * side, 0.6 * side)
        found.append(TrainPicture(path, "photo of ohwx woman", (side, side), faces=(box,)))
    return found


def one(spec: TrainSpec, base: Path, given: list[TrainPicture], out: Path) -> dict[str, Any]:
    """One run, and its file against the table."""
    began = time.perf_counter()
    done = train_with(current("kohya"), spec, base, given, out, 0)
    seconds = time.perf_counter() - began
    header = read_header(done.checkpoints[-1].path)
    configs = {
        "unet": dict(UNET),
        "text_encoder": dict(TEXT_ENCODER),
        "text_encoder_2": dict(TEXT_ENCODER_2),
    }
    wanted: dict[str, tuple[int, ...]] = {}
    for row in modules_of(spec, configs):
        for end, shape in tensor_shapes(row, spec):
            wanted[f"{row.kohya_prefix}.{end}"] = shape
        wanted[f"{row.kohya_prefix}.alpha"] = ()
    made = {name: tensor.shape for name, tensor in header.tensors.items()}
    return {
        "losses_read": len(done.losses),
        "notes": list(done.notes),
        "tensors": len(made),
        "keys_equal_the_table": made.keys() == wanted.keys(),
        "shapes_equal_the_table": made == wanted,
        "missing": sorted(wanted.keys() - made.keys())[:5],
        "beyond": sorted(made.keys() - wanted.keys())[:5],
        "seconds": round(seconds, 1),
    }


def scrubbed(text: str) -> str:
    """A log without the machine's places and times of day."""
    text = re.sub(r"(/[\w.+-]+)+/([\w.+-]+)", r"PLACE/\2", text)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)


def main() -> None:
    """Run every kind and write bench/results/kohya.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the 7 GiB go (default: a temporary one)")
    parser.add_argument("--keep-log", type=Path, help="write the first run's log there, scrubbed")
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="vultus-kohya-"))
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    base = folder / "sdxl.safetensors"
    try:
        if not base.exists():
            write(folder)
        given = pictures(folder)
        tool = current("kohya")
        figures: dict[str, Any] = {"kohya": str(tool.record["commit"])}
        for i, (name, spec) in enumerate(RUNS.items()):
            shutil.rmtree(folder / f"run{i}", ignore_errors=True)
            figures[name] = one(spec, base, given, folder / f"run{i}")
            print(f"{name}: {json.dumps(figures[name])}", flush=True)
            if args.keep_log and not i:
                log = (folder / "run0" / "kohya" / "log.txt").read_text("utf-8")
                write_text(args.keep_log, scrubbed(log))
        print(record("kohya", figures, seconds=time.monotonic() - began))
    finally:
        if args.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
